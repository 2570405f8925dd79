"""The controller of one call on Asterisk: it owns the customer's leg and the bridge, while media
legs come and go. Pure: no clock, chance or network.

`evolve` folds what has happened into facts. What the facts call for is a set of commands
(`called_for`); a command is given when it is called for and was not before. So no order of events
gives a command twice, and none leaves a channel without an end: a closing call calls for the end of
every channel that is not known to be gone.

An outgoing leg is created, put into the bridge with its media leg, and only then dialled: what the
far end says first is heard (early media, too).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ingest.asterisk.causes import EndCauses, told_cause
from ingest.asterisk.facts import (
    Asked,
    BridgeGone,
    BridgeMade,
    CameIn,
    Channel,
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
from ingest.asterisk.names import Role, name_of, ours

MAX_FAILURES: Final = 5
"""Media legs in a row that may fail before the call ends: a customer hears nothing meanwhile."""

Q850_TEMPORARY_FAILURE: Final = 41
Q850_UNSPECIFIED: Final = 31
"""For a call that has ended and nobody told us why. It may have been answered meanwhile, so this is
no cause for which another trunk is tried."""


def decide(app: str, call: LineCall, given: LineInput) -> list[LineCommand]:
    """What the host does because of one input; `call` is the state before it."""
    before = set(_called_for(call))
    return [c for c in _called_for(evolve(app, call, given)) if c not in before]


def evolve(app: str, call: LineCall, given: LineInput) -> LineCall:
    """The call after one input."""
    return _settled(app, _folded(app, call, given))


def _folded(app: str, call: LineCall, given: LineInput) -> LineCall:
    match given:
        case Asked(line) if call.line is None and not call.closing:
            return replace(_with(call, Channel(line, "line", 1)), bridge="asked")
        case CameIn(line) if call.line is None and not call.closing:
            came = Channel(line, "line", 1, made=True, entered=True)
            return replace(_with(call, came), bridge="asked", inbound=True)
        case BridgeMade():
            return replace(call, bridge="there")
        case BridgeGone():
            return replace(call, bridge="gone", closing=True)
        case Made(name):
            return _mark(call, name, made=True)
        case Entered(name):
            return _mark(_known(app, call, name), name, made=True, entered=True, gone=False)
        case Joined(name):
            found = call.channels.get(name)
            media = found is not None and found.role == "media"
            return replace(_mark(call, name, joined=True), failures=0 if media else call.failures)
        case NotMade(name, causes):
            return _not_made(call, name, causes)
        case Stepped(name, step):
            return _progress(call, name, step)
        case HangupAsked(name, causes, soft):
            if soft or call.line is None or name != call.line.name or call.over:
                return call
            return replace(call, causes=causes)
        case Gone(name, cause):
            return _gone(call, name, cause)
        case HangUpWanted():
            return replace(call, closing=True)
        case TransferWanted(endpoint):
            return _transfer(app, call, endpoint)
        case Found():
            return _found(app, call, given)
    return call


def _with(call: LineCall, channel: Channel) -> LineCall:
    return replace(call, channels={**call.channels, channel.name: channel})


def _mark(call: LineCall, name: str, **facts: bool) -> LineCall:
    found = call.channels.get(name)
    if found is None:
        return call
    return _with(call, replace(found, **facts))  # type: ignore[arg-type]  # all are bool


def _known(app: str, call: LineCall, name: str) -> LineCall:
    """A channel of ours that this controller never asked for belongs to nobody: it ends."""
    found = ours(app, name)
    if name in call.channels or found is None or found.role not in ("line", "media", "agent"):
        return call
    role: Role = found.role  # type: ignore[assignment]  # checked above
    return _with(call, Channel(name, role, found.n, found=True, refused=True))


def _not_made(call: LineCall, name: str, causes: EndCauses) -> LineCall:
    found = call.channels.get(name)
    if found is None or found.gone:
        return call
    call = _mark(call, name, refused=True)
    if found.role == "line":
        known = call.causes if call.causes != EndCauses() else causes
        call = replace(call, closing=True, causes=known)
    return call if found.made else _gone(call, name, None)


def _progress(call: LineCall, name: str, step: str) -> LineCall:
    found = call.channels.get(name)
    if found is None or found.gone or call.over:
        return call
    call = _mark(call, name, dialled=True)
    if step == "up":
        call = _mark(call, name, up=True)
        agent = call.agent
        talks = agent is not None and name == agent.name and not agent.refused
        return replace(call, connected=True) if talks else call
    if found.role != "line" or found.up:
        return call
    return replace(call, rang=True) if step == "ringing" else replace(call, early=True)


def _gone(call: LineCall, name: str, cause: int | None) -> LineCall:
    found = call.channels.get(name)
    if found is None or found.gone:
        return call
    call = _mark(call, name, gone=True, joined=False)
    if found.role == "media" and not found.joined:
        return replace(call, failures=call.failures + 1)
    if found.role == "line":
        ours_first = call.closing and call.causes.q850 is not None
        known = call.causes.q850 if cause is None or ours_first else told_cause(cause)
        known = Q850_UNSPECIFIED if known is None else known
        if call.over:
            return call
        return replace(call, causes=EndCauses(known, call.causes.sip), over=True, closing=True)
    return call


def _transfer(app: str, call: LineCall, endpoint: str) -> LineCall:
    agent = call.agent
    waits = agent is not None and not (agent.gone or agent.refused)
    if call.closing or waits or not call.answered:
        return call
    n = len(call.of("agent")) + 1
    name = name_of(app, call.call_id, call.try_no, "agent", n)
    return _with(call, Channel(name, "agent", n, endpoint))


def _found(app: str, call: LineCall, found: Found) -> LineCall:
    known_before = call.channels
    for name in sorted(found.channels - known_before.keys()):
        named = ours(app, name)
        if named is None:  # a call that came in has a name of its own
            call = replace(_with(call, Channel(name, "line", 1, found=True)), inbound=True)
        elif named.role == "agent":
            # A transfer whose customer talks to somebody goes on; any other was cut off.
            talks = name in found.up and name in found.joined
            call = _with(call, Channel(name, "agent", named.n, found=True, refused=not talks))
            call = replace(call, connected=call.connected or talks)
        else:
            role: Role = "line" if named.role == "line" else "media"
            deaf = call.anew and role == "media"
            call = _with(call, Channel(name, role, named.n, found=True, refused=deaf))
        call = _mark(call, name, dialled=True)
    for name in found.channels:
        up = call.channels[name].up or (name in found.up and not call.over)
        call = _mark(
            call, name, made=True, entered=True, gone=False, joined=name in found.joined, up=up
        )
    for channel in known_before.values():
        if channel.made and channel.name not in found.channels:
            call = _gone(call, channel.name, None)
    if call.line is None:
        call = replace(call, over=True, closing=True, causes=EndCauses(Q850_UNSPECIFIED))
    if found.bridge:
        return replace(call, bridge="there")
    if call.closing or call.bridge == "there" or not known_before:
        return replace(call, bridge="gone", closing=True)  # without it nobody hears anybody
    return call


def _settled(app: str, call: LineCall) -> LineCall:
    """What follows from the facts alone."""
    line, agent, media = call.line, call.agent, call.media
    if call.closing or line is None:
        return call
    if call.failures >= MAX_FAILURES:
        return replace(call, closing=True, causes=EndCauses(Q850_TEMPORARY_FAILURE))
    if call.connected:
        # Whom the customer talked to has hung up.
        return replace(call, closing=True) if agent is None or agent.gone else call
    if media is not None:
        met = line.joined and media.joined
        return replace(call, ready=True) if met and not call.ready else call
    # A call that goes on needs sound: the first media leg, or a new one for one that was lost.
    n = max((channel.n for channel in call.of("media")), default=0) + 1
    return _with(call, Channel(name_of(app, call.call_id, call.try_no, "media", n), "media", n))


def _called_for(call: LineCall) -> Iterator[LineCommand]:
    """What the facts call for, in the order in which it is done."""
    line, agent = call.line, call.agent
    if call.bridge == "asked":
        yield MakeBridge()
    for channel in call.channels.values():
        yield from _making(call, channel)
    if not call.closing:
        for channel in call.channels.values():
            wanted = channel.entered and not (channel.gone or channel.refused or channel.joined)
            if call.bridge == "there" and wanted:
                yield Join(channel.name)
        if line is not None and call.ready:
            if call.inbound and not line.up:
                yield PickUp(line.name)
            elif not (call.inbound or line.dialled):
                yield DialOut(line.name)
        if agent is not None and agent.joined and not (agent.dialled or agent.refused):
            yield DialOut(agent.name)
    yield from _telling(call)
    for channel in call.channels.values():
        unwanted = call.closing or channel.refused or (call.connected and channel.role == "media")
        if unwanted and not channel.gone:
            yield EndChannel(channel.name)
    if call.closing and call.bridge in ("asked", "there"):
        yield EndBridge()


def _making(call: LineCall, channel: Channel) -> Iterator[LineCommand]:
    if channel.found:
        return
    match channel.role:
        case "line" if not call.inbound:
            yield MakeLine(channel.name)
        case "media":
            yield MakeMedia(channel.name)
        case "agent":
            yield MakeAgent(channel.name, channel.endpoint)
        case _:
            pass  # it came in


def _telling(call: LineCall) -> Iterator[LineCommand]:
    if call.rang:
        yield TellStep("ringing")
    if call.early:
        yield TellStep("early_media")
    if call.answered:
        yield TellStep("answered")
    for channel in call.of("agent"):
        if call.connected and channel == call.agent:
            yield TellConnected(channel.name, True)
        elif channel.gone or channel.refused or call.closing:
            yield TellConnected(channel.name, False)
    if call.over:
        yield TellOver(call.causes, call.answered)
