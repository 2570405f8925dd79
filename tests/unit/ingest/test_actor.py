"""What a session tells reaches the call: who answered, and prompts that pause and go on."""

import asyncio
from dataclasses import replace
from typing import Any, cast

from ingest.call.actor import CallActor, Surroundings
from ingest.call.types import (
    AnswerHeard,
    Call,
    HungUp,
    KeyPressed,
    Phase,
    PlayoutHeldUp,
    WatchAnswer,
)
from ingest.sound.pacer import TICK_US
from ingest.sound.session import Clock, Session
from ingest.sound.types import PCMU, Frame
from ringlog.settings import Settings
from tests.unit.ingest.test_edge_calls import new_call
from tests.unit.ingest.test_edge_session import IDS, LEG, SILENCE, Wire, say, voice


class Log:
    """A media log that keeps nothing."""

    def add(self, *_: object) -> None:
        """Drops it."""


def actor_with_sound() -> tuple[CallActor, Session]:
    edge = cast(Surroundings, type("Edge", (), {"config": Settings(), "media_log": Log()})())
    actor = CallActor(edge, new_call(), PCMU)
    session = actor.session = Session("call", PCMU, Clock(0, 0), IDS, actor)
    session.attach(Wire())
    actor.entry = None
    return actor, session


def run(session: Session, ticks: range, sound: bytes | None) -> None:
    for n in ticks:
        if sound is not None:
            session.heard((Frame(LEG, n, 1600 + 160 * n, sound, "pcmu", 0),), n * TICK_US)
        session.tick(n, n * TICK_US)


def inputs(actor: CallActor) -> list[Any]:
    return [actor._inputs.get_nowait() for _ in range(actor._inputs.qsize())]


async def test_what_is_heard_of_who_answered_is_an_input() -> None:
    actor, session = actor_with_sound()
    run(session, range(200), SILENCE)
    assert inputs(actor) == [], "nobody has asked"
    await actor._do(WatchAnswer())
    run(session, range(200, 320), SILENCE)
    assert inputs(actor) == [AnswerHeard("silence", 2000)]


async def test_a_pause_and_its_end_are_inputs_in_order() -> None:
    actor, session = actor_with_sound()
    session.play(say("a", 3000, "speech"))
    run(session, range(40), SILENCE)
    run(session, range(40, 46), voice())
    run(session, range(46, 120), SILENCE)
    held = [given for given in inputs(actor) if isinstance(given, PlayoutHeldUp)]
    assert [given.kind for given in held] == ["playout_paused", "playout_resumed"]
    assert held[0].at_ms >= held[1].at_ms and {given.directive_id for given in held} == {"a"}


async def test_a_call_that_may_be_anothers_is_neither_ended_nor_dialled() -> None:
    """The edge is asked before whatever cannot be undone, and before nothing else."""
    asked: list[Call] = []

    class Elsewhere:
        config = Settings()

        async def may_act(self, call: Call) -> bool:
            asked.append(call)
            return False

        async def queue(self, *_: object) -> asyncio.Future[object]:
            return asyncio.get_running_loop().create_future()

        def on_written(self, _: object) -> None: ...

    call = replace(new_call(), phase=Phase.ANSWERED)
    actor = CallActor(cast(Surroundings, Elsewhere()), call, PCMU)
    await actor._step(KeyPressed("1", "x"))
    assert asked == []
    await actor._step(HungUp("failed", 41))
    assert asked == [call] and not actor.call.closing
