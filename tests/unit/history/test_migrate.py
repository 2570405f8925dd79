"""Splitting, order and checksums of migrations, and that the models' fields all have a column."""

from pathlib import Path

import pytest

from schemas.catalogue import Topic
from sql.migrate import Migration, MigrationError, load, migrate, statements
from streams.history.columns import TOPICS_KEPT, columns_of
from streams.history.generate_migration import missing, present


class FakeDatabase:
    """Remembers statements; answers about `schema_migrations` as ClickHouse would."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.applied: list[tuple[str, ...]] = []
        self.broken_by = "\0"

    def run(self, sql: str) -> list[tuple[str, ...]]:
        if self.broken_by in sql:
            raise MigrationError("broken")
        if sql.startswith("SELECT version"):
            return self.applied
        if sql.startswith("INSERT INTO schema_migrations"):
            version, name, checksum = sql.split("SELECT ")[1].split(", ")
            self.applied.append((version, name.strip("'"), checksum.strip("'")))
        elif "schema_migrations" not in sql:
            self.ran.append(sql)
        return []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;; -- nothing;\n;", []),
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';' ; SELECT `a;b`, \"c;d\";", ["SELECT ';'", 'SELECT `a;b`, "c;d"']),
        (r"SELECT 'it\';s'; SELECT 'it'';s'", [r"SELECT 'it\';s'", "SELECT 'it'';s'"]),
        ("SELECT 1 -- a; b\n, 2; /* c; 'd\n */ SELECT 3", ["SELECT 1  \n, 2", "SELECT 3"]),
        ("SELECT '-- no comment;', '/*'; SELECT '*/'", ["SELECT '-- no comment;', '/*'",
                                                        "SELECT '*/'"]),
        ("SELECT 4 - -1 / 2", ["SELECT 4 - -1 / 2"]),
    ],
)  # fmt: skip
def test_statements(text: str, expected: list[str]) -> None:
    assert statements(text) == expected


@pytest.mark.parametrize("text", ["SELECT 1;\nSELECT 'open", 'SELECT "open', "SELECT `open"])
def test_an_open_quote_is_an_error_with_its_line(text: str) -> None:
    line = text.count("\n") + 1
    with pytest.raises(MigrationError, match=f"line {line}: .* never closed"):
        statements(text)


def test_each_migration_runs_once_and_in_order() -> None:
    database = FakeDatabase()
    first, second = Migration(1, "a", "ONE; TWO"), Migration(2, "b", "THREE")
    assert migrate(database, [first]) == [first]
    assert migrate(database, [first, second]) == [second]
    assert migrate(database, [first, second]) == []
    assert database.ran == ["ONE", "TWO", "THREE"]


def test_a_changed_file_is_refused_before_anything_runs() -> None:
    database = FakeDatabase()
    migrate(database, [Migration(1, "a", "ONE")])
    with pytest.raises(MigrationError, match="0001_a .* never changed"):
        migrate(database, [Migration(1, "a", "ONE!"), Migration(2, "b", "TWO")])
    assert database.ran == ["ONE"]


def test_a_migration_that_broke_off_runs_again() -> None:
    database = FakeDatabase()
    database.broken_by = "TWO"
    broken = Migration(1, "a", "ONE; TWO")
    with pytest.raises(MigrationError, match="broken"):
        migrate(database, [broken])
    database.broken_by = "\0"
    assert migrate(database, [broken]) == [broken]
    assert database.ran == ["ONE", "ONE", "TWO"]


def test_file_names_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("ONE")
    (tmp_path / "0003_c.sql").write_text("THREE")
    with pytest.raises(MigrationError, match="0002 is missing"):
        load(tmp_path)
    (tmp_path / "b.sql").write_text("TWO")
    with pytest.raises(MigrationError, match="NNNN_name"):
        load(tmp_path)


def test_committed_migrations_split() -> None:
    for migration in load():
        assert all(s.startswith(("CREATE", "ALTER")) for s in statements(migration.text))


@pytest.mark.parametrize("topic", TOPICS_KEPT, ids=lambda t: t.name)
def test_every_field_has_a_column(topic: Topic) -> None:
    lacking = {c.name for c in columns_of(topic)} - present()[topic.table]
    assert not lacking, "run `python -m streams.history.generate_migration NAME`"


def test_a_field_that_no_migration_adds_is_noticed(tmp_path: Path) -> None:
    have = present()
    have["raw_calls_events"].remove("digits")
    del have["raw_audit"]
    text = missing(have)
    assert (
        "ALTER TABLE raw_calls_events ADD COLUMN IF NOT EXISTS `digits` Nullable(String);" in text
    )
    assert text.count("CREATE TABLE") == 1 and text.count("ALTER TABLE") == 1
    (tmp_path / "0001_a.sql").write_text(text)
    assert present(tmp_path)["raw_calls_events"] == {"digits"}
    assert {"event_id", "_offset", "actor"} <= present(tmp_path)["raw_audit"]
    assert missing(present()) == ""
