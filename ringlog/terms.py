"""What a campaign asks of dispatch: who may be called when, by whom, and what follows from an end.

A campaign's version lies on `campaigns`; whoever reads it makes `Terms` of it. Terms are pure: they
know no clock, chance or network, so the same version gives the same answers for ever. Times are
milliseconds since 1970 UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ringlog.law.facts import Answers


@dataclass(frozen=True, slots=True)
class Callee:
    """Whom a task would call, as rules may look at them.

    `phone` is in E.164 form. `tags` are those of the request and of the profile, sorted.
    `attributes` are the profile's, such as `zone` (an IANA name). `task_id` is empty where there is
    no task yet.
    """

    phone: str
    tenant_id: str = ""
    customer_id: str = ""
    level: str = "normal"
    tags: tuple[str, ...] = ()
    purchase_intent: float = 0.0
    attributes: Mapping[str, str] = field(default_factory=dict)
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted for rules that are not about the callee's number: when each caller id
    dialled lately, oldest first, and the campaign's answered calls by day."""

    caller_dials: Mapping[str, Sequence[int]] = field(default_factory=dict)
    answers: Sequence[Answers] = ()


NO_COUNTS = Counts()


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether and when somebody may be called.

    `at_ms` is the earliest time: in the past or now, the call may be placed; None: never. `rule`
    names the rule that forbids it now, `reason` says why in words; both are empty if none does.
    """

    at_ms: int | None
    rule: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a task demands of its robot, beyond what its request does.

    `skills` are levels that the robot must have. `best` names the skills in which it should be
    as good as can be, by the sum of its levels; empty for an ordinary customer, who gets the robot
    that wastes least. For a better robot that will soon be free the task waits `wait_ms` at most.
    `rise` is added to the score of its priority.
    """

    skills: Mapping[str, int] = field(default_factory=dict)
    best: tuple[str, ...] = ()
    wait_ms: int = 0
    rise: float = 0.0


@dataclass(frozen=True, slots=True)
class CallSetup:
    """How a task's calls are placed and led.

    `caller_id` is the number that the customer sees, E.164; None: the trunk's. `variant` names the
    wordings that the robot says, where a prompt has some of that name; None: it draws.
    `asr_profile` is the recogniser; empty: the robot's.
    """

    caller_id: str | None = None
    variant: str | None = None
    asr_profile: str = ""


@dataclass(frozen=True, slots=True)
class People:
    """The people of one pool to whom a campaign's calls are handed over.

    Without `adaptive` one call is on its way for each of them who is free. With it there may be
    more, while customers who find all of them busy are at most the share `most` of the answered
    calls within `within_ms`, counted as `least` calls where there were fewer.
    """

    count: int
    adaptive: bool = False
    most: float = 0.0
    within_ms: int = 0
    least: int = 1


class Terms(Protocol):
    """One version of a campaign, or what holds for tasks without one."""

    @property
    def version(self) -> str:
        """Names the version; part of what is recorded with a decision."""

    @property
    def running(self) -> bool:
        """Whether it calls now; tasks of a paused campaign wait."""

    @property
    def concurrency(self) -> int | None:
        """Calls of the campaign in one pool at once, at most; None: no limit."""

    @property
    def calls_per_s(self) -> float | None:
        """Permits of the campaign in one pool a second, at most; None: no limit."""

    @property
    def people(self) -> People | None:
        """Who takes the calls that robots hand over; None: nobody whom dispatch looks after."""

    def permission(
        self, callee: Callee, dials: Sequence[int], now_ms: int, counts: Counts = NO_COUNTS
    ) -> Permission:
        """Whether the callee may be called now, by law and campaign: hours, holidays, caps.

        `dials` are the times at which their number was dialled lately, by any campaign of any
        pool, oldest first. Opt-outs and "one call at a time" are dispatch's own.
        """

    def setup(self, task_id: str) -> CallSetup:
        """How the calls of a task are placed: the same for all of them under one version."""

    def demand(self, callee: Callee, skills: Mapping[str, int]) -> Demand:
        """What the callee's tags, level and intention ask for; `skills` are the request's."""

    def retry_at(self, disposition: str, dials: int, now_ms: int) -> int | None:
        """When a task is tried again whose call ended so after that many dials; None: not again.

        Asked only for dispositions after which a task may be tried again
        (`ringlog.dispositions.RETRIED`). Where no telephone rang (`NOT_DIALLED`) `dials` counts
        the task's tries, this one too, and uses up nothing.
        """
