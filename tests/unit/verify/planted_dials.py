"""Faults in dials: permits, tries, the do-not-call list, numbers."""

from ingest.trunks.plan import SitePlan
from ingest.trunks.published import PublishedPlan, changes
from tests.unit.verify.planting import OTHER, again, last, plants
from tests.unit.verify.world import PHONE, World

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
