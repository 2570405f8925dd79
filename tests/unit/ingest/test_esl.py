"""The event socket's text: cut anywhere it is the same; garbage ends the connection."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.freeswitch.causes import CAUSES, outcome_of, q850_of, sip_of
from ingest.freeswitch.esl import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    EslError,
    EslEvent,
    EslMessage,
    EslParser,
    command,
    event_of,
)
from ingest.freeswitch.socket import EslLost
from ingest.freeswitch.switch import (
    FreeSwitch,
    FreeSwitchConfig,
    _Channel,
    channel_id_of,
    channels_of,
    mark_of,
)
from ingest.trunks.driver import IncomingCall, LineEvent, MediaAddress, NotTaken

EVENT = (
    b"Event-Name: CUSTOM\nEvent-Subclass: mod_audio_stream%3A%3Aplay\nUnique-ID: u1\n"
    b"Caller-Caller-ID-Name: A%20B\nContent-Length: 4\n\n{\"a\""
)  # fmt: skip
STREAM = (
    b"Content-Type: auth/request\n\n"
    b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
    b"Content-Type: api/response\nContent-Length: 3\n\n42\n"
    + f"Content-Length: {len(EVENT)}\nContent-Type: text/event-plain\n\n".encode() + EVENT
)  # fmt: skip


def parsed(parts: list[bytes]) -> list[EslMessage]:
    parser = EslParser()
    return [message for part in parts for message in parser.feed(part)]


def test_messages() -> None:
    auth, answer, api, event = parsed([STREAM])
    assert (auth.kind, answer.headers["Reply-Text"]) == ("auth/request", "+OK accepted")
    assert api.body == "42\n" and event_of(api) is None
    found = event_of(event)
    assert found is not None and found.name == "mod_audio_stream::play"
    assert found.get("Caller-Caller-ID-Name") == "A B" and found.body == '{"a"'
    assert found.get("missing") == ""


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_the_same_however_it_is_cut(cuts: list[int]) -> None:
    ends = sorted({0, *cuts, len(STREAM)})
    parts = [STREAM[a:b] for a, b in zip(ends, ends[1:], strict=False)]
    assert parsed(parts) == parsed([STREAM])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"\n\n", b"Content-Length: 5\n\n", b"Content-Type: text/event-plain\n", EVENT,
                     b"Content-Length: -1\n\n", b"Content-Length: 99999999\n\n", b": x\n\n"]),
), max_size=8))  # fmt: skip
def test_anything_is_messages_or_an_error(parts: list[bytes]) -> None:
    try:
        for message in parsed(parts):
            event_of(message)
    except EslError:
        pass


@pytest.mark.parametrize(
    "data",
    [b"x" * (MAX_HEAD_BYTES + 1), b"nonsense\n\n", b"Content-Length: 1e3\n\n",
     f"Content-Length: {MAX_BODY_BYTES + 1}\n\n".encode(), b"a: b\n" * 1001 + b"\n"],
)  # fmt: skip
def test_too_much_is_an_error(data: bytes) -> None:
    with pytest.raises(EslError):
        parsed([data])


@pytest.mark.parametrize("words", ["", "api x\n\nexit", "api x\r", "api \0"])
def test_a_command_is_one_line(words: str) -> None:
    with pytest.raises(ValueError, match="line"):
        command(words)


def test_causes() -> None:
    assert all(1 <= cause <= 127 for cause in CAUSES.values())
    assert (q850_of("USER_BUSY"), q850_of("NEW", "42"), q850_of("NEW", "606")) == (17, 42, 31)
    assert (sip_of("sip:486"), sip_of("503"), sip_of("sip:200"), sip_of("x")) == (
        486,
        503,
        None,
        None,
    )
    assert outcome_of(False, "NO_ANSWER", "19", "") == (19, None, "no_answer")


@given(st.text(max_size=30), st.text(max_size=30), st.integers(1, 99))
def test_marks_name_their_edge_and_call(edge_id: str, call_id: str, try_no: int) -> None:
    mark = mark_of(edge_id, call_id, try_no)
    assert not set(mark) & set(" ,{}'\"\n")
    shown = f'{{"rows":[{{"uuid":"u1","presence_data":"{mark}"}},5,{{}}]}}'
    assert channels_of(shown, edge_id) == {"u1": (call_id, try_no)}
    assert channels_of(shown, edge_id + "x") == {}


@pytest.mark.parametrize("shown", ["", "[]", "-ERR", "[" * 5000, "null"])
def test_channels_that_are_no_json_are_an_error(shown: str) -> None:
    with pytest.raises(EslLost):
        channels_of(shown, "edge")


def test_one_call_is_one_channel() -> None:
    assert channel_id_of("c1") == channel_id_of("c1") != channel_id_of("c2")
    assert channel_id_of("c1", 2) != channel_id_of("c1")


class Nobody:
    """A listener that only counts."""

    def __init__(self) -> None:
        self.told: list[LineEvent] = []

    def on_progress(self, call_id: str, progress: LineEvent) -> None:
        self.told.append(progress)

    def on_media(self, call_id: str, theirs: MediaAddress) -> None:
        pass

    async def came_in(self, call: IncomingCall) -> MediaAddress | None:
        raise NotTaken(1, "no such number")

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        pass

    def calls_on(self, switch: str) -> dict[str, str]:
        return {}


NAMES = [
    "CHANNEL_PARK", "CHANNEL_PROGRESS", "CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE", "DTMF",
    "BACKGROUND_JOB", "CUSTOM", "x",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(
    st.sampled_from(NAMES),
    st.dictionaries(
        st.sampled_from(["DTMF-Digit", "Event-Sequence", "Hangup-Cause", "Job-UUID",
                         "variable_hangup_cause_q850", "variable_sip_term_status",
                         "Event-Subclass"]),
        st.text(max_size=9) | st.sampled_from(["mod_audio_stream::play", "5", "USER_BUSY", "j"]),
    ),
    st.text(max_size=9) | st.sampled_from(['{"file":"/tmp/a"}', '{"file":1}', "[]", "-ERR x"]),
), max_size=6))  # fmt: skip
def test_any_event_is_told_or_passed_over(
    events: list[tuple[str, dict[str, str], str]],
) -> None:
    async def run() -> list[LineEvent]:
        nobody = Nobody()
        switch = FreeSwitch(
            FreeSwitchConfig("127.0.0.1", 1, "", "edge"), lambda call_id: "ws://x?t="
        )
        switch._listener = nobody
        switch._channels["u"] = _Channel("c1", 1, "ws://x?t=", 8)
        switch._of_call["c1"], switch._jobs["j"] = "u", "u"
        for name, headers, body in events:
            switch._on_event(EslEvent(headers | {"Event-Name": name, "Unique-ID": "u"}, body))
        await switch.close()
        return nobody.told

    told = asyncio.run(run())
    ends = [n for n, event in enumerate(told) if event.kind == "ended"]
    assert len(ends) <= 1 and (not ends or ends == [len(told) - 1]), "nothing follows the end"
