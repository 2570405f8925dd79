"""The cut on a broker of lists: two ends, and stages in between."""

from collections.abc import Iterable

from asr_worker.host import GROUP as ASR
from schemas.catalogue import TOPICS
from streams.analytics.statements import GROUP as ANALYTICS
from streams.dispatch.host import APP_ID as DISPATCH
from streams.history.sink import GROUP as HISTORY
from streams.profiles.host import APP_ID as PROFILES
from verify.cut import Cut, Ends, take_cut


class Log:
    """Groups that work so many records of a topic whenever they are asked how far they are."""

    def __init__(self, **speeds: int) -> None:
        self.speeds = {
            PROFILES: speeds.get("profiles", 0), DISPATCH: speeds.get("dispatch", 0),
            HISTORY: speeds.get("history", 0), ANALYTICS: speeds.get("analytics", 0),
            ASR: speeds.get("asr", 0),
        }  # fmt: skip
        self.end: Ends = {(t.name, p): 0 for t in TOPICS.values() for p in range(t.partitions)}
        self.done: dict[tuple[str, str], int] = {}
        self.asked: list[str] = []
        self.markers: set[int] = set()
        self.now = 0.0

    def begins(self) -> Ends:
        return dict.fromkeys(self.end, 0)

    def ends(self) -> Ends:
        self.asked.append("ends")
        return dict(self.end)

    def committed(self, group: str, topics: Iterable[str]) -> Ends:
        self.asked.append(group)
        out: Ends = {}
        for place, end in self.end.items():
            if place[0] not in topics:
                continue
            key = f"{group}/{place[0]}", str(place[1])
            done = min(end, self.done.get(key, 0) + self.speeds[group])
            grown = done - self.done.get(key, 0)
            self.done[key] = done
            if group == PROFILES and place[0] == "tasks.requested":
                self.end["profiles.inbox", 0] += grown  # the router's copies
            elif group == PROFILES and place[0] == "profiles.inbox":
                self.end["dispatch.inbox", 0] += grown
            out[place] = done
        return out

    def holds_records(self, place: tuple[str, int], begin: int, end: int) -> bool:
        return any(n not in self.markers for n in range(begin, end))

    def sleep(self, seconds: float) -> None:
        self.now += seconds


EVERYTHING = frozenset({"routes", "profiles", "dispatch", "history", "analytics"})


def cut_of(log: Log, settle_s: float = 10.0, wanted: Iterable[str] = EVERYTHING) -> Cut:
    return take_cut(log, settle_s, wanted, clock=lambda: log.now, sleep=log.sleep)


def test_on_an_idle_system_everything_is_reached_at_once() -> None:
    log = Log()
    cut = cut_of(log)
    assert cut.reached == EVERYTHING
    assert cut.judged == cut.ends == cut.kept
    assert (log.now, cut.behind) == (0.0, {})


def test_what_the_stages_write_is_evidence_and_not_judged() -> None:
    log = Log(profiles=2, dispatch=2, history=9, analytics=9)
    log.end["tasks.requested", 3] = 4
    cut = cut_of(log)
    assert cut.reached == EVERYTHING
    assert cut.judged["tasks.requested", 3] == cut.ends["tasks.requested", 3] == 4
    assert (cut.judged["dispatch.inbox", 0], cut.ends["dispatch.inbox", 0]) == (0, 4)
    assert log.now > 0


def test_the_second_ends_are_asked_behind_every_commit() -> None:
    log = Log(profiles=1, dispatch=1, history=1, analytics=1)
    log.end["tasks.requested", 0] = 3
    cut_of(log)
    assert log.asked[0] == "ends"
    assert log.asked[-1] == "ends"
    assert log.asked.count("ends") >= 2


def test_a_part_that_does_not_move_is_told_with_what_it_owes() -> None:
    log = Log(profiles=9, dispatch=9, analytics=9)
    log.end["calls.events", 2] = 7
    cut = cut_of(log, settle_s=3.0)
    assert cut.reached == EVERYTHING - {"history"}
    assert cut.behind == {"history": 7}
    assert cut.kept["calls.events", 2] == 0
    assert cut.context(idle=False).kept["calls.events", 2] == 0
    assert cut.context(idle=True).kept["calls.events", 2] == 7
    assert not cut.context(idle=False).due("history")
    assert cut.context(idle=True).due("history")


def test_a_stage_behind_one_that_stands_is_not_reached() -> None:
    log = Log(dispatch=9, history=9, analytics=9)
    log.end["tasks.requested", 0] = 1
    cut = cut_of(log, settle_s=1.0)
    assert cut.reached == {"history", "analytics"}
    assert cut.behind == {"routes": 1}


def test_only_what_is_wanted_is_waited_for() -> None:
    log = Log()
    log.end["dispatch.inbox", 0] = 5
    cut = cut_of(log, wanted=("routes",))
    assert cut.reached == {"routes"}
    assert log.now == 0.0
    assert HISTORY not in log.asked
    assert cut.kept == cut.judged
    assert cut_of(Log(), wanted=()).reached == set()


def test_sound_that_was_not_listened_to_is_told() -> None:
    log = Log()
    log.end["media.audio", 1] = 3
    cut = cut_of(log, settle_s=1.0, wanted=("asr",))
    assert not cut.reached
    assert cut.behind == {"asr": 3}


def test_k3_a_marker_as_the_last_offset_is_not_waited_for() -> None:
    log = Log(profiles=9, dispatch=9, history=9, analytics=0)
    log.end["dialogue.turns", 2] = 1
    log.markers = {0}
    assert cut_of(log).reached == EVERYTHING
    assert log.now < 1.0
    log.end["dialogue.turns", 2] = 2
    assert "analytics" not in cut_of(log).reached
