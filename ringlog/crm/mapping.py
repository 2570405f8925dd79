"""The mapping file: which field of a CRM's row or message is which field of a customer.

```yaml
source: shop
tables:                      # rows as Debezium tells them, by table or schema.table
  customers:
    customer_id: id
    level: {path: grade, values: {A: vip, B: normal}}
    attributes: {amount_due: balance}
messages:                    # plain JSON; the first whose `when` holds counts
  - when: {type: customer.updated}
    customer_id: data.id
    id: event_id
```
"""

from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from ringlog.settings import Settings, root
from ringlog.yaml_source import InvalidFile, Problem, parse

MAX_FILE_BYTES = 262_144
"""Longest mapping file."""

SAMPLE_FILE = root() / "examples" / "crm.yaml"
"""Mapping of the sample CRM."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Attribute = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Take(_Part):
    """Where a value is, and what becomes of it."""

    path: Text = Field(description="Keys from the row or message downwards, with dots between")
    values: dict[str, str] = Field({}, description="Their word for a value: ours; others stay")
    split: Annotated[str, StringConstraints(min_length=1, max_length=8)] | None = Field(
        None, description="Separator of a list that is one text"
    )
    unit: Literal["days", "microseconds"] | None = Field(
        None,
        description="Of a time that is a whole number; else seconds or milliseconds",
    )
    prefix: Annotated[str, StringConstraints(max_length=64)] = Field(
        "", description="Put before the value, so that ids of two systems differ"
    )

    @property
    def keys(self) -> tuple[str, ...]:
        """The path's steps."""
        return tuple(self.path.split("."))


def _take(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


Spot = Annotated[Take, BeforeValidator(_take)]
"""A path, or a `Take` that does more."""


class _Fields(_Part):
    """What rows and messages have in common. `fact` says what one tells of, beside the customer; an
    amount is in the currency's main unit (`amount`: 12.50) or its smallest one (`amount_minor`:
    1250)."""

    customer_id: Spot
    fact: Literal["order", "payment"] | None = None
    record_id: Spot | None = None
    amount: Spot | None = None
    amount_minor: Spot | None = None
    currency: Spot | None = None
    made_at: Spot | None = None
    due_at: Spot | None = None
    status: Spot | None = None
    tenant_id: Spot | None = None
    name: Spot | None = None
    phone: Spot | None = None
    level: Spot | None = None
    tags: Spot | None = None
    purchases: Spot | None = None
    attributes: Annotated[dict[_Attribute, Spot], Field(max_length=64)] = {}

    @model_validator(mode="after")
    def _fact_is_whole(self) -> Self:
        if self.fact is not None and self.record_id is None:
            raise ValueError("record_id: needed where `fact` is order or payment")
        if self.amount is not None and self.amount_minor is not None:
            raise ValueError("amount_minor: name one of `amount` and `amount_minor`")
        idle = [name for name in _OF_FACTS if getattr(self, name) is not None]
        if self.fact is None and idle:
            raise ValueError(f"{idle[0]}: only where `fact` is order or payment")
        return self

    @property
    def columns(self) -> list[str]:
        """The first steps of all paths, without repeats."""
        named = (getattr(self, name) for name in (*_FIELDS, *_OF_FACTS))
        taken = [take for take in (*named, *self.attributes.values()) if take is not None]
        return list(dict.fromkeys(take.keys[0] for take in taken))


_OF_FACTS = ("record_id", "amount", "amount_minor", "currency", "made_at", "due_at", "status")
_FIELDS = ("customer_id", "tenant_id", "name", "phone", "level", "tags", "purchases")


class RowMapping(_Fields):
    """A table. With `deletes: ignore` a deleted row says nothing of the customer; that of a `fact`
    makes it void."""

    deletes: Literal["customer", "ignore"] = "customer"


class MessageMapping(_Fields):
    """A kind of plain JSON message."""

    when: dict[str, str | int | bool] = Field({}, description="Path: the value that it must have")
    change: Literal["upsert", "delete", "merge"] = "upsert"
    into: Spot | None = Field(None, description="Of a merge: the customer who stays")
    id: Annotated[
        tuple[Text, ...],
        BeforeValidator(lambda v: [v] if isinstance(v, str) else v),
        Field(max_length=8),
    ] = Field((), description="Paths that name the message; empty: AMQP's message-id")
    time: Text | None = Field(None, description="Path of the time of the change")

    @model_validator(mode="after")
    def _merge_names_both(self) -> Self:
        if (self.change == "merge") != (self.into is not None):
            raise ValueError("into: needed where `change` is merge, and only there")
        return self


class Mapping(_Part):
    """A mapping file."""

    source: Text = Field(description="Name of the system, stamped on its changes")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        "CNY", description="ISO 4217 code of amounts whose rows name none"
    )
    tables: dict[str, RowMapping] = {}
    messages: tuple[MessageMapping, ...] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> "Mapping":
        if not self.tables and not self.messages:
            raise ValueError("it maps nothing: name `tables` or `messages`")
        return self

    def table(self, schema: str, name: str) -> RowMapping | None:
        """The mapping of a table, by its full name first."""
        return self.tables.get(f"{schema}.{name}") or self.tables.get(name)


def mapping_file(config: Settings) -> FilePath:
    """Where the site's mapping is; the sample CRM has one."""
    own = config.crm_mapping or config.home / "crm.yaml"
    sample = config.crm and config.crm_mapping is None and not own.exists()
    return SAMPLE_FILE if sample else own


def load_mapping(config: Settings) -> Mapping:
    """The site's mapping; raises InvalidFile, also when there is none."""
    return read_mapping(mapping_file(config))


def read_mapping(path: FilePath) -> Mapping:
    """The mapping in a file; raises InvalidFile."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        mend = "name a readable UTF-8 file by RINGLOG_CRM_MAPPING; see examples/crm.yaml"
        raise InvalidFile([Problem(str(path), 1, f"cannot be read: {error}", mend)]) from None
    return parse_mapping(text, str(path))


def parse_mapping(text: str, file: str) -> Mapping:
    """The mapping in a YAML text; raises InvalidFile with every fault and its line."""
    if len(text.encode()) > MAX_FILE_BYTES:
        raise InvalidFile([Problem(file, 1, "longer than 256 KiB", "split or shorten it")])
    source = parse(text, file)
    if source.duplicates:
        raise InvalidFile(source.duplicates)
    try:
        return Mapping.model_validate(source.data)
    except ValidationError as error:
        raise InvalidFile([_problem(file, source.line, e) for e in error.errors()]) from None


def _problem(file: str, line_of: Any, error: Any) -> Problem:
    where = tuple(part for part in error["loc"] if part != "[key]")
    named = ".".join(str(part) for part in where) or "the file"
    mend = {
        "missing": "add it",
        "extra_forbidden": "remove it, or look for a spelling mistake",
    }.get(error["type"], "see the how-to page of the CRM")
    return Problem(file, line_of(where), f"{named}: {error['msg']}", mend)
