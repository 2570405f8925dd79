"""The demo's measures, by hand-made calls."""

from demo.measure import (
    SpokenLine,
    character_errors,
    count_windows,
    edit_distance,
    intents_hit,
    matched,
    percentiles,
)
from schemas.events import Transcript, Turn
from schemas.ids import root_id


def said(text: str, intent: str = "", call: str = "c") -> SpokenLine:
    return SpokenLine(call, text, intent, 0)


def final(text: str, start_ms: int, call: str = "c") -> Transcript:
    return Transcript(
        event_id=root_id(call, start_ms), kind="final", occurred_at=1, producer="t", call_id=call,
        leg="customer", utterance_id="u", text=text, start_ms=start_ms, end_ms=start_ms, mark=1,
        ssrc=1, model="demo", decode_ms=0,
    )  # fmt: skip


def turn(to: Transcript, intent: str, at_ms: int = 0) -> Turn:
    return Turn(
        event_id=root_id(to.event_id, intent), occurred_at=at_ms, producer="t",
        call_id=to.call_id, input_kind="final", input_event_id=to.event_id, intent=intent, node="n",
    )  # fmt: skip


def test_edit_distance() -> None:
    assert edit_distance("价格太高了", "价格高啊了") == 2
    assert edit_distance("", "ab") == 2


def test_lines_and_finals_are_matched_in_order_with_the_fewest_errors() -> None:
    lines = [said("方便你说"), said("价格太高了"), said("不需要")]
    finals = [final("方便", 0), final("你说", 900), final("不须要", 9_000), final("", 12_000)]
    pairs = matched(lines, finals)
    assert ["".join(f.text for f in found) for _, found in pairs] == ["方便你说", "", "不须要"]


def test_a_split_line_hits_by_any_of_its_finals() -> None:
    finals = [final("方便", 0), final("你说", 900)]
    turns = [turn(finals[0], "affirm"), turn(finals[1], "unclear")]
    hit, wrong = intents_hit(matched([said("方便你说", "affirm")], finals), turns)
    assert (hit, wrong) == (1, [])
    hit, wrong = intents_hit(matched([said("方便你说", "busy")], finals), turns)
    assert hit == 0
    assert "not busy" in wrong[0]


def test_character_errors_count_whole_calls() -> None:
    chars, errors, wrong = character_errors(
        [said("我在开会"), said("好的", call="d")], [final("我再开会", 0), final("好的", 5, "d")]
    )
    assert (chars, errors) == (6, 1)
    assert list(wrong) == ["c"]


def test_percentiles_are_nearest_rank() -> None:
    assert percentiles([float(n) for n in range(1, 101)]) == {"p50": 50, "p95": 95, "max": 100}
    assert percentiles([7.0]) == {"p50": 7, "p95": 7, "max": 7}


def test_windows_count_turns_and_calls() -> None:
    a, b = final("好", 0), final("好", 1, "d")
    turns = [turn(a, "affirm", 9_999), turn(b, "affirm", 100), turn(a, "reject", 10_000)]
    assert count_windows(turns, 10_000) == {("affirm", 0): (2, 2), ("reject", 10_000): (1, 1)}
