"""Every kind of violation, planted: it is found, and nothing else is."""

import re

import pytest

from ringlog.kafka.dead_letters import TOO_LARGE
from ringlog.settings import root
from schemas.events import CallEvent, Turn
from schemas.partition import partition_of
from streams.robots.shard import LONGEST_CALL_MS
from tests.unit.verify import planted_calls, planted_campaigns, planted_dials, planted_tasks
from tests.unit.verify.planting import CASES, OTHER, Plant, drop, last
from tests.unit.verify.test_verify_good import WITHOUT_TABLES
from tests.unit.verify.world import EVERYTHING, KEY, World, judge

PLANTED = (planted_calls, planted_campaigns, planted_dials, planted_tasks)
"""To import them is to have their cases."""


@pytest.mark.parametrize(("plant", "rules"), CASES, ids=[p.__name__ for p, _ in CASES])
def test_what_is_planted_is_found(plant: Plant, rules: set[str]) -> None:
    world = World()
    plant(world)
    if not any(e.topic == "analytics.ticks" for e in world.entries):
        world.windows()
    results = judge(world, *WITHOUT_TABLES, idle=True)
    found = {v.rule for r in results.values() for v in r.violations}
    assert found == rules
    named = [v for r in results.values() for v in r.violations]
    assert all(v.where or v.rule == "windows.no_window" for v in named), "each says where to look"


def test_every_rule_is_planted() -> None:
    """The checks' sources name no rule that no test plants."""
    rules = set()
    for path in (root() / "verify" / "checks").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"(?:\.(?:violate|_blame)\(|yield|return)\s*\"(\w+)\",", text)
        rules |= {f"{path.stem}.{rule}" for rule in named}
    planted = {rule for _, of_case in CASES for rule in of_case}
    elsewhere = {"views.differs", "status.missing", "status.differs"}
    assert rules - planted == elsewhere


# What is open, and what is not


def test_a_young_call_is_open_and_an_old_one_is_not() -> None:
    world = World()
    world.call_event("foreign-1", "ringing", direction="foreign")
    young = judge(world, "calls")["calls"]
    assert (young.open, young.total) == (1, 0)
    old = judge(world, "calls", later_ms=LONGEST_CALL_MS + 61_000)["calls"]
    assert [v.rule for v in old.violations] == ["calls.no_end"]
    idle = judge(world, "calls", idle=True)["calls"]
    assert [v.rule for v in idle.violations] == ["calls.no_end"]


def test_an_end_behind_the_cut_is_evidence() -> None:
    world = World()
    world.call_event("foreign-1", "ringing", direction="foreign")
    world.judged = False
    world.call_event("foreign-1", "ended")
    world.call_event("foreign-2", "ringing", direction="foreign")
    result = judge(world, "calls", idle=True)["calls"]
    assert (result.looked_at, result.open, result.total) == (1, 0, 0)


def test_a_final_without_a_turn_is_open_for_a_while() -> None:
    world = World()
    world.final("foreign-1")
    fresh = judge(world, "turns", later_ms=5_000)["turns"]
    assert (fresh.open, fresh.total) == (1, 0)
    stale = judge(world, "turns", later_ms=70_000)["turns"]
    assert [v.rule for v in stale.violations] == ["turns.no_turn"]


def test_what_a_part_has_not_come_to_is_open() -> None:
    world = World()
    world.wish()
    behind = judge(world, "tasks", reached=EVERYTHING - {"dispatch"})["tasks"]
    assert (behind.open, behind.total) == (1, 0)
    there = judge(world, "tasks")["tasks"]
    assert [v.rule for v in there.violations] == ["tasks.undecided"]


def test_a_prompt_that_began_before_the_edge_could_know_is_no_violation() -> None:
    world = World()
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    say = world.directive(answered)
    world.turn(answered, [say])
    world.write("dialogue.directives", say)
    world.call_event("foreign-1", "ended", source="carrier")
    world.now += 1_000
    world.play(say)
    result = judge(world, "calls", idle=True)["calls"]
    assert result.total == 0
    assert any("before the edge could know" in note for note in result.notes)


def test_a_prompt_that_a_dead_edge_left_does_not_overlap() -> None:
    """Its successor carried a `stop` out without a word, or the prompt must be over."""
    world = World()
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    first, second = (world.directive(answered, "say", n) for n in range(2))
    stop = world.directive(answered, "stop")
    world.turn(answered, [first, second, stop])
    for directive in (first, second, stop):
        world.write("dialogue.directives", directive)
    world.playout(first, "playout_started", 5_000)
    world.play(second)
    assert judge(world, "directives", idle=True)["directives"].total == 0

    world = World()
    world.turn(answered, [first, second])
    world.write("calls.events", answered)
    for directive in (first, second):
        world.write("dialogue.directives", directive)
    world.playout(first, "playout_started", 2_000)
    world.now += 4_000
    world.play(second)
    assert judge(world, "directives", idle=True)["directives"].total == 0


def test_a_dead_edges_prompt_that_is_played_again_is_a_repeat() -> None:
    world = World()
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    (say,) = world.answer(answered)
    world.play(say)
    assert judge(world, "directives", idle=True)["directives"].total == 0


def test_a_takeover_completes_a_turn_and_stale_repeats_count_for_nothing() -> None:
    world = World()
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    old = world.directive(answered, epoch=1)
    world.turn(answered, [old], epoch=1)
    new = old.model_copy(update={"epoch": 5})
    world.write("dialogue.directives", new)
    world.write("dialogue.directives", old)
    world.play(new)
    world.call_event("foreign-1", "ended")
    results = judge(world, "directives", "turns", "ids", idle=True)
    assert {v.rule for r in results.values() for v in r.violations} == set()
    assert "1 directives of an old epoch; nobody took them" in results["directives"].notes


def test_a_silenced_speakers_timer_may_lack_its_directives() -> None:
    world = World()
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    world.answer(answered, epoch=5)
    timer = CallEvent(
        event_id=OTHER, kind="ringing", occurred_at=world.now, producer="x", call_id="foreign-1"
    )
    say = world.directive(timer, epoch=3)
    world.turn(timer, [say], epoch=3, input_kind="silence")
    assert judge(world, "turns", idle=True)["turns"].total == 0


def test_a_directive_may_be_missing_where_the_call_ended_meanwhile() -> None:
    world = World()
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    world.turn(answered, [world.directive(answered)])
    world.call_event("foreign-1", "ended")
    assert judge(world, "turns", idle=True)["turns"].total == 0


def test_an_opt_out_after_what_the_edge_had_read_does_not_count() -> None:
    world = World()
    wish = world.wish()
    permit = world.assigned(wish)
    world.opt_out()
    world.dial(permit, optout_offset=0)
    assert judge(world, "optouts")["optouts"].total == 0


def test_who_takes_his_opt_out_back_may_be_called() -> None:
    world = World()
    world.opt_out()
    world.opt_out(kind="opted_in")
    world.whole_call(1)
    assert judge(world, "optouts", key=KEY)["optouts"].total == 0


def test_without_the_site_key_opt_outs_are_not_judged_and_said_so() -> None:
    world = World()
    world.opt_out()
    world.whole_call(1)
    result = judge(world, "optouts", key=None)["optouts"]
    assert (result.looked_at, result.total) == (0, 0)
    assert result.notes == ["not judged: the site key is not here; set RINGLOG_SITE_KEY"]
    assert judge(world, "profiles", key=None)["profiles"].total == 0


def test_a_profile_may_be_ahead_of_the_cut_and_not_behind() -> None:
    world = World()
    world.wish()
    world.judged = False
    world.wish(1, "13900000009")
    assert judge(world, "profiles")["profiles"].total == 0
    world.entries = [e for e in world.entries if e.judged or e.topic not in ("customers.profiles",)]
    assert judge(world, "profiles")["profiles"].total == 0
    newest = last(world, "customers.profiles")
    world.entries = [e for e in world.entries if e.event is not newest]
    assert judge(world, "profiles")["profiles"].total == 1
    behind = judge(world, "profiles", reached=frozenset())["profiles"]
    assert (behind.open, behind.total) == (1, 0)


def test_windows_that_are_not_closed_are_open() -> None:
    world = World()
    world.whole_call()
    result = judge(world, "windows")["windows"]
    assert (result.looked_at, result.open, result.total) == (2, 2, 0)


def test_a_turn_behind_the_cut_may_be_in_a_window_or_not() -> None:
    world = World()
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    world.answer(answered)
    first = world.final("foreign-1")
    world.turn(first)
    world.windows()
    world.judged = False
    at_ms = next(e.event.occurred_at for e in world.entries if isinstance(e.event, Turn)
                 and e.event.input_kind == "final")  # fmt: skip
    second = world.final("foreign-1", n=2)
    world.turn(second, occurred_at=at_ms)
    assert judge(world, "windows")["windows"].total == 0
    world.windows()
    assert judge(world, "windows")["windows"].total == 0


def test_a_dead_letter_tells_of_an_unreadable_record() -> None:
    world = World()
    world.raw("outreach.messages", b"not avro")
    world.dead_letter("outreach.messages", 0, "first byte is 110, not 0; call 13800000001")
    result = judge(world, "dead_letters", idle=True)["dead_letters"]
    assert (result.looked_at, result.total) == (1, 0)
    assert result.notes == ["1 of outreach.messages: first byte is …, not …; call …"]


def test_k4_a_source_whose_copy_would_be_too_large_is_told_of_and_no_violation() -> None:
    world = World()
    drop(world, "profiles.inbox", lambda e: e.kind == "request")
    wish = world.wish()
    source = next(e for e in world.entries if e.topic == "tasks.requested")
    assert judge(world, "routes")["routes"].total == 1
    where = partition_of(wish.customer_id or "", 8)
    assert source.partition == where
    world.dead_letter("tasks.requested", 0, f"{TOO_LARGE}: profiles.inbox: …", where)
    assert judge(world, "routes")["routes"].total == 0
