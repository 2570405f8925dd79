"""Whether a number may be called now: opt-outs, one call at a time, and how often it was dialled.

All is keyed by the line, which is the hash of the number, or the number where there is no hash.
"""

from collections.abc import Iterable

from ringlog.terms import Counts
from schemas.donotcall import GLOBAL, extents
from schemas.events import Profile
from streams.dispatch.elsewhere import Elsewhere
from streams.dispatch.state import Index, OptOuts, Touched
from streams.dispatch.tallies import DialsOf, Tallies
from streams.dispatch.task import Task


class Dials:
    """When each line was dialled lately, newest last: as long and as often as the longest rule of
    the law counts (30 dials within 30 days)."""

    SPAN_MS = 31 * 86_400_000
    KEPT = 32

    def __init__(self, touched: Touched) -> None:
        self.order: dict[int, tuple[str, tuple[int, ...]]] = {}
        self.next_n = 0
        self._n_of: dict[str, int] = {}
        self._oldest = 0
        self._touched = touched

    def of(self, line: str, now_ms: int) -> tuple[int, ...]:
        """The times, oldest first."""
        n = self._n_of.get(line)
        if n is None:
            return ()
        return tuple(at for at in self.order[n][1] if at > now_ms - self.SPAN_MS)

    def add(self, line: str, at_ms: int, now_ms: int) -> None:
        """Counts a dial; a line moves to the page of its newest number."""
        times = tuple(sorted((*self.of(line, now_ms), at_ms)))[-self.KEPT :]
        before = self._n_of.pop(line, None)
        if before is not None:
            del self.order[before]
            self._touched.dialled(before)
        self._touched.dialled(self.next_n)
        self.restore(self.next_n, line, times)
        self.next_n += 1
        self._forget(now_ms)

    def restore(self, n: int, line: str, times: tuple[int, ...]) -> None:
        """Loads a snapshot's entry."""
        self.order[n] = (line, times)
        self._n_of[line] = n

    def row(self, n: int, now_ms: int) -> tuple[str, tuple[int, ...]] | None:
        """The entry of that number, unless it has expired."""
        found = self.order.get(n)
        return found if found and found[1][-1] > now_ms - self.SPAN_MS else None

    def _forget(self, now_ms: int) -> None:
        """Looks at a few of the oldest entries, so that those that expired go."""
        for n in range(self._oldest, min(self._oldest + 4, self.next_n)):
            found = self.order.get(n)
            if found is not None:
                if found[1][-1] > now_ms - self.SPAN_MS:
                    return
                del self.order[n], self._n_of[found[0]]
                self._touched.dialled(n)
            self._oldest = n + 1


class Eligibility:
    """What a pool knows of numbers."""

    def __init__(self, touched: Touched) -> None:
        self.optouts = OptOuts(touched)
        self.dials = Dials(touched)
        self.elsewhere = Elsewhere(touched)
        self.tallies = Tallies(touched)
        self._on_call: dict[str, str] = {}
        self._waiting = Index()

    def barred(
        self,
        hashes: tuple[str, ...],
        tenant_id: str,
        campaign_id: str | None,
        profile: Profile | None = None,
    ) -> bool:
        """By the list, or by what the customer said about any number, unless undone for this
        one."""
        if self.optouts.barred(hashes, tenant_id, campaign_id):
            return True
        if profile is None or not (profile.opted_out or profile.opted_out_in):
            return False
        said = profile.opted_out_in or [GLOBAL]
        return any(
            extent in said and self.optouts.says(hashes, extent) is None
            for extent in extents(tenant_id, campaign_id)
        )

    def task_barred(self, task: Task, profile: Profile | None = None) -> bool:
        """The same for a task, with a newer profile where there is one."""
        hashes = (task.phone_hash,) if task.phone_hash else ()
        return self.barred(hashes, task.tenant_id, task.campaign_id, profile)

    def on_call(self, task: Task, now_ms: int) -> bool:
        """Whether the task's number is on a call, of this pool or another."""
        return task.line in self._on_call or self.elsewhere.busy(task.line, now_ms)

    def wait(self, task: Task) -> None:
        """The task waits until the call of its number is over."""
        self._waiting.add(task.line, task.task_id)

    def take(self, task: Task) -> None:
        """The task calls its number from now on."""
        self.forget(task)
        self._on_call[task.line] = task.task_id

    def leave(self, task: Task) -> Iterable[str]:
        """The task calls its number no longer; gives the ids of those that waited for that."""
        if self._on_call.get(task.line) != task.task_id:
            return ()
        del self._on_call[task.line]
        return self.waited(task.line)

    def waited(self, line: str) -> Iterable[str]:
        """The ids of the tasks that waited for a call to the line to end; they wait no longer."""
        waiting = self._waiting.of(line)
        for task_id in waiting:
            self._waiting.discard(line, task_id)
        return waiting

    def counts(self, campaign_id: str | None, now_ms: int) -> Counts:
        """What was counted of caller ids and of a campaign, over all pools."""
        answers = self.tallies.answers_of(campaign_id or "", now_ms)
        return Counts(DialsOf(self.tallies, now_ms), answers)

    def forget(self, task: Task) -> None:
        """The task no longer waits for its number."""
        self._waiting.discard(task.line, task.task_id)
