"""What SQL may touch."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sql.server.errors import ACCESS_DENIED, SYNTAX_ERROR, UNKNOWN_FORMAT, ServerError
from sql.server.policy import Policy
from sql.server.statement import parse

POLICY = Policy.for_engine(["file", "numbers", "mergeTreeIndex", "brandNewReader", "View"])

DENIED = [
    "SELECT * FROM file('/etc/passwd')",
    "SELECT * FROM FILE /* x */ ('/etc/passwd')",
    "SELECT * FROM `file`('/etc/passwd')",
    r"SELECT * FROM `fi\x6ce`('/etc/passwd')",
    "SELECT * FROM \"f\\Nile\" ('/etc/passwd')",
    "SELECT file('/etc/passwd')",
    "SELECT (SELECT * FROM numbers(1), file('x'))",
    "SELECT * FROM url('http://x', CSV)",
    "SELECT * FROM s3('http://x')",
    "SELECT * FROM remote('h', d, t)",
    "SELECT * FROM cluster(c, view(SELECT 1))",
    "SELECT * FROM executable('x', TSV, 'a Int8')",
    "SELECT * FROM brandNewReader('x')",
    "SELECT * FROM eval('SELECT 1')",
    "SELECT * FROM python('x')",
    "SELECT aiGenerate('x')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM t JOIN 'x.csv' USING a",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "SELECT 1 INTO\n-- c\nOUTFILE '/tmp/x'",
    "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
    "INSERT INTO FUNCTION file('x', CSV) SELECT 1",
    "INSERT INTO t VALUES (file('/etc/passwd'))",
    "INSERT INTO t VALUES (1), (concat('a', `file` ('x')))",
    "CREATE TABLE t (a Int8) ENGINE = File(CSV)",
    "CREATE TABLE t (a Int8) ENGINE URL('http://x')",
    "CREATE TABLE t (a Int8) ENGINE = `S3`('x')",
    "CREATE TABLE t (a Int8) ENGINE = Kafka",
    "CREATE TABLE t (a Int8) ENGINE = Distributed(c, d, t)",
    "CREATE TABLE t (a Int8) ENGINE = ReplicatedMergeTree('/x', 'y') ORDER BY a",
    "CREATE TABLE t ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/x/')",
    "CREATE TABLE t AS url('http://x', CSV, 'a Int8')",
    "CREATE DATABASE d ENGINE = Filesystem('/')",
    "CREATE DATABASE d ENGINE = MySQL('h', 'd', 'u', 'p')",
    "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(FILE(PATH '/x' FORMAT CSV)) LAYOUT(FLAT())",
    "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(EXECUTABLE(COMMAND 'x' FORMAT TSV))",
    "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(CLICKHOUSE(HOST 'x' TABLE 't'))",
    "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(CLICKHOUSE(QUERY 'SELECT * FROM url(1)'))",
    "CREATE FUNCTION f AS (x) -> file(x)",
    "CREATE USER u",
    "CREATE OR REPLACE USER u",
    "CREATE NAMED COLLECTION c AS a = 1",
    "GRANT ALL ON *.* TO u",
    "BACKUP TABLE t TO Disk('x', 'y')",
    "RESTORE TABLE t FROM File('x')",
    "ATTACH TABLE t FROM '/etc/' (a Int8) ENGINE = MergeTree ORDER BY a",
    "ALTER TABLE t FETCH PARTITION 1 FROM '/x'",
    "ALTER TABLE t EXPORT PART 'x' TO TABLE s",
    "SYSTEM SHUTDOWN",
    "SYSTEM KILL",
    "DROP DATABASE default",
    "DETACH DATABASE `default`",
    "RENAME DATABASE ringlog TO default",
    "DROP DATABASE {x:Identifier}",
    "CREATE TABLE a (x Int8) ENGINE = Log PARALLEL WITH DROP TABLE b",
    "SET default_table_engine = 'File'",
    "SET max_threads = 1, dialect = 'prql'",
    "SELECT 1 SETTINGS implicit_select = 1",
    "INSERT INTO t SETTINGS format_avro_schema_registry_url = 'http://x' FORMAT Avro",
    "EXPLAIN SELECT * FROM file('x')",
    "SELECT * FROM format(Values, 'a String', $$(file('/etc/hostname'))$$)",
    "SELECT * FROM format('values', '(file(1))')",
    "SELECT * FROM format(concat('Val', 'ues'), '(file(1))')",
    "SELECT * FROM format('{' = '' ? 'x' : 'Values', '(file(1))')",
    "INSERT INTO t VALUES ((SELECT a FROM format(Values, 'a Int8', '(1)')))",
    "INSERT INTO t FORMAT vaLUES (file('/etc/hostname'))",
    "SELECT 1 SETTINGS max_threads = 1, additional_result_filter = 'file(1)' FORMAT TSV",
    "SELECT (SELECT 1 SETTINGS additional_table_filters = {'t': 'x'})",
    "SELECT 1 SETTINGS log_comment = 'a', `filter` = 'x'",
    "SELECT 1 FORMAT TSV SETTINGS a = {'x': [1, 2]}, url_base = 'x'",
    "ALTER TABLE t MODIFY SETTING a = 1, disk = 'x'",
    "INSERT INTO t SETTINGS select = 'x' VALUES",
    "WITH 1 AS x INSERT INTO FUNCTION file('x') SELECT x",
]

ALLOWED = [
    "SELECT file, url FROM t WHERE file IN ('a') ORDER BY url",
    "SELECT engine FROM system.tables WHERE engine = 'File'",
    "SELECT 'file(''/etc/passwd'')', \"engine\" -- file('x')",
    "SELECT trim(BOTH ' ' FROM ' x '), substring('abc' FROM 2)",
    "SELECT * FROM numbers(10), view(SELECT 1), merge('ringlog', '^raw')",
    "SELECT * FROM mergeTreeIndex('d', 't')",
    "INSERT INTO t (file, url) VALUES (1, 'file(x)')",
    "INSERT INTO t VALUES (now(), concat('a', 'b'));",
    "INSERT INTO t FORMAT CSV file('/etc/passwd')",
    "INSERT INTO infile (outfile) VALUES",
    "CREATE TABLE t (a Int8, engine String) ENGINE = ReplacingMergeTree(a) ORDER BY engine",
    "CREATE TABLE t ENGINE = Memory AS SELECT engine FROM system.tables",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE MATERIALIZED VIEW v TO t AS SELECT engine, url FROM s",
    "CREATE MATERIALIZED VIEW v REFRESH EVERY 1 MINUTE ENGINE = MergeTree ORDER BY a AS SELECT 1",
    "CREATE OR REPLACE VIEW v AS SELECT 1",
    "CREATE DATABASE IF NOT EXISTS d ENGINE = Atomic",
    "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 't')) LAYOUT(FLAT())",
    "ALTER TABLE t ATTACH PARTITION 1 FROM s",
    "ALTER TABLE t ADD COLUMN file String",
    "DROP DATABASE IF EXISTS other",
    "SYSTEM FLUSH LOGS",
    "OPTIMIZE TABLE t FINAL",
    "EXCHANGE TABLES a AND b",
    "DELETE FROM t WHERE a = 1",
    "KILL QUERY WHERE 1",
    "SET max_threads = 1",
    "SELECT format('{} {}', a, b), format('{0}', c) FROM t",
    "SELECT 1 FROM t WHERE filter = 1 AND select = 2 SETTINGS max_threads = 1 FORMAT TSV",
    "SELECT * FROM (SELECT 1 SETTINGS max_threads = 1) WHERE filter = 1",
    "INSERT INTO t VALUES (format('{}', 1), 2)",
    "INSERT INTO t FORMAT JSONEachRow {}",
    "INSERT INTO t FORMAT tabseparatedWithNames",
]


def check(sql: str) -> None:
    POLICY.check(parse(sql))


@pytest.mark.parametrize("sql", DENIED)
def test_denied(sql: str) -> None:
    with pytest.raises(ServerError) as caught:
        check(sql)
    assert caught.value.code == ACCESS_DENIED


@pytest.mark.parametrize("sql", ALLOWED)
def test_allowed(sql: str) -> None:
    check(sql)


def test_an_unknown_statement_is_a_syntax_error() -> None:
    with pytest.raises(ServerError) as caught:
        check("SELEC 1")
    assert caught.value.code == SYNTAX_ERROR


@pytest.mark.parametrize("form", ["MySQLDump", "Template", "AvroConfluent", "NoSuchFormat"])
def test_formats_that_are_more_than_values(form: str) -> None:
    with pytest.raises(ServerError) as caught:
        check(f"INSERT INTO t FORMAT {form} data")
    assert caught.value.code == UNKNOWN_FORMAT


def test_values_are_one_statement_too() -> None:
    with pytest.raises(ServerError) as caught:
        check("INSERT INTO t VALUES (1); DROP TABLE t")
    assert caught.value.code == SYNTAX_ERROR


def test_settings_by_the_protocol() -> None:
    POLICY.check_settings({"max_threads": "1"})
    for name in ("default_table_engine", "DIALECT", "format_schema"):
        with pytest.raises(ServerError) as caught:
            POLICY.check_settings({name: "x"})
        assert caught.value.code == ACCESS_DENIED


_space = st.sampled_from([" ", "\n", "\t", "/**/", "/* ' */", "-- x\n", "\u00a0", "#! y\n"])
_names = st.sampled_from(["file", "File", "FILE", "`file`", '"file"', r"`\x66ile`", r"`f\Nile`"])


@settings(deadline=None, max_examples=150)
@given(name=_names, gaps=st.lists(_space, min_size=3, max_size=3), around=st.sampled_from([
    "SELECT * FROM{0}{1}{2}('x'){3}",
    "SELECT 1 WHERE a IN (SELECT * FROM{0}{1}{2}('x')){3}",
    "INSERT INTO t VALUES ('(', {0}{1}{2}('x')){3}",
    "INSERT INTO FUNCTION{0}{1}{2}('x') SELECT 1{3}",
    "WITH x AS (SELECT{0}{1}{2}('x')) SELECT * FROM x{3}",
]))  # fmt: skip
def test_no_way_of_writing_a_call_gets_through(name: str, gaps: list[str], around: str) -> None:
    with pytest.raises(ServerError) as caught:
        check(around.format(gaps[0], name, gaps[1], gaps[2]))
    assert caught.value.code == ACCESS_DENIED
