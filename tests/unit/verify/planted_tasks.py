"""Faults in tasks, routes, profiles, windows and dead letters."""

from collections.abc import Callable

from schemas import ids
from schemas.envelope import Event
from schemas.events import DispatchInbox, Profile
from tests.unit.verify.planting import OTHER, again, drop, last, plants
from tests.unit.verify.world import World

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
