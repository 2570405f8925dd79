"""The state of one pool, and the steps of a task that several rules take."""

from collections.abc import Callable

from ringlog.terms import Terms
from streams.dispatch.book import Book
from streams.dispatch.campaigns import PoolCampaigns, TermsOf, state_only
from streams.dispatch.decided import Decided, Verdict
from streams.dispatch.eligibility import Eligibility
from streams.dispatch.facts import Output, task_event
from streams.dispatch.hindsight import Hindsight
from streams.dispatch.matching import Matching
from streams.dispatch.pace import Paces
from streams.dispatch.policy import Policy
from streams.dispatch.roster import Robot
from streams.dispatch.state import Recent, Touched
from streams.dispatch.task import HOLDING, State, Task
from streams.dispatch.timers import Timers


class PoolState:
    """One pool's tasks, robots, campaigns and numbers.

    Attributes are for the rules, the snapshot and tests to read. With `decided` the pool is
    rebuilt: it takes every decision from there and makes none itself, whatever today's rules are.
    """

    def __init__(
        self,
        name: str,
        policy: Policy | None = None,
        decided: Decided | None = None,
        terms_of: TermsOf = state_only,
    ) -> None:
        self.name = name
        self.policy = policy or Policy()
        self.hindsight = None if decided is None else Hindsight(decided)
        self.now = 0
        self.next_robot = 0
        self.assignments = 0
        self.touched = Touched()
        self.book = Book()
        self.tasks = self.book.tasks
        self.by_seq = self.book.by_seq
        self.campaigns = PoolCampaigns(self.touched, terms_of)
        self.eligibility = Eligibility(self.touched)
        self.optouts = self.eligibility.optouts
        self.matching = Matching(self.by_seq)
        self.roster = self.matching.roster
        self.timers = Timers()
        self.paces = Paces()
        self.playbooks: dict[str, tuple[str | None, int]] = {}
        self.recent = Recent(self.touched.recent)
        self.robots_by_n: dict[int, Robot] = {}

    def say(self, task: Task, kind: str, cause: str | None = None, **fields: object) -> Output:
        """An event of the task."""
        self.touch(task)
        output = task_event(task, self.name, kind, self.now, cause, **fields)
        if self.hindsight is not None:
            self.hindsight.expect(task)
        return output

    def verdict(self, cause: str, ours: Callable[[], Verdict], *kinds: str) -> Verdict | None:
        """The recorded decision that a record led to; without one, our own."""
        return ours() if self.hindsight is None else self.hindsight.decided.of(cause, *kinds)

    def over(self, task: Task, kind: str, reason: str, cause: str | None = None) -> Output:
        """The task's last event. The task is forgotten; its id is kept for a while."""
        output = self.say(task, kind, cause, reason=reason)
        self.turn_over(task)
        self.number_free(task)
        self.book.drop(task)
        self.eligibility.forget(task)
        self.recent.add(task.task_id)
        return output

    def queue(self, task: Task) -> None:
        """The task waits in its line for a robot."""
        task.state = State.QUEUED
        self.matching.lines.add(task)
        self.touch(task)

    def turn_over(self, task: Task) -> None:
        """The task does not wait for a better robot."""
        task.timers.pop("specialist", None)
        self.matching.unhold(task)
        task.turn = False

    def next_attempt(self, task: Task, state: State) -> None:
        """The task's call is over; another one is to follow."""
        self.number_free(task)
        self.book.unbind(task)
        task.state, task.attempt = state, task.attempt + 1
        task.call_id = task.robot_id = task.edge_id = None

    def number_free(self, task: Task) -> None:
        """The task's number is on its call no longer."""
        for waiting in self.eligibility.leave(task):
            self.queue(self.tasks[waiting])

    def line_free(self, line: str) -> None:
        """Another pool's call of that number is over."""
        if not self.eligibility.elsewhere.busy(line, self.now):
            for waiting in self.eligibility.waited(line):
                self.queue(self.tasks[waiting])

    def reopen(self, group: str | None) -> None:
        """A campaign may begin calls again, perhaps."""
        if self.matching.lines.is_shut(group):
            self.matching.lines.open(group)

    def terms(self, campaign_id: str | None) -> Terms:
        """The terms of a task of that campaign."""
        return self.campaigns.terms(campaign_id, self.policy)

    def renew(self, task: Task) -> None:
        """The task's call has shown a sign of life."""
        if task.state in HOLDING:
            task.lease_until = max(task.lease_until, self.now + self.policy.lease_ms)
            self.touch(task)

    def touch(self, task: Task) -> None:
        """The next snapshot writes the task."""
        self.touched.task(task.seq)

    def release(self, task: Task, answered: bool = False) -> None:
        """Releases the slot that the task holds, if any; a person `answered` its call or not."""
        task.timers.pop("permit", None)
        task.timers.pop("lease", None)
        if task.state in HOLDING:
            robot = self.roster.robots.get(task.robot_id or "")
            if robot is not None and task.call_id in robot.calls:
                robot.calls.discard(task.call_id)
                self.roster.changed(robot)
                self.touched.robot(robot.n)
            self.matching.ended(task, self.now)
            terms = self.terms(task.campaign_id)
            self.campaigns.ended(task, terms, answered, self.now)
            self.reopen(task.campaign_id)
        self.touch(task)
