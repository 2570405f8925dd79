"""The controller of one call on Asterisk: order of set-up, media legs, ends, in every order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.asterisk.causes import EndCauses
from ingest.asterisk.control import MAX_FAILURES, decide, evolve
from ingest.asterisk.facts import (
    Asked,
    BridgeGone,
    BridgeMade,
    CameIn,
    DialOut,
    EndBridge,
    EndChannel,
    Entered,
    Found,
    Gone,
    HangupAsked,
    HangUpWanted,
    Join,
    Joined,
    LineCall,
    LineCommand,
    LineInput,
    Made,
    MakeAgent,
    MakeBridge,
    MakeLine,
    MakeMedia,
    NotMade,
    PickUp,
    Stepped,
    TellConnected,
    TellOver,
    TellStep,
    TransferWanted,
)
from ingest.trunks.causes import is_carrier_fault

APP = "ringlog-edge"
LINE, MEDIA, MEDIA2, AGENT, AGENT2 = (
    f"{APP}~c1~1-{x}" for x in ("line1", "media1", "media2", "agent1", "agent2")
)


class Host:
    """Feeds inputs and keeps what was commanded."""

    def __init__(self) -> None:
        self.call = LineCall("c1")
        self.commands: list[LineCommand] = []

    def feed(self, *inputs: LineInput) -> list[LineCommand]:
        new: list[LineCommand] = []
        for one in inputs:
            new += decide(APP, self.call, one)
            self.call = evolve(APP, self.call, one)
        self.commands += new
        return new


def dialled() -> Host:
    host = Host()
    host.feed(Asked(LINE), BridgeMade(), Made(LINE), Made(MEDIA), Entered(LINE), Entered(MEDIA))
    host.feed(Joined(LINE), Joined(MEDIA))
    return host


def answered() -> Host:
    host = dialled()
    host.feed(Stepped(LINE, "ringing"), Stepped(LINE, "up"))
    return host


def test_the_far_end_is_dialled_once_both_legs_are_in_the_bridge() -> None:
    host = Host()
    assert host.feed(Asked(LINE)) == [MakeBridge(), MakeLine(LINE), MakeMedia(MEDIA)]
    assert host.feed(Entered(LINE)) == []
    assert host.feed(BridgeMade()) == [Join(LINE)]
    assert host.feed(Made(LINE), Joined(LINE), Made(MEDIA)) == []
    assert host.feed(Entered(MEDIA)) == [Join(MEDIA)]
    assert host.feed(Joined(MEDIA)) == [DialOut(LINE)]
    assert host.feed(Stepped(LINE, "early_media")) == [TellStep("early_media")]
    assert host.feed(Stepped(LINE, "up"), Stepped(LINE, "up")) == [TellStep("answered")]


def test_a_lost_media_leg_is_replaced_and_nobody_is_dialled_again() -> None:
    host = answered()
    assert host.feed(Gone(MEDIA, 38)) == [MakeMedia(MEDIA2)]
    assert host.feed(Made(MEDIA2), Entered(MEDIA2)) == [Join(MEDIA2)]
    assert host.feed(Joined(MEDIA2)) == []
    assert not host.call.closing


def test_a_call_ends_when_no_media_leg_comes_up() -> None:
    host = dialled()
    host.feed(Gone(MEDIA, 38))
    for n in range(2, MAX_FAILURES + 2):
        host.feed(NotMade(f"{APP}~c1~1-media{n}"))
    assert host.commands[-2:] == [EndChannel(LINE), EndBridge()]
    assert host.feed(Gone(LINE, 16)) == [TellOver(EndCauses(41), False)]


def test_a_refusal_has_its_sip_status_only_from_the_far_end() -> None:
    host = dialled()
    host.feed(HangupAsked(LINE, EndCauses(17, 486), soft=False))
    assert host.feed(Gone(LINE, 17))[0] == TellOver(EndCauses(17, 486), False)
    host = dialled()  # a ring time-out: Asterisk makes up a status
    host.feed(HangupAsked(LINE, EndCauses(32, None), soft=True))
    assert host.feed(Gone(LINE, 19))[0] == TellOver(EndCauses(19), False)


def test_a_far_bye_without_a_reason_is_normal_clearing() -> None:
    host = answered()
    host.feed(HangupAsked(LINE, EndCauses(0), soft=False))
    assert host.feed(Gone(LINE, 0)) == [
        TellOver(EndCauses(16), True), EndChannel(MEDIA), EndBridge(),
    ]  # fmt: skip


def test_a_transfer_gives_the_bridge_to_both() -> None:
    host = answered()
    assert host.feed(TransferWanted("PJSIP/9@pbx")) == [MakeAgent(AGENT, "PJSIP/9@pbx")]
    assert host.feed(Made(AGENT), Entered(AGENT)) == [Join(AGENT)]
    assert host.feed(Joined(AGENT)) == [DialOut(AGENT)]
    assert host.feed(Stepped(AGENT, "up")) == [TellConnected(AGENT, True), EndChannel(MEDIA)]
    assert host.feed(Gone(MEDIA, 16)) == []
    assert host.feed(Gone(AGENT, 16)) == [EndChannel(LINE), EndBridge()]
    assert host.feed(Gone(LINE, 16), BridgeGone()) == [TellOver(EndCauses(16), True)]
    assert host.call.forgotten


def test_a_transfer_that_fails_leaves_the_call_and_may_be_tried_again() -> None:
    host = answered()
    host.feed(TransferWanted("PJSIP/9@pbx"), Made(AGENT), Entered(AGENT), Joined(AGENT))
    assert host.feed(Gone(AGENT, 17)) == [TellConnected(AGENT, False)]
    assert host.feed(TransferWanted("PJSIP/8@pbx")) == [MakeAgent(AGENT2, "PJSIP/8@pbx")]
    host.feed(HangUpWanted())
    assert TellConnected(AGENT2, False) in host.commands


def test_a_call_that_came_in_is_answered_once_its_sound_is_there() -> None:
    host = Host()
    assert host.feed(CameIn("1732.5")) == [MakeBridge(), MakeMedia(MEDIA)]
    host.feed(BridgeMade(), Made(MEDIA), Entered(MEDIA), Joined("1732.5"))
    assert host.feed(Joined(MEDIA)) == [PickUp("1732.5")]


def test_a_call_that_is_taken_up_gets_a_new_media_leg_only_if_it_has_none() -> None:
    host = Host()
    there = Found(
        frozenset({LINE, MEDIA}), frozenset({LINE, MEDIA}), frozenset({LINE, MEDIA}), True
    )
    assert host.feed(there) == [TellStep("answered")]
    host = Host()
    lost = Found(frozenset({LINE}), frozenset({LINE}), frozenset({LINE}), True)
    assert host.feed(lost) == [MakeMedia(MEDIA), TellStep("answered")]
    assert DialOut(LINE) not in host.feed(Made(MEDIA), Entered(MEDIA), Joined(MEDIA))


def test_a_lost_edges_call_gets_a_media_leg_of_ours_and_its_own_ends() -> None:
    host = Host()
    host.call = LineCall("c1", was_answered=True, anew=True)
    there = frozenset({LINE, MEDIA})
    new = host.feed(Found(there, there, there, True))
    assert new == [MakeMedia(MEDIA2), EndChannel(MEDIA)]
    assert host.feed(Gone(MEDIA)) == []
    host.feed(Made(MEDIA2), Entered(MEDIA2), Joined(MEDIA2))
    assert host.call.ready and not host.call.closing
    # The lost edge wakes up, and brings its sound once more: that leg is nobody's.
    media3 = f"{APP}~c1~1-media3"
    everything = frozenset({LINE, MEDIA2, media3})
    assert host.feed(Found(everything, everything, everything, True)) == [EndChannel(media3)]
    assert host.feed(HangUpWanted()) == [EndChannel(LINE), EndChannel(MEDIA2), EndBridge()]


def test_a_call_that_the_switch_has_lost_is_over() -> None:
    host = answered()
    nothing = Found(frozenset(), frozenset(), frozenset(), False)
    assert TellOver(EndCauses(31), True) in host.feed(nothing)
    assert host.call.forgotten
    host = Host()
    (over,) = host.feed(nothing)
    assert over == TellOver(EndCauses(31), False)
    assert not is_carrier_fault(31, None)  # it may have been answered: nobody dials again


def test_a_transfer_survives_a_restart_of_the_edge() -> None:
    host = Host()
    both = frozenset({LINE, AGENT})
    assert MakeMedia(MEDIA) not in host.feed(Found(both, both, both, True))
    assert host.feed(Gone(AGENT, 16)) == [EndChannel(LINE), EndBridge()]


NAMES = st.sampled_from([LINE, MEDIA, MEDIA2, AGENT, AGENT2, "1732.5"])
CAUSES = st.builds(
    EndCauses, st.sampled_from([None, 0, 16, 17, 34]), st.sampled_from([None, 486, 503])
)
SETS = st.frozensets(NAMES)
INPUTS: st.SearchStrategy[LineInput] = st.one_of(
    st.just(Asked(LINE)), st.just(CameIn("1732.5")), st.just(BridgeMade()),
    st.just(BridgeGone()), st.just(HangUpWanted()), st.just(TransferWanted("PJSIP/9@pbx")),
    st.builds(Made, NAMES), st.builds(NotMade, NAMES, CAUSES), st.builds(Entered, NAMES),
    st.builds(Joined, NAMES),
    st.builds(Stepped, NAMES, st.sampled_from(["ringing", "early_media", "up"])),
    st.builds(HangupAsked, NAMES, CAUSES, st.booleans()),
    st.builds(Gone, NAMES, st.sampled_from([None, 0, 16, 17])),
    st.builds(Found, SETS, SETS, SETS, st.booleans()),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(INPUTS, max_size=25), st.booleans())
def test_no_order_of_events_leaves_a_channel_without_an_end(
    inputs: list[LineInput], asked: bool
) -> None:
    """Every channel that was asked for or seen is ended after its last sign of life."""
    host = Host()
    alive: set[str] = set()
    unended: set[str] = set()
    for one in [*([Asked(LINE)] if asked else []), *inputs, HangUpWanted()]:
        known = set(host.call.channels)
        match one:
            case Gone(name) | NotMade(name):
                alive.discard(name)
            case Found(channels):
                alive = set(channels) | {
                    name for name in alive if not host.call.channels[name].made
                }
            case Entered(name) if name in known or name != "1732.5":
                alive.add(name)
            case CameIn(name) if host.call.line is None and not host.call.closing:
                alive.add(name)
            case _:
                pass
        for command in host.feed(one):
            match command:
                case MakeLine(name) | MakeMedia(name) | MakeAgent(name):
                    assert name not in known and not host.call.closing
                    alive.add(name)
                case EndChannel(name):
                    unended.discard(name)
                case _:
                    pass
        # A refused join leaves a channel that was made: it is ended in the same step.
        unended = {n for n, c in host.call.channels.items() if not c.gone} & alive
    ended_last = {n for n, c in host.call.channels.items() if not c.gone}
    commanded = {c.name for c in host.commands if isinstance(c, EndChannel)}
    assert unended <= ended_last <= commanded


@settings(max_examples=150, deadline=None)
@given(st.lists(INPUTS, max_size=25))
def test_news_come_once_and_nobody_is_dialled_twice(inputs: list[LineInput]) -> None:
    host = Host()
    host.feed(Asked(LINE), *inputs, HangUpWanted())
    once = [
        c for c in host.commands
        if isinstance(c, DialOut | MakeLine | MakeMedia | MakeAgent | TellStep)
    ]  # fmt: skip
    assert len(once) == len(set(once))
    assert sum(isinstance(c, TellOver) for c in host.commands) <= 1
    connected = [c for c in host.commands if isinstance(c, TellConnected) and c.ok]
    assert len(connected) <= 2
    if host.call.over:
        assert sum(isinstance(c, TellOver) for c in host.commands) == 1


@settings(max_examples=100, deadline=None)
@given(st.lists(INPUTS, max_size=30))
def test_the_same_input_twice_changes_nothing(inputs: list[LineInput]) -> None:
    host = Host()
    host.feed(Asked(LINE))
    for one in inputs:
        host.feed(one)
        if not isinstance(one, NotMade | TransferWanted | Found | Gone):
            assert host.feed(one) == []
