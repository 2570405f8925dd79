"""The SQL tokenizer and what statements are made of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sql.server.errors import SYNTAX_ERROR, ServerError
from sql.server.statement import Answer, Statement, parse
from sql.server.tokenizer import Kind, tokens


def kinds(sql: str) -> list[tuple[Kind, str]]:
    return [(token.kind, token.text) for token in tokens(sql)]


def test_words_numbers_and_operators() -> None:
    assert kinds("SELECT a1 + 1.5e-3, t.1.2, 0xFF::UInt8") == [
        (Kind.WORD, "SELECT"),
        (Kind.WORD, "a1"),
        (Kind.OPERATOR, "+"),
        (Kind.NUMBER, "1.5e-3"),
        (Kind.COMMA, ","),
        (Kind.WORD, "t"),
        (Kind.DOT, "."),
        (Kind.NUMBER, "1"),
        (Kind.DOT, "."),
        (Kind.NUMBER, "2"),
        (Kind.COMMA, ","),
        (Kind.NUMBER, "0xFF"),
        (Kind.OPERATOR, "::"),
        (Kind.WORD, "UInt8"),
    ]


@pytest.mark.parametrize(
    ("sql", "kind", "text"),
    [
        ("'a''b'", Kind.STRING, "a'b"),
        (r"'a\'b\n\x41'", Kind.STRING, "a'b\nA"),
        ("`a``b`", Kind.QUOTED, "a`b"),
        ('"a b"', Kind.QUOTED, "a b"),
        (r"`fi\x6ce`", Kind.QUOTED, "file"),
        (r"`fi\Nle`", Kind.QUOTED, "file"),
        ("$tag$it's; -- free$tag$", Kind.STRING, "it's; -- free"),
        ("'语音'", Kind.STRING, "语音"),
        ("1abc", Kind.WORD, "1abc"),
        (".5", Kind.NUMBER, ".5"),
    ],
)
def test_one_token(sql: str, kind: Kind, text: str) -> None:
    assert kinds(sql) == [(kind, text)]


def test_comments_and_white_space_are_not_tokens() -> None:
    sql = "SELECT/* 'x */1 -- 'y\n, # ! \n2 #! z\n\u00a0, 3"
    assert [text for _, text in kinds(sql)] == ["SELECT", "1", ",", "2", ",", "3"]


@pytest.mark.parametrize(
    "sql",
    ["SELECT 'a", "SELECT `a", "SELECT 'a\\", "/* never", "SELECT ‘x’", "SELECT \\G", "$x$ open",
     "SELECT 1.file('x')", "SELECT \0"],
)  # fmt: skip
def test_what_it_does_not_understand_is_an_error(sql: str) -> None:
    with pytest.raises(ServerError) as caught:
        list(tokens(sql))
    assert caught.value.code == SYNTAX_ERROR


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.sampled_from("aSELECT10.'`\"\\$-/*#;(){}[], \n:é"), max_size=60))
def test_any_text_is_tokens_or_a_syntax_error(sql: str) -> None:
    try:
        found = list(tokens(sql))
    except ServerError as error:
        assert error.code == SYNTAX_ERROR
        return
    end = 0
    for token in found:
        assert end <= token.start < token.end <= len(sql)
        end = token.end


# --- statements


def test_the_trailing_format_is_found_at_the_top_level() -> None:
    statement = parse("SELECT format('{}', 1), (SELECT 1 AS FORMAT) FORMAT JSON SETTINGS a = 1 ;")
    assert (statement.answer, statement.format) == (Answer.ROWS, "JSON")
    assert statement.without_format == (
        "SELECT format('{}', 1), (SELECT 1 AS FORMAT)  SETTINGS a = 1"
    )
    assert parse("SELECT 1 AS format").format is None
    assert parse("(SELECT 1) UNION ALL (SELECT 2)").answer is Answer.ROWS
    assert parse("WITH 1 AS x SELECT x").answer is Answer.ROWS
    assert parse("SHOW TABLES FORMAT TSV").answer is Answer.TABLE
    assert parse("CREATE TABLE t (a Int8) ENGINE = Log").answer is Answer.NONE


def insert(sql: str) -> Statement:
    statement = parse(sql)
    assert statement.answer is Answer.DATA
    return statement


def test_the_parts_of_an_insert() -> None:
    found = insert("/* x */ INSERT INTO d.`t x` (a, `b c`, n.d) SETTINGS k = 1 VALUES ;").insert
    assert found is not None
    assert found.head == "INSERT INTO d.`t x` (a, `b c`, n.d)"
    assert (found.table, found.names) == ("d.`t x`", ("a", "b c", "n.d"))
    assert (found.settings, found.format) == ("SETTINGS k = 1", "Values")
    found = insert("insert t (* except (a)) format Native").insert
    assert found is not None
    assert (found.table, found.columns, found.names) == ("t", "* except (a)", None)


def test_data_behind_a_format_is_no_sql() -> None:
    sql = "INSERT INTO t FORMAT CSV 'never closed; DROP TABLE t; \0"
    statement = insert(sql)
    assert statement.insert is not None
    assert sql[statement.insert.data_at :] == " 'never closed; DROP TABLE t; \0"


@pytest.mark.parametrize(
    "sql",
    ["INSERT INTO t SELECT 1", "INSERT INTO t (a) WITH 1 AS x SELECT x", "INSERT INTO t VALUES (1)",
     "INSERT INTO t SELECT * FROM s FORMAT TSV", "INSERT INTO FUNCTION null('a Int8') VALUES"],
)  # fmt: skip
def test_inserts_without_data_apart(sql: str) -> None:
    assert parse(sql).answer is Answer.NONE


@pytest.mark.parametrize(
    "sql", ["", " ; ", "-- nothing", "SELECT 1; SELECT 2", "SELECT 1;;DROP TABLE t", "SET a = 1; x"]
)
def test_exactly_one_statement(sql: str) -> None:
    with pytest.raises(ServerError) as caught:
        parse(sql)
    assert caught.value.code == SYNTAX_ERROR


def test_semicolons_at_the_end_are_allowed() -> None:
    assert parse("SELECT 1 ; ; -- done").sql == "SELECT 1"
