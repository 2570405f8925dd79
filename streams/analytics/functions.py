"""The job's Python functions: thin wrappers of `records` in Flink's types.

They run in Flink's workers, so the codec (sockets, locks) is made in `open`, not pickled.
"""

from dataclasses import astuple, dataclass
from typing import Any

from pyflink.table import DataTypes, FunctionContext, Row, ScalarFunction, TableEnvironment
from pyflink.table.udf import udf

from schemas.registry import Registry
from schemas.wire import Codec
from streams.analytics import records

_READ_RECORD = DataTypes.ROW(
    [
        DataTypes.FIELD("reason", DataTypes.STRING()),
        DataTypes.FIELD("event_id", DataTypes.STRING()),
        DataTypes.FIELD("occurred_ms", DataTypes.BIGINT()),
        DataTypes.FIELD("tenant_id", DataTypes.STRING()),
        DataTypes.FIELD("campaign_id", DataTypes.STRING()),
        DataTypes.FIELD("call_id", DataTypes.STRING()),
        DataTypes.FIELD("input_kind", DataTypes.STRING()),
        DataTypes.FIELD("intent", DataTypes.STRING()),
    ]
)
"""Fields of `records.ReadRecord`, in its order."""


@dataclass(frozen=True)
class RegistryAddress:
    """Where the workers look schemas up."""

    url: str
    timeout_s: float


class _WithCodec(ScalarFunction):  # type: ignore[misc] # PyFlink is untyped
    def __init__(self, registry: RegistryAddress) -> None:
        self._registry = registry
        self._codec: Codec | None = None

    def open(self, function_context: FunctionContext) -> None:
        self._codec = Codec(Registry(self._registry.url, self._registry.timeout_s))

    @property
    def codec(self) -> Codec:
        assert self._codec is not None, "open() first"
        return self._codec


class _ReadRecord(_WithCodec):
    def eval(self, partition: int, value: bytes | None) -> Row:
        # Always a Row of plain values: in thread mode a NULL row ends the job.
        return Row(*astuple(records.read_record(self.codec, partition, value)))


class _IntentWindow(_WithCodec):
    def eval(self, *fields: Any) -> bytes:
        return records.intent_window_value(self.codec, records.intent_window(*fields))


class _DeadLetter(_WithCodec):
    def eval(self, *fields: Any) -> bytes:
        return records.dead_letter_value(self.codec, *fields)


def register(tables: TableEnvironment, registry: RegistryAddress) -> None:
    """Makes the functions known to SQL under the names that `sql/flink` uses."""
    for name, function, result in (
        ("read_record", _ReadRecord(registry), _READ_RECORD),
        ("intent_window", _IntentWindow(registry), DataTypes.BYTES()),
        ("dead_letter", _DeadLetter(registry), DataTypes.BYTES()),
    ):
        tables.create_temporary_system_function(name, udf(function, result_type=result))
