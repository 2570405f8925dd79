"""Which tables and columns are captured."""

import re

import pytest

from ringlog.crm.mapping import parse_mapping
from streams.crm.tables import NoTables, Table, choice

MAPPING = parse_mapping(
    "source: s\ntables: {customers: {customer_id: id, name: profile.name, "
    "attributes: {due: balance}}, 'erp.o,rders$1': {customer_id: c}}", "m",
)  # fmt: skip


def _captured(patterns: str, names: list[str]) -> list[str]:
    return [n for n in names if any(re.fullmatch(p, n) for p in patterns.split(","))]


def test_mapped_tables_are_captured_with_their_keys() -> None:
    tables = [
        Table("public", "customers", ("id",)), Table("public", "customers2", ("id",)),
        Table("erp", "o,rders$1", ("nr",)), Table("x", "o,rders$1", ("nr",)),
    ]  # fmt: skip
    lists, complaints = choice(MAPPING, tables)
    names = [f"{t.schema}.{t.name}" for t in tables]
    assert _captured(lists["table.include.list"], names) == ["public.customers", "erp.o,rders$1"]
    columns = [f"erp.o,rders$1.{c}" for c in ("nr", "c", "photo")]
    columns += [f"public.customers.{c}" for c in ("id", "profile", "balance", "id2", "name")]
    assert _captured(lists["column.include.list"], columns) == [
        "erp.o,rders$1.nr", "erp.o,rders$1.c",
        "public.customers.id", "public.customers.profile", "public.customers.balance",
    ]  # fmt: skip
    assert complaints == []


def test_a_table_whose_writers_would_be_refused_is_left_out() -> None:
    lists, complaints = choice(
        MAPPING, [Table("a", "customers", (), False), Table("b", "customers", ())]
    )
    assert lists["table.include.list"] == "b[.]customers"
    assert "a.customers has no primary key" in complaints[0]
    assert complaints[1:] == ["there is no table erp.o,rders$1"]


@pytest.mark.parametrize("tables", [[], [Table("a", "customers", (), False)]])
def test_no_list_is_empty_since_that_would_be_every_table(tables: list[Table]) -> None:
    with pytest.raises(NoTables):
        choice(MAPPING, tables)
