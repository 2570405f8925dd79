"""Who speaks, and which directives count: lists of records in, verdicts and actions out."""

import pytest

from schemas.events import Lease
from schemas.ids import root_id
from streams.robots.leadership import Barrier, Beat, Claim, Leadership, Release, Timing
from streams.robots.leases import LeaseState, evolve_lease
from streams.robots.records import barrier_record, lease_record

A, B = "robots-a.1.x", "robots-b.2.y"
SHARD = "robots/0"


def lease(kind: str, worker: str, epoch: int | None = None, **fields: object) -> Lease:
    return Lease.model_validate(
        {
            "event_id": root_id(kind, worker, str(epoch), str(fields)), "kind": kind,
            "occurred_at": 1, "producer": "test", "shard": SHARD, "worker": worker,
            "epoch": epoch, **fields,
        }
    )  # fmt: skip


def claim(worker: str, after: int) -> Lease:
    return lease("claim", worker, after=after)


def folded(*records: tuple[int, Lease]) -> tuple[LeaseState, list[str]]:
    state, verdicts = LeaseState(), list[str]()
    for offset, record in records:
        state, verdict = evolve_lease(state, offset, record)
        verdicts.append(verdict)
    return state, verdicts


def test_epoch_is_the_offset_of_the_winning_claim() -> None:
    state, verdicts = folded((40, claim(A, -1)), (41, lease("heartbeat", A, 40)))
    assert verdicts == ["claimed", "beat"]
    assert (state.epoch, state.worker, state.last) == (40, A, 41)


def test_of_two_claims_after_one_record_the_second_is_void() -> None:
    state, verdicts = folded((1, claim(A, -1)), (2, claim(B, -1)))
    assert verdicts == ["claimed", "void"]
    assert state.worker == A


def test_a_claim_that_did_not_see_the_last_heartbeat_is_void() -> None:
    _, verdicts = folded((1, claim(A, -1)), (2, lease("heartbeat", A, 1)), (3, claim(B, 1)))
    assert verdicts[-1] == "void"


def test_heartbeats_of_an_older_epoch_are_stale_and_of_a_higher_one_adopted() -> None:
    state, verdicts = folded(
        (1, claim(A, -1)), (5, claim(B, 1)), (6, lease("heartbeat", A, 1)),
        (7, lease("heartbeat", A, 99)),
    )  # fmt: skip
    assert verdicts == ["claimed", "claimed", "stale", "beat"]
    assert (state.epoch, state.worker) == (99, A)


def test_release_counts_only_from_the_current_worker() -> None:
    state, verdicts = folded((1, claim(A, -1)), (2, lease("release", B, 1)))
    assert (verdicts[-1], state.released) == ("stale", False)
    state, _ = folded((1, claim(A, -1)), (2, lease("release", A, 1)))
    assert state.released


@pytest.mark.parametrize(("reaped", "released"), [("robots-a.1", True), ("robots-a.11", False)])
def test_exited_ends_the_instance_that_was_reaped(reaped: str, released: bool) -> None:
    state, _ = folded((1, claim(A, -1)), (2, lease("exited", reaped)))
    assert state.released is released


class Leases:
    """A leases partition and workers that read it."""

    def __init__(self, *workers: Leadership) -> None:
        self.workers = workers
        self.log: list[Lease] = []
        self.barriers: list[tuple[str, int]] = []

    def write(self, leader: Leadership, actions: object, mono: float) -> None:
        assert isinstance(actions, list)
        for action in actions:
            if isinstance(action, Barrier):
                self.barriers.append((leader.worker, action.epoch))
            else:
                record = lease_record(action, SHARD, leader.worker, [0, 1], "robots-a", 1)
                self.append(record, mono)

    def append(self, record: Lease, mono: float) -> None:
        self.log.append(record)
        offset = len(self.log) - 1
        for leader in self.workers:
            self.write(leader, leader.on_lease(offset, record, mono), mono)

    def tick(self, leader: Leadership, mono: float, late: float = 0, ago: float = 0) -> None:
        self.write(leader, leader.tick(mono, late, ago), mono)

    def until(self, leader: Leadership, mono: float, end: float) -> float:
        while mono < end:
            mono = round(mono + 0.02, 3)
            self.tick(leader, mono)
        return mono


def leader(worker: str = A) -> Leadership:
    made = Leadership(SHARD, worker, [0, 1], Timing())
    made.booted(10.0)
    return made


def speaking(worker: str = A) -> tuple[Leadership, Leases, float]:
    made = leader(worker)
    log = Leases(made)
    mono = log.until(made, 10.0, 10.5)
    for partition in (0, 1):
        made.on_barrier(partition, made.epoch, worker)
    assert made.caught_up(made.epoch)
    return made, log, mono


def test_a_booting_worker_waits_for_two_heartbeats_and_then_claims() -> None:
    made = leader()
    log = Leases(made)
    log.until(made, 10.0, 10.38)
    assert log.log == []
    log.until(made, 10.38, 10.5)
    assert [r.kind for r in log.log[:2]] == ["claim", "heartbeat"]
    assert log.barriers == [(A, 0)]


def test_it_beats_at_once_raises_the_barrier_and_speaks_only_after_reading_it_back() -> None:
    made = leader()
    actions = made.tick(11.0, 0, 0)
    assert actions == [Claim(-1)]
    won = made.on_lease(3, claim(A, -1), 11.01)
    assert won == [Beat(3, 1), Barrier(3)]
    assert not made.may_speak(11.02)
    made.on_barrier(0, 3, A)
    made.on_barrier(1, 2, A)  # of another epoch
    made.on_barrier(1, 3, B)  # of another worker
    assert not made.caught_up(3)
    made.on_barrier(1, 3, A)
    assert not made.may_speak(11.03)
    assert not made.caught_up(2)
    assert made.caught_up(3)
    assert made.may_speak(11.03)


def test_a_speaker_beats_and_is_silent_when_its_beats_do_not_come_back() -> None:
    made, log, mono = speaking()
    end = log.until(made, mono, mono + 1)
    assert [r.kind for r in log.log[-4:]] == ["heartbeat"] * 4
    assert made.may_speak(end)
    assert not made.may_speak(end + 0.6 + 0.2)


def test_an_acknowledged_beat_is_no_proof_only_one_that_was_read_back() -> None:
    made, _, mono = speaking()
    made.tick(mono + 0.3, 0, 0)  # written, never read back
    made.tick(mono + 0.6, 0, 0)
    assert not made.may_speak(mono + 0.75)


def test_a_higher_epoch_silences_at_once() -> None:
    made, _, mono = speaking()
    assert made.may_speak(mono)
    made.on_lease(90, lease("heartbeat", B, 77), mono)
    assert made.role == "follow"
    assert not made.may_speak(mono)


def test_a_follower_claims_after_death_and_not_before() -> None:
    follower = leader(B)
    log = Leases(follower)
    log.append(claim(A, -1), 10.1)
    for n in range(1, 5):
        log.append(lease("heartbeat", A, 0, n=n), 10.1 + n / 5)
        log.until(follower, 10.1 + n / 5, 10.28 + n / 5)
    assert all(r.worker == A for r in log.log)
    log.until(follower, 11.0, 11.68)
    assert all(r.worker == A for r in log.log)
    log.until(follower, 11.68, 11.8)
    assert (log.log[5].kind, log.log[5].worker, log.log[5].after) == ("claim", B, 4)
    assert follower.role == "barrier"


@pytest.mark.parametrize(("late", "ago"), [(0.3, 0.0), (0.0, 0.5)])
def test_a_stalled_or_cut_off_follower_does_not_steal(late: float, ago: float) -> None:
    follower = leader(B)
    log = Leases(follower)
    log.append(claim(A, -1), 10.1)
    log.tick(follower, 12.0, late, ago)  # woke up late: it has read nothing meanwhile
    assert len(log.log) == 1
    log.append(lease("heartbeat", A, 0, n=9), 12.05)
    log.until(follower, 12.05, 12.6)
    assert len(log.log) == 2


@pytest.mark.parametrize("since_beat", [0.0, 0.1, 0.19, 0.24])
def test_a_broker_that_falls_silent_is_no_dead_speaker(since_beat: float) -> None:
    follower = Leadership(SHARD, B, [0, 1], Timing(death=0.5))
    follower.booted(10.0)
    log = Leases(follower)
    log.append(claim(A, -1), 10.1)
    log.append(lease("heartbeat", A, 0, n=1), 10.2)
    answered = 10.2 + since_beat  # the broker's last answer; the next heartbeat lies with it
    for n in range(100):
        mono = round(10.2 + n / 50, 3)
        log.tick(follower, mono, ago=max(0.0, mono - answered))
    assert len(log.log) == 2


@pytest.mark.parametrize("kind", ["release", "exited"])
def test_a_leaving_speaker_is_followed_without_waiting(kind: str) -> None:
    follower = leader(B)
    log = Leases(follower)
    log.append(claim(A, -1), 10.1)
    log.append(lease("heartbeat", A, 0, n=1), 10.2)
    log.append(lease(kind, A, 0), 10.25)
    log.tick(follower, 10.27)
    assert follower.role == "barrier"


def test_of_two_that_boot_together_one_speaks_and_the_other_follows() -> None:
    one, two = leader(A), leader(B)
    log = Leases()
    actions = [(w, a) for w in (one, two) for a in w.tick(10.5, 0, 0)]
    assert [a for _, a in actions] == [Claim(-1), Claim(-1)]
    log.workers = (one, two)
    for worker, action in actions:
        log.append(lease_record(action, SHARD, worker.worker, [0, 1], "t", 1), 10.5)
    assert (one.role, two.role) == ("barrier", "follow")
    assert one.epoch == two.epoch == 0


def test_stop_releases_only_what_was_held() -> None:
    made, _, mono = speaking()
    (release,) = made.stop()
    assert isinstance(release, Release)
    assert not made.may_speak(mono)
    assert leader(B).stop() == []


def test_records_have_derived_ids() -> None:
    beat = lease_record(Beat(3, 1), SHARD, A, [0], "robots-a", 1)
    assert beat.event_id == lease_record(Beat(3, 1), SHARD, A, [0], "robots-a", 2).event_id
    assert beat.event_id != lease_record(Beat(3, 2), SHARD, A, [0], "robots-a", 1).event_id
    one, two = (barrier_record(SHARD, A, 3, p, "robots-a", 1) for p in (0, 1))
    assert one.event_id != two.event_id
    assert (one.kind, one.epoch, one.worker, one.call_id) == ("takeover", 3, A, "takeover")
    with pytest.raises(ValueError, match="no lease"):
        lease_record(Barrier(1), SHARD, A, [0], "robots-a", 1)
