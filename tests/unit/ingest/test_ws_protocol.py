"""The media WebSocket's messages: what is taken, what closes the connection, and time."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sound.types import PCMU, Format, Leg
from ingest.ws.protocol import (
    AUDIO_BURST_MS,
    MAX_TEXT_BYTES,
    TEXT_BURST,
    Control,
    WsReceiver,
    WsRefused,
    control_text,
    parse_control,
)

LEG = Leg("customer", 99, 0, 0, 8000)


def receiver(sound: Format = PCMU) -> WsReceiver:
    return WsReceiver(sound, LEG, 0)


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ('{"type":"dtmf","digits":"4*#A"}', Control("dtmf", digits="4*#A")),
        ('{"type":"dtmf","digit":"4"}', Control("dtmf", digits="4")),
        ('{"type":"clear"}', Control("clear")),
        ('{"type":"mark","name":"x","more":1}', Control("mark", name="x")),
        ('{"type":"hangup"}', Control("hangup")),
    ],
)
def test_messages_are_understood(text: str, control: Control) -> None:
    assert parse_control(text) == control


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 1007),
        ("nonsense", 1007),
        ("[]", 1007),
        ("null", 1007),
        ("[" * 1000, 1007),
        ("{}", 1008),
        ('{"type":"say"}', 1008),
        ('{"type":["dtmf"]}', 1008),
        ('{"type":"dtmf"}', 1008),
        ('{"type":"dtmf","digits":""}', 1008),
        ('{"type":"dtmf","digits":5}', 1008),
        ('{"type":"dtmf","digits":"x"}', 1008),
        ('{"type":"dtmf","digits":"' + "1" * 65 + '"}', 1008),
        ('{"type":"mark"}', 1008),
        (json.dumps({"type": "mark", "name": "n" * MAX_TEXT_BYTES}), 1009),
    ],
)
def test_nonsense_is_refused_with_a_close_code(text: str, code: int) -> None:
    with pytest.raises(WsRefused) as refused:
        parse_control(text)
    assert refused.value.code == code and str(refused.value)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "digits", "name", "x"]), inner, max_size=3),
    max_leaves=8,
).map(json.dumps)))  # fmt: skip
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        control = parse_control(text)
    except WsRefused:
        return
    assert control.type in ("dtmf", "clear", "mark", "hangup")


def test_what_we_send_is_what_we_take() -> None:
    assert parse_control(control_text("dtmf", digits="1")) == Control("dtmf", digits="1")


def test_frames_count_up_and_time_is_the_sum_of_samples() -> None:
    rx = receiver()
    frames = [rx.audio(bytes(160), n * 20_000) for n in range(50)]
    assert [f.seq for f in frames] == list(range(50))
    assert [f.ts for f in frames] == [160 * n for n in range(50)]
    assert all(f.leg is LEG and f.lost == 0 for f in frames)


def test_jitter_does_not_move_time_a_pause_does() -> None:
    rx = receiver()
    rx.audio(bytes(160), 20_000)
    assert rx.audio(bytes(160), 350_000).ts == 160
    assert rx.audio(bytes(160), 350_100).ts == 320
    after = rx.audio(bytes(160), 2_000_000)
    assert after.ts % 160 == 0 and 15_500 <= after.ts <= 15_840
    assert rx.audio(bytes(160), 2_020_000).ts == after.ts + 160


def test_two_byte_samples() -> None:
    rx = WsReceiver(Format("l16", 16_000), Leg("customer", 1, 0, 0, 16_000), 0)
    assert [rx.audio(bytes(640), n * 20_000).ts for n in range(3)] == [0, 320, 640]
    with pytest.raises(WsRefused):
        rx.audio(bytes(641), 0)


@pytest.mark.parametrize(("size", "code"), [(0, 1007), (801, 1009)])
def test_frames_of_a_wrong_size_are_refused(size: int, code: int) -> None:
    with pytest.raises(WsRefused) as refused:
        receiver().audio(bytes(size), 0)
    assert refused.value.code == code


def test_sound_may_not_run_ahead_of_time() -> None:
    rx = receiver()
    for _ in range(AUDIO_BURST_MS // 100):
        rx.audio(bytes(800), 0)
    with pytest.raises(WsRefused):
        rx.audio(bytes(800), 0)
    later = receiver()
    for n in range(1000):
        later.audio(bytes(800), n * 100_000)


def test_text_messages_are_rationed() -> None:
    rx = receiver()
    for _ in range(TEXT_BURST):
        rx.text('{"type":"clear"}', 0)
    with pytest.raises(WsRefused):
        rx.text('{"type":"clear"}', 0)
    slow = receiver()
    for n in range(500):
        slow.text('{"type":"clear"}', n * 100_000)


def test_each_key_press_has_its_own_name() -> None:
    rx = receiver()
    first = rx.digits(Control("dtmf", digits="12"), 40, -1)
    second = rx.digits(Control("dtmf", digits="1"), 40, first[-1].ts)
    assert [d.digit for d in first + second] == ["1", "2", "1"]
    assert len({d.ts for d in first + second}) == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=900), st.integers(0, 500_000)), max_size=60))
def test_time_never_goes_back(messages: list[tuple[bytes, int]]) -> None:
    rx, now, end = receiver(), 0, 0
    for payload, wait in messages:
        now += wait
        try:
            frame = rx.audio(payload, now)
        except WsRefused:
            continue
        assert frame.ts >= end
        end = frame.ts + len(payload)
