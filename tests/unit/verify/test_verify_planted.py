"""Every kind of violation, planted: it is found, and nothing else is."""

import re
from collections.abc import Callable

import pytest

from ingest.trunks.plan import SitePlan
from ingest.trunks.published import PublishedPlan, changes
from ringlog.kafka.dead_letters import TOO_LARGE
from ringlog.settings import root
from schemas import ids
from schemas.envelope import Event
from schemas.events import CallEvent, DispatchInbox, Profile, Turn
from schemas.partition import partition_of
from streams.robots.shard import LONGEST_CALL_MS
from tests.unit.verify.test_verify_good import WITHOUT_TABLES
from tests.unit.verify.world import EVERYTHING, KEY, PHONE, World, judge

Plant = Callable[[World], None]
CASES: list[tuple[Plant, set[str]]] = []


def plants(*rules: str) -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        CASES.append((plant, set(rules)))
        return plant

    return note


def drop(world: World, topic: str, which: Callable[[Event], bool]) -> None:
    world.drops = lambda name, event: name == topic and which(event)


def last(world: World, topic: str, kind: str | None = None) -> Event:
    events = [e.event for e in world.entries if e.topic == topic and e.event is not None]
    return [e for e in events if kind in (None, e.kind)][-1]


def again(world: World, topic: str, event: Event, **changed: object) -> None:
    world.write(topic, event.model_copy(update=changed))


OTHER = ids.root_id("another")


# ids


@plants("ids.differs")
def a_task_event_says_something_else_under_its_id(world: World) -> None:
    world.whole_call()
    again(world, "tasks.events", last(world, "tasks.events"), reason="failed")


@plants("ids.differs")
def a_final_is_recognised_differently_on_replay(world: World) -> None:
    world.whole_call()
    again(world, "asr.transcripts", last(world, "asr.transcripts"), text="不要")


@plants("ids.misplaced")
def a_task_event_lies_on_a_partition_of_another_key(world: World) -> None:
    world.whole_call()
    entry = next(e for e in world.entries if e.topic == "tasks.events")
    entry.partition = (entry.partition + 1) % 8


# calls


@plants("calls.no_end", "tasks.not_ended")
def a_call_is_never_ended_and_a_task_misses_its_end(world: World) -> None:
    drop(world, "calls.events", lambda e: e.kind == "ended")
    world.whole_call()
    world.drops = lambda topic, event: False
    wish = world.wish(2, "13800000002")
    world.task(wish, "queued")
    permit = world.assigned(wish)
    world.dial(permit)
    who = {"task_id": wish.task_id, "pool": "sales", "disposition": "failed"}
    world.call_event(permit.call_id or "", "ended", **who)


@plants("calls.ended_twice")
def a_call_ends_under_two_ids(world: World) -> None:
    call_id = world.whole_call()
    event = last(world, "calls.events", "ended")
    copy = event.model_copy(update={"event_id": OTHER, "pool": None, "customer_id": None})
    assert copy.call_id == call_id
    world.write("calls.events", copy)


@plants("calls.spoke_after_end")
def a_robot_speaks_after_the_hang_up(world: World) -> None:
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    say = world.directive(answered)
    world.turn(answered, [say])
    world.write("dialogue.directives", say)
    world.call_event("foreign-1", "ended")
    world.now += 3_000
    world.play(say)


@plants("calls.dialled_after_end")
def a_call_is_dialled_after_its_end(world: World) -> None:
    wish = world.wish()
    world.task(wish, "queued")
    permit = world.assigned(wish)
    who = {"task_id": wish.task_id, "pool": "sales"}
    world.call_event(permit.call_id or "", "ended", **who)
    world.dial(permit)
    world.task(wish, "failed")


# directives and turns


@plants("directives.played_stale", "turns.no_directive")
def the_edge_plays_what_a_silenced_speaker_wrote(world: World) -> None:
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    world.answer(answered, epoch=9)
    final = world.final("foreign-1")
    (old,) = (world.directive(final, epoch=3),)
    world.turn(final, [old], epoch=3)
    world.write("dialogue.directives", old)
    world.play(old)
    world.now += 60_000
    world.call_event("foreign-1", "ended")


@plants("directives.played_unknown")
def the_edge_plays_what_nobody_asked_for(world: World) -> None:
    world.whole_call()
    world.play(world.directive(world.final("foreign-1")))
    world.call_event("foreign-1", "ended", direction="foreign")
    world.turn(last(world, "asr.transcripts"))


@plants("directives.played_wrong")
def the_edge_plays_another_calls_directive(world: World) -> None:
    world.whole_call()
    say = last(world, "dialogue.directives", "say")
    world.call_event("foreign-1", "playout_started", directive_id=getattr(say, "directive_id", ""))
    world.call_event("foreign-1", "ended", direction="foreign")


@plants("directives.played_twice")
def a_directive_is_played_under_two_ids(world: World) -> None:
    world.whole_call()
    started = last(world, "calls.events", "playout_started")
    index = next(i for i, e in enumerate(world.entries) if e.event is started)
    entry = world.entries[index]
    copy = started.model_copy(update={"event_id": OTHER})
    world.entries.insert(index + 1, type(entry)(**{**vars(entry), "event": copy}))


@plants("directives.overlap")
def two_prompts_sound_at_once(world: World) -> None:
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    says = [world.directive(answered, "say", n) for n in range(2)]
    world.turn(answered, says)
    for say in says:
        world.write("dialogue.directives", say)
    world.playout(says[0], "playout_started", 5_000)
    world.now += 1_000
    world.play(says[1])
    world.call_event("foreign-1", "ended")


@plants("directives.second_answer")
def an_input_is_answered_twice_in_two_epochs(world: World) -> None:
    call_id = world.whole_call()
    assert call_id
    final = last(world, "asr.transcripts", "final")
    world.write("dialogue.directives", world.directive(final, "say", 7, epoch=20))


@plants("directives.without_turn", "turns.no_turn", "windows.invented")
def a_turn_is_lost(world: World) -> None:
    drop(world, "dialogue.turns", lambda e: getattr(e, "text", "") == "谢谢")
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    world.answer(answered)
    world.answer(world.final("foreign-1", "谢谢"))
    world.call_event("foreign-1", "ended")
    # Flink had counted it.
    world.drops = lambda topic, event: False
    ghost = World(now=world.now)
    ghost.turn(ghost.final("foreign-1", "谢谢"))
    ghost.windows()
    for entry in ghost.entries:
        if entry.topic == "analytics.intent_windows":
            world.entries.append(entry)


@plants("turns.two_turns", "directives.second_answer")
def an_input_has_turns_of_two_ids(world: World) -> None:
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    world.answer(answered)
    other = world.directive(answered, "say", 5)
    world.turn(answered, [other], event_id=OTHER)
    world.write("dialogue.directives", other)
    world.call_event("foreign-1", "ended")


@plants("turns.no_directive")
def a_directive_that_a_turn_names_was_never_written(world: World) -> None:
    drop(world, "dialogue.directives", lambda e: e.kind == "transfer")
    answered = world.call_event("foreign-1", "answered", direction="foreign")
    world.answer(answered, "say", "transfer")
    world.now += 30_000
    world.call_event("foreign-1", "ended")


@plants("turns.no_input")
def a_turn_answers_a_final_that_is_not_there(world: World) -> None:
    drop(world, "asr.transcripts", lambda e: True)
    world.turn(world.final("foreign-1"))


# permits and opt-outs


@plants("permits.no_permit")
def a_call_is_dialled_without_a_permit(world: World) -> None:
    world.whole_call()
    world.call_event(
        "call-9", "dialing", direction="outbound", phone=PHONE, optout_offset=0, attempt=1
    )
    world.call_event("call-9", "ended")


@plants("permits.permit_over")
def a_call_is_dialled_too_late(world: World) -> None:
    wish = world.wish()
    world.task(wish, "queued")
    permit = world.assigned(wish)
    world.now += 16_000
    world.dial(permit)
    world.task(wish, "dialing")
    world.call_event(permit.call_id or "", "ended", pool="sales")
    world.task(wish, "failed")


@plants("permits.other_edge", "permits.other_number")
def another_edge_dials_another_number(world: World) -> None:
    wish = world.wish()
    world.task(wish, "queued")
    permit = world.assigned(wish)
    world.dial(permit, edge_id="edge-2", phone="13900000000")
    world.task(wish, "dialing")
    world.call_event(permit.call_id or "", "ended", pool="sales")
    world.task(wish, "failed")


@plants("permits.dialled_twice")
def a_call_is_dialled_twice(world: World) -> None:
    wish = world.wish()
    world.task(wish, "queued")
    permit = world.assigned(wish)
    world.dial(permit)
    world.dial(permit)
    world.task(wish, "dialing")
    world.call_event(permit.call_id or "", "ended", pool="sales")
    world.task(wish, "failed")


@plants("permits.attempt_twice", "permits.no_permit")
def an_attempt_is_dialled_as_two_calls(world: World) -> None:
    world.whole_call()
    dialing = last(world, "calls.events", "dialing")
    again(world, "calls.events", dialing, event_id=OTHER, call_id="call-9")
    world.call_event("call-9", "ended", pool="sales")


@plants("permits.assigned_twice", "tasks.order")
def a_call_has_two_permits(world: World) -> None:
    wish = world.wish()
    world.task(wish, "queued")
    permit = world.assigned(wish)
    again(world, "tasks.events", permit, event_id=OTHER)
    world.dial(permit)
    world.task(wish, "dialing")
    world.call_event(permit.call_id or "", "ended", pool="sales")
    world.task(wish, "failed")


# tries


def tried(world: World, n: int, trunk: str, call: str = "call-5") -> None:
    world.call_event(call, "tried", try_no=n, trunk=trunk, task_id="task-5")


def refused(world: World, n: int) -> None:
    world.call_event("call-5", "refused", try_no=n, cause_q850=38, task_id="task-5")


@plants("tries.at_once")
def a_contact_is_dialled_over_two_trunks_at_once(world: World) -> None:
    tried(world, 1, "a")
    tried(world, 2, "b")
    world.call_event("call-5", "ended")


@plants("tries.after_word")
def a_contact_is_dialled_again_though_it_rings(world: World) -> None:
    tried(world, 1, "a")
    world.call_event("call-5", "ringing")
    refused(world, 1)
    world.now += 5_000
    tried(world, 2, "b")
    world.call_event("call-5", "ended")


@plants("tries.same_trunk", "tries.order")
def a_trunk_is_tried_twice(world: World) -> None:
    tried(world, 1, "a")
    refused(world, 1)
    tried(world, 1, "a")
    world.call_event("call-5", "ended")


@plants("tries.over_budget")
def a_contact_is_tried_too_often(world: World) -> None:
    plan = SitePlan.model_validate({"switches": {}, "trunks": {}, "routing": {"tries": 2}})
    for setting in changes(PublishedPlan(), plan, "default", world.now):
        world.write("trunks", setting)
    for n in range(3):
        tried(world, 1, "a", f"call-{n}")
        world.call_event(f"call-{n}", "ended")
        world.now += 60_000


@plants("optouts.opted_out")
def a_number_on_the_list_is_dialled(world: World) -> None:
    world.opt_out("13800000007")
    world.whole_call(7)


@plants("optouts.opted_out")
def a_line_is_dialled_by_another_spelling(world: World) -> None:
    """Number row: +86 138…, 0086138…, full-width digits and 138… are one line."""
    world.opt_out("+86 138-0000 0007")
    world.whole_call(7)


@plants("optouts.list_not_read")
def a_dial_does_not_tell_what_it_has_read(world: World) -> None:
    wish = world.wish()
    world.task(wish, "queued")
    permit = world.assigned(wish)
    world.dial(permit, optout_offset=None)
    world.task(wish, "dialing")
    world.call_event(permit.call_id or "", "ended", pool="sales")
    world.task(wish, "failed")


@plants("numbers.two_calls")
def a_number_is_called_while_it_is_in_a_call(world: World) -> None:
    """The second task writes the same line in another way."""
    dialled = []
    for n, phone in enumerate(("13800000007", "+86 138-0000 0007"), 1):
        wish = world.wish(n, phone)
        world.task(wish, "queued")
        permit = world.assigned(wish)
        world.dial(permit)
        world.task(wish, "dialing")
        dialled.append((wish, permit.call_id or ""))
    for wish, call_id in dialled:
        world.call_event(call_id, "ended", pool="sales", task_id=wish.task_id)
        world.task(wish, "failed")


# tasks, routes, profiles


@plants("tasks.undecided")
def a_wish_is_forgotten(world: World) -> None:
    world.wish()


@plants("tasks.unasked")
def a_task_comes_from_nowhere(world: World) -> None:
    drop(world, "tasks.requested", lambda e: True)
    world.task(world.wish(), "refused")


@plants("tasks.two_ends")
def a_task_ends_twice(world: World) -> None:
    world.whole_call()
    again(world, "tasks.events", last(world, "tasks.events"), event_id=OTHER, kind="failed")


@plants("tasks.order")
def a_task_that_is_over_goes_on(world: World) -> None:
    world.whole_call()
    again(world, "tasks.events", last(world, "tasks.events"), event_id=OTHER, kind="queued")
    again(world, "tasks.events", last(world, "tasks.events"), event_id=ids.root_id("z"),
          kind="failed")  # fmt: skip


@plants("tasks.not_ended")
def dispatch_does_not_hear_of_an_end(world: World) -> None:
    drop(world, "tasks.events", lambda e: e.kind == "completed")
    world.whole_call()


@plants("tasks.permit_forgotten")
def a_permit_is_forgotten(world: World) -> None:
    wish = world.wish()
    world.task(wish, "queued")
    world.assigned(wish)


@plants("tasks.call_id")
def a_call_has_the_id_of_another_attempt(world: World) -> None:
    wish = world.wish()
    world.task(wish, "queued")
    world.assigned(wish, call_id=ids.call_id(wish.task_id or "", 4))
    world.task(wish, "failed")


@plants("routes.no_copy")
def an_end_does_not_reach_its_pool(world: World) -> None:
    drop(world, "dispatch.inbox", lambda e: e.kind == "call")
    wish = world.wish()
    world.task(wish, "queued")
    world.dial(world.assigned(wish), customer_id=None)
    world.drops = lambda topic, event: False
    world.call_event(ids.call_id(wish.task_id or "", 1), "ended", pool="sales")
    world.task(wish, "failed")


@plants("routes.no_copy", "profiles.of_nobody")
def a_change_does_not_reach_its_customers_inbox(world: World) -> None:
    drop(world, "profiles.inbox", lambda e: e.kind == "change")
    world.whole_call()
    world.drops = lambda topic, event: False
    profile = last(world, "customers.profiles")
    again(world, "customers.profiles", profile, event_id=OTHER, customer_id="nobody")


@plants("routes.no_source")
def an_inbox_holds_what_nobody_said(world: World) -> None:
    world.whole_call()
    copy = next(
        e.event
        for e in reversed(world.entries)
        if isinstance(e.event, DispatchInbox) and e.event.kind == "call"
    )
    again(world, "dispatch.inbox", copy, event_id=OTHER, causation_id=ids.root_id("nothing"))


@plants("profiles.differs")
def a_profile_is_not_what_the_log_says(world: World) -> None:
    world.whole_call()
    profile = last(world, "customers.profiles")
    assert isinstance(profile, Profile)
    again(world, "customers.profiles", profile, event_id=OTHER, version=profile.version + 1)


@plants("profiles.no_profile")
def a_customer_has_no_profile(world: World) -> None:
    drop(world, "customers.profiles", lambda e: e.customer_id == "customer-2")
    world.whole_call(1)
    world.whole_call(2)


# windows and dead letters


def _windowed(world: World, change: Callable[[Event], Event | None]) -> None:
    world.whole_call()
    world.windows()
    for n, entry in reversed(list(enumerate(world.entries))):
        if entry.topic == "analytics.intent_windows" and entry.event is not None:
            entry.event = change(entry.event)
            if entry.event is None:
                del world.entries[n]


@plants("windows.miscounted")
def a_window_counts_a_turn_twice(world: World) -> None:
    _windowed(world, lambda e: e.model_copy(update={"count": e.count + 1}))  # type: ignore[attr-defined] # all are windows


@plants("windows.no_window")
def a_window_is_missing(world: World) -> None:
    _windowed(world, lambda e: None)


@plants("dead_letters.our_fault")
def an_input_was_not_decided(world: World) -> None:
    world.dead_letter("asr.transcripts", 3, "not decided: KeyError: 'x'")


@plants("dead_letters.untold")
def an_unreadable_record_vanished(world: World) -> None:
    world.raw("outreach.messages", b"not avro")


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
        rules |= {f"{path.stem}.{r}" for r in re.findall(r"\.violate\(\s*\"(\w+)\"", text)}
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
