"""The media WebSocket's messages: what is taken, what closes the connection, and time."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sound.rate import AHEAD_MS
from ingest.sound.types import PCMU, Format, Frame, Leg, format_of
from ingest.ws.dialects import DIALECTS, choose
from ingest.ws.dialects.audio_stream import RawAudioStreamDialect
from ingest.ws.dialects.base import (
    MAX_TEXT_BYTES,
    BinaryDialect,
    ControlMessage,
    Sound,
    WsRefused,
)
from ingest.ws.dialects.own import OwnDialect
from ingest.ws.protocol import MAX_LOST, TEXT_BURST, WsReader, WsReceiver

OWN = OwnDialect()
LEG = Leg("customer", 99, 0, 0, 8000)


def receiver(sound: Format = PCMU) -> WsReceiver:
    return WsReceiver(sound, LEG, 0, OWN)


def reader() -> WsReader:
    return WsReader(OwnDialect(), 0)


def parse(name: str, text: str) -> ControlMessage | None:
    dialect = DIALECTS[name]()
    assert isinstance(dialect, BinaryDialect)
    return dialect.parse(text)


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ('{"type":"dtmf","digits":"4*#A"}', ControlMessage("dtmf", digits="4*#A")),
        ('{"type":"dtmf","digit":"4"}', ControlMessage("dtmf", digits="4")),
        ('{"type":"clear"}', ControlMessage("clear")),
        ('{"type":"mark","name":"x","more":1}', ControlMessage("mark", name="x")),
        ('{"type":"hangup"}', ControlMessage("hangup")),
    ],
)
def test_messages_are_understood(text: str, control: ControlMessage) -> None:
    assert OWN.parse(text) == control


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
        reader().take(text, 0)
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
        control = OWN.parse(text)
    except WsRefused:
        return
    assert control.type in ("dtmf", "clear", "mark", "hangup")


def test_what_we_send_is_what_we_take() -> None:
    for message in (ControlMessage("dtmf", digits="1"), ControlMessage("mark", name="x")):
        text = OWN.word(message)
        assert text is not None and OWN.parse(text) == message


def test_frames_count_up_and_time_is_the_sum_of_samples() -> None:
    rx = receiver()
    frames = [f for n in range(50) for f in rx.audio(bytes(160), n * 20_000)]
    assert [f.seq for f in frames] == list(range(50))
    assert [f.ts for f in frames] == [160 * n for n in range(50)]
    assert all(f.leg is LEG and f.lost == 0 for f in frames)


def feed(rx: WsReceiver, arrivals: list[int]) -> list[Frame]:
    """20 ms frames at their arrivals (us), with the session's polls between them."""
    out: list[Frame] = []
    now = 0
    for at in arrivals:
        for us in range(now, at, 20_000):
            out += rx.poll(us)
        out += rx.audio(bytes(160), at)
        now = at
    return [*out, *rx.flush()]


def test_jitter_does_not_move_time() -> None:
    rx = receiver()
    assert rx.audio(bytes(160), 20_000)[0].ts == 0
    assert rx.audio(bytes(160), 350_000)[0].ts == 160
    assert rx.audio(bytes(160), 350_100)[0].ts == 320


@pytest.mark.parametrize("stall_ms", [500, 1500, 3000])
def test_W1_a_stall_loses_nothing_and_moves_nothing(stall_ms: int) -> None:
    """20 ms frames, five stalls, each followed by all that was held up at once."""
    arrivals, n = list[int](), 0
    for _ in range(5):
        arrivals += [(n + k) * 20_000 for k in range(100)]
        n += 100
        held = stall_ms // 20
        arrivals += [(n + held) * 20_000 + k * 50 for k in range(held)]
        n += held
    frames = feed(receiver(), arrivals)
    assert [f.ts for f in frames] == [160 * k for k in range(n)], "one turn, no hole, right times"
    assert [f.seq for f in frames] == list(range(n))


def test_W1_a_burst_that_takes_its_time_is_a_burst() -> None:
    """TCP begins slowly after a stall: 1.5 s come over 400 ms."""
    arrivals = [k * 20_000 for k in range(100)]
    arrivals += [3_500_000 + k * 4_000 for k in range(95)]
    arrivals += [3_900_000 + k * 20_000 for k in range(105)]
    assert [f.ts for f in feed(receiver(), arrivals)] == [160 * k for k in range(300)]


@pytest.mark.parametrize("mute_ms", [600, 2000, 4000, 70_000])
def test_W1_a_mute_leaves_its_silence(mute_ms: int) -> None:
    arrivals = [k * 20_000 for k in range(100)]
    arrivals += [2_000_000 + mute_ms * 1000 + k * 20_000 for k in range(100)]
    frames = feed(receiver(), arrivals)
    assert len(frames) == 200
    hole_ms = (frames[100].ts - frames[99].ts - 160) // 8
    assert abs(hole_ms - mute_ms) <= 100
    assert abs(frames[-1].ts // 8 - arrivals[-1] // 1000) <= 100, "later times are right"


def test_W1_many_short_pauses_do_not_add_up() -> None:
    arrivals, us = list[int](), 0
    for _ in range(50):
        arrivals += [us + k * 20_000 for k in range(20)]
        us += 20 * 20_000 + 300_000
    frames = feed(receiver(), arrivals)
    assert abs(frames[-1].ts // 8 - arrivals[-1] // 1000) <= 450 and len(frames) == 1000


def test_two_byte_samples() -> None:
    rx = WsReceiver(Format("l16", 16_000), Leg("customer", 1, 0, 0, 16_000), 0, OWN)
    assert [rx.audio(bytes(640), n * 20_000)[0].ts for n in range(3)] == [0, 320, 640]
    with pytest.raises(WsRefused):
        rx.audio(bytes(641), 0)


@pytest.mark.parametrize(("size", "code"), [(0, 1007), (801, 1009)])
def test_frames_of_a_wrong_size_are_refused(size: int, code: int) -> None:
    with pytest.raises(WsRefused) as refused:
        receiver().audio(bytes(size), 0)
    assert refused.value.code == code


def test_sound_may_not_run_ahead_of_time() -> None:
    rx = receiver()
    for _ in range(AHEAD_MS // 100):
        rx.audio(bytes(800), 0)
    with pytest.raises(WsRefused):
        rx.audio(bytes(800), 0)
    later = receiver()
    for n in range(1000):
        later.audio(bytes(800), n * 100_000)


def test_text_messages_are_rationed() -> None:
    rx = reader()
    for _ in range(TEXT_BURST):
        rx.take('{"type":"clear"}', 0)
    with pytest.raises(WsRefused):
        rx.take('{"type":"clear"}', 0)
    slow = reader()
    for n in range(500):
        slow.take('{"type":"clear"}', n * 100_000)


def test_what_a_peer_lost_leaves_a_hole() -> None:
    rx = receiver()
    assert rx.audio(bytes(160), 0)[0].ts == 0
    frame = rx.audio(bytes(160), 60_000, lost=2)[0]
    assert (frame.seq, frame.ts, frame.lost) == (3, 480, 2)
    far = rx.audio(bytes(160), 80_000, lost=10**9)
    assert not far or far[0].lost == MAX_LOST


def test_each_key_press_has_its_own_name() -> None:
    rx = receiver()
    first = rx.digits(ControlMessage("dtmf", digits="12"), 40, -1)
    second = rx.digits(ControlMessage("dtmf", digits="1"), 40, first[-1].ts)
    assert [d.digit for d in first + second] == ["1", "2", "1"]
    assert len({d.ts for d in first + second}) == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=900), st.integers(0, 500_000)), max_size=60))
def test_time_never_goes_back(messages: list[tuple[bytes, int]]) -> None:
    rx, now, end = receiver(), 0, 0
    for payload, wait in messages:
        now += wait
        try:
            frames = rx.audio(payload, now)
        except WsRefused:
            continue
        for frame in [*frames, *rx.poll(now)]:
            assert frame.ts >= end
            end = frame.ts + len(frame.payload)


# Dialects ----------------------------------------------------------------------------------------


def test_W2_one_offered_sub_protocol_is_chosen_or_all_are_refused() -> None:
    assert choose([]) is None
    assert choose(["media"]) == "media"
    assert choose(["a", "audio.drachtio.org", "media"]) == "audio.drachtio.org"
    with pytest.raises(WsRefused, match="media"):
        choose(["a", "b"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("media", "MEDIA_START connection_id:x channel:y format:ulaw", None),
        ("media", "DTMF_END digit:5", ControlMessage("dtmf", digits="5")),
        ("media", '{"event":"DTMF_END","digit":"#"}', ControlMessage("dtmf", digits="#")),
        ("media", '{"event":"MEDIA_XOFF"}', None),
        ("media", "", None),
        ("audio.drachtio.org", '{"callSid":"x"}', None),
        ("audio.drachtio.org", "plain metadata", None),
        ("audio.drachtio.org", '{"event":"dtmf","dtmf":"7"}', ControlMessage("dtmf", digits="7")),
    ],
)
def test_W2_what_other_systems_say(name: str, text: str, message: ControlMessage | None) -> None:
    assert parse(name, text) == message


def test_W2_what_we_say_to_them() -> None:
    asterisk, drachtio = DIALECTS["media"](), DIALECTS["audio.drachtio.org"]()
    assert asterisk.word(ControlMessage("clear")) == "FLUSH_MEDIA"
    assert asterisk.word(ControlMessage("mark", name="d1")) == "MARK_MEDIA d1"
    assert drachtio.word(ControlMessage("clear")) == '{"type":"killAudio"}'
    assert drachtio.word(ControlMessage("mark", name="d1")) is None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(DIALECTS)), st.one_of(st.text(max_size=60), st.builds(
    lambda event, digit: json.dumps({"event": event, "digit": digit, "dtmf": digit}),
    st.sampled_from(["DTMF_END", "dtmf", "x"]), st.none() | st.integers() | st.text(max_size=3),
)))  # fmt: skip
def test_W2_any_text_in_any_dialect_is_understood_passed_over_or_refused(
    name: str, text: str
) -> None:
    try:
        tuple(DIALECTS[name]().take(text))
    except WsRefused:
        pass


def test_W2_low_octet_first() -> None:
    rx = WsReceiver(Format("l16", 8_000), Leg("customer", 1, 0, 0, 8_000), 0, DIALECTS["media"]())
    assert rx.audio(b"\x01\x02" * 160, 0)[0].payload == b"\x02\x01" * 160


@pytest.mark.parametrize("codec", ["pcmu", "pcma", "l16", "l16/16000"])
def test_an_audio_stream_is_l16_whatever_the_session(codec: str) -> None:
    """What comes back is what went out, but for G.711's coarseness."""
    dialect, sound = RawAudioStreamDialect(), format_of(codec)
    assert dialect.opened(sound) == () and list(dialect.take("metadata")) == []
    wire = b"\x00\x10" * sound.frame_samples
    (heard,) = dialect.take(wire)
    assert isinstance(heard, Sound) and len(heard.payload) == sound.frame_bytes
    back = dialect.sound(heard.payload)
    assert len(back) == len(wire) and abs(int.from_bytes(back[:2], "little") - 0x1000) < 200
    with pytest.raises(WsRefused):
        list(dialect.take(b"\0"))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(DIALECTS)), st.sampled_from(["pcmu", "l16"]), st.binary(max_size=999))
def test_any_octets_in_any_dialect_are_sound_or_refused(
    name: str, codec: str, message: bytes
) -> None:
    dialect, sound = DIALECTS[name](), format_of(codec)
    dialect.opened(sound)
    rx = WsReceiver(sound, Leg("customer", 1, 0, 0, sound.rate_hz), 0, dialect)
    try:
        for heard in dialect.take(message):
            assert isinstance(heard, Sound)
            rx.audio(heard.payload, 0)
    except WsRefused:
        pass
