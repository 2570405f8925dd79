"""Two robot workers and what can befall them, in memory: nothing lost, nothing doubled, and every
call is the call that it would have been."""

import random
from collections import Counter
from functools import lru_cache

import pytest

from schemas.events import Directive, Turn
from tests.unit.robots.standby_cluster import PARTITIONS, Member
from tests.unit.robots.standby_world import SCRIPTS, Talk, World

RESTART_MS = 800
"""From a process's death until its successor reads the log."""


def careful(calls: int, within_ms: int) -> list[Talk]:
    """Customers who hear the robot out, and think for longer than any topic lags behind another:
    otherwise a prompt may count as playing when they answer."""
    chance = random.Random(4)
    return [
        Talk(
            f"call-{n}", SCRIPTS[n % len(SCRIPTS)], chance.randint(0, within_ms),
            chance.randint(300, 900),
        )
        for n in range(calls)
    ]  # fmt: skip


def hasty(calls: int) -> list[Talk]:
    """Customers who speak by the clock, over the robot's words."""
    texts: list[str | None] = ["可以", "嗯", "太贵了", "你是谁", "", "多少钱", "听不清楚"] * 3
    return [Talk(f"hasty-{n}", texts[n:], 37 * n, 0, hasty=True) for n in range(calls)]


@lru_cache(maxsize=4)
def undisturbed(calls: int, within_ms: int) -> tuple[object, object]:
    world = World(1, careful(calls, within_ms))
    world.run_out()
    check(world)
    assert world.claims() <= 2  # both booted at once
    return world.said(), turns(world)


def turns(world: World) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = {}
    for t in world.turns():
        row = t.input_kind, t.text, t.intent, t.node, t.variant, t.outcome, bool(t.directive_ids)
        found.setdefault(t.call_id or "", []).append(row)
    return found


def check(world: World) -> None:
    """Holds whatever happened: each final has one turn, each directive of a turn was accepted (but
    not what a call's end overtook), none twice."""
    assert world.unanswered() == []
    inputs = Counter(t.input_event_id for t in world.turns())
    assert [i for i, n in inputs.items() if n > 1] == []
    accepted = {d.directive_id for ds in world.accepted.values() for d in ds}
    for turn in world.turns():
        if not world.talks[turn.call_id or ""].over:
            assert set(turn.directive_ids) <= accepted, turn
    for call_id, directives in world.accepted.items():
        says = Counter((d.causation_id, d.prompt_id) for d in directives if d.kind == "say")
        assert [s for s, n in says.items() if n > 1] == [], call_id
        seqs = [d.seq for d in directives]
        assert seqs == sorted(set(seqs)), call_id
        ends = [n for n, d in enumerate(directives) if d.kind in ("hangup", "transfer")]
        assert ends in ([], [len(directives) - 1]), call_id


def check_same(world: World, calls: int, within_ms: int) -> None:
    check(world)
    said, of_turns = undisturbed(calls, within_ms)
    assert world.said() == said
    assert turns(world) == of_turns


# -- faults


def restart(world: World, member: Member) -> None:
    world.after(RESTART_MS, lambda: world.start(member.service))


def kill(world: World, member: Member) -> None:
    if member.alive:
        member.kill()
        restart(world, member)


def leave(world: World, member: Member) -> None:
    if member.alive and not member.stopped and member.client.connected:
        member.leave()
        restart(world, member)


def stall(world: World, member: Member, ms: int) -> None:
    member.stopped = True
    world.after(ms, lambda: setattr(member, "stopped", False))


def cut(world: World, member: Member, ms: int) -> None:
    member.client.cut = True
    world.after(ms, lambda: setattr(member.client, "cut", False))


def broker_away(world: World, ms: int) -> None:
    world.broker.away = True
    world.after(ms, lambda: setattr(world.broker, "away", False))


def some_fault(world: World) -> None:
    """One of all, on one or both workers, sometimes while another still lasts; half of them when
    the speaker has just decided something and its records are on their way."""
    chance = world.chance
    if chance.random() < 0.5:
        until_writing(world)
    who = chance.choice([world.speaker, world.speaker, world.follower])
    match chance.randint(0, 8):
        case 0 | 1 | 2:
            kill(world, who)
        case 3:
            leave(world, who)
        case 4 | 5:
            stall(world, who, chance.randint(200, 2_500))
        case 6:
            cut(world, who, chance.randint(200, 2_500))
        case 7:
            broker_away(world, chance.randint(200, 2_500))
        case _:
            world.restart_edge()


def until_writing(world: World, most_ms: int = 1_000) -> None:
    """Until answers of the speaker are on their way to the broker."""
    end = world.broker.now + most_ms
    while world.broker.now < end and not any(
        isinstance(event, Turn | Directive) for _, _, event, _ in world.speaker.client.outbox
    ):
        world.run(5)


@pytest.mark.parametrize("seed", range(6))
def test_calls_go_on_as_if_nothing_had_happened(seed: int) -> None:
    world = World(100 + seed, careful(40, 16_000))
    for _ in range(14):
        world.run(world.chance.randint(300, 2_500))
        some_fault(world)
    world.run_out()
    assert len(world.epochs_seen) > 2
    check_same(world, 40, 16_000)


@pytest.mark.parametrize("seed", range(4))
def test_hasty_customers_get_an_answer_to_everything(seed: int) -> None:
    world = World(200 + seed, hasty(8))
    for _ in range(12):
        world.run(world.chance.randint(200, 1_500))
        some_fault(world)
    world.run_out()
    check(world)


def test_hundreds_of_calls_move_to_the_other_worker_and_back() -> None:
    world = World(7, careful(200, 8_000))
    for _ in range(4):
        world.run(2_000)
        kill(world, world.speaker)
    world.run_out()
    check_same(world, 200, 8_000)


def test_an_answer_that_is_half_written_is_written_to_its_end() -> None:
    world = World(8, careful(40, 16_000))
    for _ in range(12):
        world.run(world.chance.randint(300, 1_500))
        until_writing(world)
        kill(world, world.speaker)
    world.run_out()
    assert world.half_written() > 0, "no kill has hit between a turn and its directives"
    check_same(world, 40, 16_000)


# -- no false takeover


def settled(seed: int) -> World:
    world = World(seed, careful(16, 6_000))
    world.run(3_000)
    assert world.speaker.speaks
    return world


@pytest.mark.parametrize("fault", ["stalled", "cut off"])
@pytest.mark.parametrize("seed", range(3))
def test_a_follower_that_comes_back_does_not_take_over(fault: str, seed: int) -> None:
    world = settled(seed)
    speaker, claims = world.speaker, world.claims()
    for _ in range(5):
        (stall if fault == "stalled" else cut)(world, world.follower, 1_200)
        world.run(2_000)
    assert world.speaker is speaker
    assert world.claims() == claims
    world.run_out()
    check_same(world, 16, 6_000)


@pytest.mark.parametrize("seed", range(5))
def test_a_broker_that_comes_back_changes_nobody(seed: int) -> None:
    world = settled(seed)
    speaker, claims = world.speaker, world.claims()
    for n in range(10):  # at another moment between two heartbeats each time
        broker_away(world, 1_500)
        world.run(2_000 + 19 * n)
    assert world.speaker is speaker
    assert world.claims() == claims
    world.run_out()
    check_same(world, 16, 6_000)


@pytest.mark.parametrize("seed", range(5))
def test_a_speaker_that_wakes_up_is_silent(seed: int) -> None:
    world = settled(seed)
    for _ in range(4):
        sleeper = world.speaker
        stall(world, sleeper, 2_000)
        world.run(1_990)
        assert world.speaker is not sleeper
        wakes, before = world.broker.now, len(sleeper.wrote)
        world.run(1_500)
        late = [e for at, e in sleeper.wrote[before:] if at >= wakes]
        assert [e for e in late if isinstance(e, Directive | Turn)] == []
    world.run_out()
    check_same(world, 16, 6_000)


def test_what_a_stale_speaker_still_sends_counts_nowhere() -> None:
    world = settled(3)
    sleeper = world.speaker
    until_writing(world)  # its last answer waits in its own outbox while it sleeps
    stall(world, sleeper, 2_000)
    world.run_out()
    assert world.stale > 0
    for member in world.members:
        assert member.shard.acceptance.epochs == dict.fromkeys(PARTITIONS, member.leadership.epoch)
    check_same(world, 16, 6_000)


def test_a_claim_that_arrives_late_is_void() -> None:
    world = settled(6)
    speaker, follower = world.speaker, world.follower
    speaker.client.cut = True
    while not any(e.kind == "claim" for _, _, e, _ in follower.client.outbox):
        world.run(5)
    speaker.client.cut = False
    stall(world, follower, 1_000)
    claims = world.claims()
    world.run(3_000)
    assert world.claims() == claims + 1
    assert world.speaker is speaker
    world.run_out()
    check_same(world, 16, 6_000)


def test_both_workers_die_and_one_comes_back() -> None:
    world = settled(5)
    for member in list(world.members):
        kill(world, member)
    world.run_out()
    check_same(world, 16, 6_000)
