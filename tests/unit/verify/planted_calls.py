"""Faults in calls: ids, ends, prompts, turns."""

from tests.unit.verify.planting import OTHER, again, drop, last, plants
from tests.unit.verify.world import World

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
