"""One pool's dispatch: a deterministic fold over its inbox.

`Pool.step(input, timestamp_ms)` takes one record, changes the state and returns the resulting
events in order. It uses no clock and no chance: `timestamp_ms` is the record's Kafka timestamp, and
its running maximum is the pool's `now`. The same records give the same outputs with the same ids.
The cost of a step does not depend on how many tasks wait.

Who may be called is the campaign's and the number's matter (`campaigns`, `eligibility`), who calls
them is `matching`'s; what follows from an end is in `rules`.
"""

from collections.abc import Iterable

from streams.dispatch import inputs as i
from streams.dispatch import timers
from streams.dispatch.assignment import Assignment
from streams.dispatch.calls import call_changed, others_call_over, timer_fired
from streams.dispatch.campaigns import TermsOf, state_only
from streams.dispatch.decided import Decided
from streams.dispatch.facts import Output
from streams.dispatch.policy import Policy
from streams.dispatch.pool_state import PoolState
from streams.dispatch.requests import cancelled, opted_out, profile_changed, requested
from streams.dispatch.roster import Robot
from streams.dispatch.task import HOLDING, State, Task
from streams.dispatch.timers import Timer


class Pool(PoolState):
    """The state of one pool, and its fold."""

    def __init__(
        self,
        name: str,
        policy: Policy | None = None,
        decided: Decided | None = None,
        terms_of: TermsOf = state_only,
    ) -> None:
        super().__init__(name, policy, decided, terms_of)
        self.assignment = Assignment(self)

    def step(self, record: i.Input, timestamp_ms: int) -> list[Output]:
        """Processes one inbox record; returns (topic, event) pairs in the order to write them."""
        if timestamp_ms > self.now:
            self.assignment.catch_up()
            self.now = timestamp_ms
        for call in self.eligibility.elsewhere.given_up(self.now):
            others_call_over(self, call)
        out = self._work(record)
        self.assignment.assign(out)
        if (at := self.paces.to_wake(self.now)) is not None:
            self.timers.wake(self.name, at)
        return out

    def take_due(self, clock_ms: int) -> list[Timer]:
        """Timers that the host now has to append to the inbox, each once."""
        return self.timers.take_due(self.tasks, clock_ms)

    def restore(self, tasks: Iterable[Task], robots: Iterable[Robot]) -> None:
        """Loads a snapshot's tasks and robots; the other attributes are set before."""
        for robot in robots:
            self.robots_by_n[robot.n] = robot
            self.roster.put(robot)
        for task in tasks:
            self.book.put(task)
            self.timers.restore(task)
            self.matching.restore_held(task)
            if task.call_id is not None:
                self.eligibility.take(task)
            if task.state in HOLDING:
                self.matching.began(task)
                self.campaigns.began(task)
            elif task.state is State.QUEUED:
                self.matching.lines.add(task)
            elif task.state is State.LINE_BUSY:
                self.eligibility.wait(task)
        if self.tasks:
            self.timers.wake(self.name, self.now)

    def robot_by_n(self, n: int) -> Robot | None:
        """The robot of that order of arrival."""
        return self.robots_by_n.get(n)

    def _work(self, record: i.Input) -> list[Output]:
        match record:
            case i.Request():
                return requested(self, record)
            case i.CallChanged():
                self.assignment.follow_call(record.call.call_id or "")
                return call_changed(self, record)
            case i.CallsAlive():
                for call in record.call_ids:
                    task = self.book.of_call(call)
                    if task is not None:
                        self.renew(task)
                return []
            case i.TimerFired(name=timers.WAKE):
                self.paces.woke(record.due_ms)
            case i.TimerFired():
                return timer_fired(self, record)
            case i.Cancel():
                return cancelled(self, record)
            case i.OptedOut():
                return opted_out(self, record)
            case i.ProfileChanged():
                return profile_changed(self, record)
            case i.RobotChanged():
                self._robot_changed(record)
            case i.PlaybookChanged():
                if record.offset > self.playbooks.get(record.playbook, ("", -1))[1]:
                    self.playbooks[record.playbook] = (record.version, record.offset)
            case i.Liveness():
                self.matching.note(record)
            case i.CampaignChanged():
                if self.campaigns.take(record.campaign, record.offset):
                    self.reopen(record.campaign.campaign_id)
            case i.SettingsChanged():
                self.policy = record.policy
                self.campaigns.settings_changed(record.law)
                for group in self.matching.lines.left_out:
                    self.reopen(group)
        return []

    def _robot_changed(self, record: i.RobotChanged) -> None:
        status = record.robot
        robot_id = status.robot_id or ""
        robot = self.roster.robots.get(robot_id)
        if robot is None:
            robot = Robot(self.next_robot, robot_id, -1, "removed", 0, {}, [], "")
            self.robots_by_n[robot.n] = robot
            self.next_robot += 1
        elif record.offset <= robot.offset:
            return
        robot.offset = record.offset
        robot.state = status.state
        robot.slots = status.slots
        robot.skills = dict(status.skills)
        robot.playbooks = list(status.playbooks)
        robot.asr_profile = status.asr_profile
        self.roster.put(robot)
        self.touched.robot(robot.n)
