"""What a CRM's messages become: rows by Debezium, plain JSON, and everything that is neither."""

import json
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ringlog.crm import debezium
from ringlog.crm.mapping import SAMPLE_FILE, Mapping, parse_mapping, read_mapping
from ringlog.crm.money import MOST, minor_of
from ringlog.crm.translate import MAX_BODY_BYTES, CrmMessage, Ignored, Rejected, translate
from ringlog.yaml_source import InvalidFile
from schemas.events import CustomerChange
from schemas.registry import MemoryRegistry
from schemas.wire import Codec

MAPPING = read_mapping(SAMPLE_FILE)
ROW = {"id": 7, "full_name": "王芳", "mobile": "13800138000", "grade": "A", "labels": ["a", "b"],
       "orders": 3, "balance": "12.50", "zone": None}  # fmt: skip


def envelope(op: str = "u", lsn: int = 10, table: str = "customers", **changes: Any) -> Any:
    return {
        "op": op, "before": None, "after": ROW,
        "source": {"name": "crm", "db": "crm", "schema": "public", "table": table, "lsn": lsn,
                   "ts_ms": 1_769_824_800_000},
        **changes,
    }  # fmt: skip


def of(content: Any, mapping: Mapping = MAPPING, **known: Any) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return translate(CrmMessage(body, 1_769_900_000_000, **known), mapping)


def one(content: Any, mapping: Mapping = MAPPING, **known: Any) -> CustomerChange:
    (event,) = of(content, mapping, **known)
    assert isinstance(event, CustomerChange)
    return event


def test_a_row_becomes_a_change_by_the_mapping() -> None:
    event = one(envelope())
    assert (event.kind, event.customer_id, event.name, event.level) == (
        "upserted", "7", "王芳", "vip")  # fmt: skip
    assert (event.tags, event.purchases, event.attributes) == (
        ["a", "b"],
        3,
        {"amount_due": "12.50"},
    )
    assert event.cleared == ["zone"]
    assert (event.source, event.table, event.position) == ("shop", "customers", "10")
    assert event.occurred_at == 1_769_824_800_000
    assert one({"schema": {"type": "struct"}, "payload": envelope()}) == event


def test_null_or_empty_is_cleared_and_absent_stays_as_it_was() -> None:
    event = one(envelope(after={"id": 7, "full_name": None, "labels": [], "grade": ""}))
    assert sorted(event.cleared) == ["level", "name", "tags"]
    assert event.phone is None and "phone" not in event.cleared
    untouched = one(envelope(after={**ROW, "full_name": "__debezium_unavailable_value"}))
    assert untouched.name is None and "name" not in untouched.cleared


def test_a_renamed_column_neither_clears_nor_kills() -> None:
    row = {**ROW, "rank": ROW["grade"]}
    del row["grade"]
    event = one(envelope(after=row))
    assert event.level is None and "level" not in event.cleared


def test_a_repeat_has_the_same_id_and_another_position_another_one() -> None:
    assert one(envelope(lsn=10)) == one(envelope(lsn=10))
    assert one(envelope(lsn=10)).event_id != one(envelope(lsn=11)).event_id


def test_rows_of_one_snapshot_have_ids_of_their_own() -> None:
    rows = [envelope("r", table="payments", after={"id": n, "customer_id": 7, "amount": str(n)})
            for n in range(3)]  # fmt: skip
    assert len({one(row).event_id for row in rows}) == 3


def test_a_deleted_row_is_a_customer_gone_where_the_table_says_so() -> None:
    assert one(envelope("d", before=ROW, after=None)).kind == "deleted"
    log = parse_mapping("source: s\ntables: {log: {customer_id: c, deletes: ignore}}", "m")
    gone = envelope("d", table="log", before={"id": 1}, after=None)
    assert isinstance(of(gone, log), Ignored)
    assert isinstance(of(envelope("d", before=None, after=None)), Rejected)


def test_a_changed_id_is_one_customer_gone_and_another_there() -> None:
    gone, there = of(envelope(before={**ROW, "id": 6}))
    assert (gone.kind, gone.customer_id, there.kind, there.customer_id) == (
        "deleted", "6", "upserted", "7")  # fmt: skip
    assert gone.event_id != there.event_id


def test_the_position_of_mysql_is_file_position_and_row() -> None:
    content = envelope()
    content["source"] = {"name": "m", "db": "shop", "table": "customers", "file": "bin.3",
                         "pos": 44, "row": 1}  # fmt: skip
    assert one(content).position == "bin.3:44:1"


@pytest.mark.parametrize("body", [b"", b"null", b'{"schema":null,"payload":null}'])
def test_a_tombstone_says_nothing(body: bytes) -> None:
    assert isinstance(of(body), Ignored)


PLAIN = {"type": "customer.updated", "event_id": "e1", "occurred_at": 1_769_824_800,
         "data": {"id": "c1", "tags": "a, b,,a", "purchases": "4"}}  # fmt: skip


def test_plain_json_becomes_a_change() -> None:
    event = one(PLAIN)
    assert (event.customer_id, event.tags, event.purchases) == ("c1", ["a", "b"], 4)
    assert event.occurred_at == 1_769_824_800_000
    gone = one({"type": "customer.deleted", "event_id": "e2", "data": {"id": "c1"}})
    assert (gone.kind, gone.occurred_at) == ("deleted", 1_769_900_000_000)


PAYMENT = {"id": 5, "customer_id": 7, "amount": "800.10", "paid_at": "2026-01-31T01:00:00.5Z"}


def test_a_row_of_the_erp_is_an_order_or_payment_of_its_customer() -> None:
    event = one(envelope("c", table="payments", after=PAYMENT))
    assert (event.kind, event.customer_id, event.record_id) == ("payment", "7", "5")
    assert (event.amount_minor, event.currency, event.status) == (80_010, "CNY", None)
    assert event.made_at == 1_769_821_200_500
    assert event.attributes == {"last_payment": "800.10"}
    gone = one(envelope("d", table="payments", before=PAYMENT, after=None))
    assert (gone.kind, gone.record_id, gone.status) == ("payment", "5", "void")
    moved = of(envelope(table="payments", before={**PAYMENT, "customer_id": 6}, after=PAYMENT))
    assert [(e.kind, e.customer_id, e.status) for e in moved] == [
        ("payment", "6", "void"), ("payment", "7", None),
    ]  # fmt: skip
    order = {"id": 1, "customer_id": 7, "amount": 12, "due_on": 20_500, "state": "cancelled",
             "ordered_at": 1_769_824_800}  # fmt: skip
    event = one(envelope("c", table="orders", after=order))
    assert (event.kind, event.amount_minor, event.status) == ("order", 1_200, "void")
    assert (event.due_at, event.made_at) == (20_500 * 86_400_000, 1_769_824_800_000)


def test_the_capture_is_asked_for_the_columns_of_orders_and_payments() -> None:
    assert set(MAPPING.tables["payments"].columns) == {"customer_id", "id", "amount", "paid_at"}
    assert {"due_on", "state", "ordered_at"} <= set(MAPPING.tables["orders"].columns)


def test_a_merge_names_both_customers() -> None:
    content = {"type": "customer.merged", "event_id": "e3", "data": {"id": "c1", "into": "c2"}}
    event = one(content)
    assert (event.kind, event.customer_id, event.merged_into) == ("merged", "c1", "c2")


def test_a_time_that_lies_ahead_is_the_time_of_arrival() -> None:
    ahead = {**PLAIN, "occurred_at": "2099-01-01T00:00:00Z"}
    assert one(ahead).occurred_at == 1_769_900_000_000


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.5", "CNY", 1_250), ("1,234.50", "USD", 123_450), ("-3", "EUR", -300),
        ("12", "JPY", 12), ("1.234", "KWD", 1_234), ("1e3", "CNY", 100_000),
    ],
)  # fmt: skip
def test_an_amount_is_whole_in_its_smallest_unit(text: str, currency: str, minor: int) -> None:
    assert minor_of(text, currency) == minor


@pytest.mark.parametrize(
    ("most", "currency"),
    [("9999999999999.99", "CNY"), ("999999999999999", "JPY"), ("999999999999.999", "KWD")],
)
def test_an_amount_that_no_profile_would_hold_is_refused(most: str, currency: str) -> None:
    assert minor_of(most, currency) == MOST - 1
    with pytest.raises(ValueError, match="want an amount"):
        minor_of(str(Decimal(most).next_plus().to_integral_value(ROUND_CEILING)), currency)


@pytest.mark.parametrize(
    ("text", "currency"),
    [("12.345", "CNY"), ("1.5", "JPY"), ("much", "CNY"), ("NaN", "CNY"), ("1e30", "CNY"),
     ("", "CNY"), ("9" * 99, "CNY"), ("1e-999999", "CNY"), ("12,50", "EUR"), ("1,2345", "EUR"),
     ("1.234,50", "EUR"), ("1_0", "CNY"), (".", "CNY")],
)  # fmt: skip
def test_what_is_no_amount_is_named(text: str, currency: str) -> None:
    with pytest.raises(ValueError, match="want an amount|decimals"):
        minor_of(text, currency)


def test_a_smallest_unit_is_a_whole_number_and_a_refusal_does_not_repeat_it() -> None:
    mapping = parse_mapping(
        "source: s\nmessages: [{customer_id: c, fact: payment, record_id: r, amount_minor: a}]", "m"
    )
    paid = {"c": 1, "r": 2}
    assert one({**paid, "a": "-1250"}, mapping, message_id="m").amount_minor == -1_250
    assert one(paid, mapping, message_id="m").amount_minor is None
    for amount in (1_234.5, "12x34", "1_234", "１２３４", 10**15, "--1"):
        refused = of({**paid, "a": amount}, mapping, message_id="m")
        assert refused == Rejected("amount_minor: want a whole number, such as 1250")


def test_a_message_is_named_by_its_id_alone() -> None:
    mapping = parse_mapping(
        "source: s\nmessages: [{customer_id: {path: c, prefix: 'erp-'}, level: l}]", "m"
    )
    with_id = one({"c": 1, "l": "a"}, mapping, message_id="m1")
    assert with_id.customer_id == "erp-1"
    assert with_id.event_id == one({"c": 1, "l": "b"}, mapping, message_id="m1").event_id
    assert with_id.event_id != one({"c": 1, "l": "a"}, mapping, message_id="m2").event_id
    assert "no id" in of({"c": 1, "l": "a"}, mapping).reason


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'"' + b"a" * MAX_BODY_BYTES + b'"', "longer than"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"type": "customer.updated", "event_id": 1e999}', "not JSON"),
        ([1], "no object"),
        ({"type": "order.paid"}, "no entry of `messages`"),
        ({**PLAIN, "event_id": ""}, "no id"),
        ({**PLAIN, "data": {}}, "data.id is missing"),
        ({**PLAIN, "data": {"id": "a/b"}}, "customer_id: no spaces"),
        ({**PLAIN, "data": {"id": "a" * 200}}, "customer_id: want 1 to 128"),
        ({**PLAIN, "data": {"id": "a", "purchases": "many"}}, "purchases: want a whole number"),
        ({**PLAIN, "data": {"id": "a", "name": {"first": "x"}}}, "name: want a text"),
        ({**PLAIN, "occurred_at": "2026-01-31T09:00:00"}, "names no zone"),
        (envelope(after=None), "after is missing"),
        (envelope(table="payments", after={**PAYMENT, "amount": "12.345"}), "CNY has 2 decimals"),
        (envelope(table="payments", after={**PAYMENT, "id": None}), "record_id is empty"),
        (envelope(table="payments", after={**PAYMENT, "paid_at": "noon"}), "made_at: want seconds"),
        (envelope("t"), "operation 't'"),
        (envelope(source={"table": "customers"}), "no position"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_the_reason(content: Any, why: str) -> None:
    result = of(content)
    assert isinstance(result, Rejected) and why in result.reason


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(
        st.characters(exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from([*ROW, "op", "source", "before", "after", "payload", "schema", "table",
                         "lsn", "ts_ms", "type", "data", "event_id", "occurred_at", "tags", "x"]),
        inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


@effort(max_examples=120, deadline=None)
@given(_JSON, st.sampled_from(["row", "message", "any"]))
def test_any_json_is_translated_or_refused_and_what_comes_can_be_written(
    content: Any, shape: str
) -> None:
    if shape == "row":
        content = envelope(after=content, before=content)
    if shape == "message":
        content = {**PLAIN, "data": content}
    codec = Codec(MemoryRegistry())
    result = of(json.dumps(content, allow_nan=True).encode("utf-8", "surrogatepass"))
    if not isinstance(result, Ignored | Rejected):
        for event in result:
            assert codec.decode("customers.changes", codec.encode("customers.changes", event)) == (
                event
            )


@effort(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_translated_or_refused(body: bytes) -> None:
    result = of(body, message_id="m")
    assert isinstance(result, Ignored | Rejected | tuple)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("source: s", "it maps nothing"),
        ("source: s\ntables: {a: {customer_id: c, fact: order}}", "record_id: needed"),
        ("source: s\ntables: {a: {customer_id: c, amount: x}}", "amount: only where `fact`"),
        ("source: s\nmessages: [{customer_id: c, change: merge}]", "into: needed where"),
        ("source: s\nmessages: [{customer_id: c, into: d}]", "into: needed where"),
        ("source: s\ntables: {a: {}}", "m:2: tables.a.customer_id: Field required; add it"),
        ("source: s\ntables:\n  a: {customer_id: x}\n  a: {customer_id: y}", "m:4: 'a' is there"),
        ("source: s\ntables:\n  a:\n    customer_id: x\n    levle: y", "m:5: tables.a.levle"),
        ("source: s\ntables: {a: {customer_id: x, attributes: {Zone: z}}}", "pattern"),
        ("a: [", "m:1"),
        ("", "valid dictionary"),
    ],
)  # fmt: skip
def test_a_mapping_says_what_is_wrong_and_where(text: str, why: str) -> None:
    with pytest.raises(InvalidFile) as error:
        parse_mapping(text, "m")
    assert why in str(error.value)


@effort(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_is_a_mapping_or_refused(text: str) -> None:
    try:
        parse_mapping(text, "m")
    except InvalidFile:
        pass


def test_a_row_of_an_incremental_snapshot_has_no_place_in_the_log() -> None:
    source = {"version": "3.6.3.Final", "connector": "postgresql", "name": "crm", "ts_ms": 1,
              "snapshot": "incremental", "schema": "public", "table": "customers", "lsn": None,
              "sequence": '["28718584","28718584"]'}  # fmt: skip
    first = debezium.row_change({"op": "r", "before": None, "after": {"id": 1}, "source": source})
    assert first.position == '["28718584","28718584"]@1'
    with pytest.raises(debezium.NotReadable):
        debezium.row_change({"op": "u", "before": None, "after": {"id": 1},
                             "source": source | {"snapshot": "false"}})  # fmt: skip
