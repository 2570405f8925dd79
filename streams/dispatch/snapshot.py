"""A pool's state as rows of text, of which each snapshot rewrites only the pages that changed.

A snapshot must take effect as a whole, and rows are written one by one. So every page has two
sides: a snapshot writes the side that does not count, and then the head, which says what counts and
the inbox offset that the state has reached. A crash before the head is written leaves the previous
snapshot whole. Which sides of pages count is in blocks of 512 pages, which have two sides, too; the
head names those of the blocks. So the cost depends on what changed, at any size.

Row values are base64 of zlib-compressed JSON.
"""

import base64
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import orjson

from ringlog.law.site import SiteLaw
from schemas.events import Campaign
from schemas.text import from_json, to_line
from streams.dispatch.campaigns import TermsOf, state_only
from streams.dispatch.elsewhere import OthersCall
from streams.dispatch.matching import ALL_PARTITIONS
from streams.dispatch.people import PeoplePace
from streams.dispatch.policy import Policy
from streams.dispatch.pool import Pool
from streams.dispatch.roster import Robot
from streams.dispatch.state import PAGE
from streams.dispatch.tallies import Tally
from streams.dispatch.task import Requirement, State, Task

VERSION = 5
"""Versions 1 to 4 are read, too. The heads of the first three name all pages. The first has
opt-outs without a scope; the first two know no campaigns and dials, and their tasks have fewer
fields; the first four know nothing of other pools' calls."""

READ = (1, 2, 3, 4, VERSION)
BLOCK = 512
"""Pages of one kind whose sides are in one block."""
KINDS = (
    "task", "robot", "optout", "recent", "dialled", "campaign", "elsewhere", "elsewhere_over",
    "tally",
)  # fmt: skip

_TASK_FIELDS = tuple(f.name for f in fields(Task))
_REQUIREMENT, _STATE, _TIMERS, _TAGS = map(
    _TASK_FIELDS.index, ("requirement", "state", "timers", "tags")
)
_ROBOT_FIELDS = tuple(f.name for f in fields(Robot))


class SnapshotError(Exception):
    """Rows that are not a snapshot of this version; the text says which."""


def head_key(pool: str) -> str:
    """Key of the row that makes a pool's snapshot count."""
    return f"head|{pool}"


def pool_of(key: str) -> str:
    """The pool that a row belongs to."""
    return key.split("|", 1)[1]


def is_head(key: str) -> bool:
    """Whether a key is a head's."""
    return key.startswith("head|")


class Snapshots:
    """Writes and reads one pool's snapshots. `offset` is the next inbox offset according to the
    newest one; `next_offset` belongs to the host, which counts on from there."""

    def __init__(self, pool: Pool, offset: int = 0) -> None:
        self.pool = pool
        self.offset = self.next_offset = offset
        self._sides: dict[tuple[str, int], int] = {}
        self._blocks: dict[tuple[str, int], int] = {}
        self._unnamed: set[tuple[str, int]] = set()
        """Blocks of an older version's snapshot, which the next one has to write."""
        self._garbage: list[str] = []

    @classmethod
    def load(
        cls, name: str, rows: Mapping[str, str], terms_of: TermsOf = state_only
    ) -> "Snapshots":
        """The pool of its newest whole snapshot, or an empty one; raises SnapshotError."""
        pool = Pool(name, terms_of=terms_of)
        text = rows.get(head_key(name))
        if text is None:
            return cls(pool)
        head = _unpack(text)
        if head.get("version") not in READ:
            raise SnapshotError(f"snapshot of pool {name} has version {head.get('version')}")
        if "policy" in head:
            pool.policy = Policy.model_validate(head["policy"])
        pool.campaigns.settings_changed(SiteLaw.model_validate(head.get("law", {})))
        self = cls(pool, head["offset"])
        self._read_sides(head, rows)
        pool.now, pool.book.next_seq = head["now"], head["next_seq"]
        pool.next_robot, matching = head["next_robot"], pool.matching
        pool.assignments, pool.recent.count = head["assignments"], head["recent"]
        pool.optouts.next_n = head["next_optout"]
        matching.fairness.credits = head["credits"]
        matching.mean_call_ms = head.get("mean_call_ms", matching.mean_call_ms)
        pool.paces.restore(head.get("begun", {}))
        pool.campaigns.people = {c: PeoplePace.of(row) for c, row in head.get("people", {}).items()}
        pool.eligibility.dials.next_n = head.get("next_dialled", 0)
        pool.eligibility.elsewhere.next_n = head.get("next_elsewhere", 0)
        pool.eligibility.elsewhere.oldest = head.get("oldest_elsewhere", 0)
        pool.eligibility.elsewhere.over.count = head.get("elsewhere_over", 0)
        pool.eligibility.tallies.next_n = head.get("next_tally", 0)
        pool.playbooks = {book: (v, at) for book, v, at in head["playbooks"]}
        for known, found in ((matching.up.edges, "edges"), (matching.up.workers, "workers")):
            known.update({n: (up, at, tuple(parts)) for n, up, at, parts in head[found]})
        matching.staffed = matching.up.covers(ALL_PARTITIONS)
        matching.up.capacity.update(head.get("capacity", {}))  # older heads have none
        tasks: list[Task] = []
        robots: list[Robot] = []
        shared = _Shared()
        for kind, page in self._sides:
            key = self._key(kind, page)
            if key not in rows:
                raise SnapshotError(f"snapshot of pool {name} lacks its row {key}")
            items = _unpack(rows[key])
            if kind == "task":
                tasks += (_task(item, shared) for item in items)
            elif kind == "robot":
                robots += map(_robot, items)
            elif kind == "optout":
                for n, value in items:
                    entry, barred = (value, True) if isinstance(value, str) else value
                    pool.optouts.put(entry, barred, n)
            elif kind == "dialled":
                for n, (line, times) in items:
                    pool.eligibility.dials.restore(n, line, tuple(times))
            elif kind == "elsewhere":
                for n, row in items:
                    pool.eligibility.elsewhere.restore(n, OthersCall(*row))
            elif kind == "elsewhere_over":
                for n, value in items:
                    pool.eligibility.elsewhere.over.restore(n, value)
            elif kind == "tally":
                for n, (what, of, begin, counts) in items:
                    counted = dict(counts)
                    pool.eligibility.tallies.restore(n, Tally(what, of, begin, counted))
            elif kind == "campaign":
                for n, (text, at) in items:
                    pool.campaigns.restore(n, _campaign(text), at)
            else:
                for n, value in items:
                    pool.recent.restore(n, value)
        pool.restore(tasks, robots)
        return self

    def _read_sides(self, head: Mapping[str, Any], rows: Mapping[str, str]) -> None:
        if "blocks" not in head:
            self._sides = {(kind, page): side for kind, page, side in head["pages"]}
            self._unnamed = {(kind, page // BLOCK) for kind, page in self._sides}
            return
        for kind, block, side in head["blocks"]:
            self._blocks[kind, block] = side
            key = self._name(f"sides-{kind}", block, side)
            if key not in rows:
                raise SnapshotError(f"snapshot of pool {self.pool.name} lacks its row {key}")
            for n, of_page in enumerate(_unpack(rows[key])):
                if of_page != ".":
                    self._sides[kind, block * BLOCK + n] = int(of_page)

    @property
    def unsaved(self) -> bool:
        """Whether the state differs from the newest snapshot."""
        return self.next_offset > self.offset or bool(self.pool.touched.pages)

    def pages(self) -> dict[str, str]:
        """Rows to write first. After them, `head()`; only then does the snapshot count."""
        rows, touched = {}, self.pool.touched.pages
        for kind, page in sorted(touched):
            items = list(self._items(kind, page))
            side = 1 - self._sides.get((kind, page), 1)
            if items:
                self._sides[kind, page] = side
                rows[self._key(kind, page)] = _pack(items)
            elif self._sides.pop((kind, page), None) is not None:
                self._garbage += [self._name(kind, page, s) for s in (0, 1)]
        blocks = {(kind, page // BLOCK) for kind, page in touched} | self._unnamed
        for kind, block in sorted(blocks):
            span = range(block * BLOCK, (block + 1) * BLOCK)
            sides = "".join(str(self._sides.get((kind, page), ".")) for page in span)
            side = 1 - self._blocks.get((kind, block), 1)
            if sides.strip("."):
                self._blocks[kind, block] = side
                rows[self._name(f"sides-{kind}", block, side)] = _pack(sides)
            elif self._blocks.pop((kind, block), None) is not None:
                self._garbage += [self._name(f"sides-{kind}", block, s) for s in (0, 1)]
        self._unnamed.clear()
        touched.clear()
        return rows

    def head(self, offset: int) -> tuple[str, str]:
        """The row that makes the pages written since count. `offset` is the next to work."""
        self.offset = offset
        head = {
            "version": VERSION,
            "offset": offset,
            **self._small(),
            "blocks": [[kind, block, side] for (kind, block), side in self._blocks.items()],
        }
        return head_key(self.pool.name), _pack(head)

    def _small(self) -> dict[str, Any]:
        """The part of the state that the head itself holds."""
        pool, matching = self.pool, self.pool.matching
        presence = ((matching.up.edges, "edges"), (matching.up.workers, "workers"))
        return {
            "now": pool.now,
            "policy": pool.policy.model_dump(mode="json"),
            "law": pool.campaigns.law.model_dump(mode="json"),
            "next_seq": pool.book.next_seq,
            "next_robot": pool.next_robot,
            "next_optout": pool.optouts.next_n,
            "assignments": pool.assignments,
            "recent": pool.recent.count,
            "credits": matching.fairness.credits,
            "mean_call_ms": matching.mean_call_ms,
            "begun": pool.paces.rows(pool.now),
            "people": {c: p.row() for c, p in pool.campaigns.people.items() if p.has_learnt},
            "next_dialled": pool.eligibility.dials.next_n,
            "next_elsewhere": pool.eligibility.elsewhere.next_n,
            "oldest_elsewhere": pool.eligibility.elsewhere.oldest,
            "elsewhere_over": pool.eligibility.elsewhere.over.count,
            "next_tally": pool.eligibility.tallies.next_n,
            "playbooks": [[book, v, at] for book, (v, at) in pool.playbooks.items()],
            "capacity": matching.up.capacity,
            **{name: [[n, *rest] for n, rest in known.items()] for known, name in presence},
        }

    def differences(self, other: "Snapshots") -> list[str]:
        """Names of the parts of the state in which two pools differ; empty if they are the same."""
        ours, theirs = self._small(), other._small()
        found = [name for name in ours if _plain(ours[name]) != _plain(theirs[name])]
        return found + [k for k in KINDS if self._all(k) != other._all(k)]

    def _all(self, kind: str) -> list[Any]:
        pool = self.pool
        highest = {
            "task": max(pool.by_seq, default=0),
            "robot": pool.next_robot,
            "optout": pool.optouts.next_n,
            "recent": min(pool.recent.count, pool.recent.SLOTS),
            "elsewhere_over": min(pool.eligibility.elsewhere.over.count, pool.recent.SLOTS),
            "dialled": pool.eligibility.dials.next_n,
            "elsewhere": pool.eligibility.elsewhere.next_n,
            "tally": pool.eligibility.tallies.next_n,
            "campaign": len(pool.campaigns.order),
        }[kind]
        pages = range(highest // PAGE + 1)
        return [_plain(item) for page in pages for item in self._items(kind, page)]

    def replace(self, pool: Pool) -> None:
        """Replaces the pool's state; the next snapshot writes all of it."""
        stale = set(self._sides)
        pool.hindsight = None  # from now on it decides
        self.pool = pool
        pool.touched.pages |= stale

    def garbage(self) -> list[str]:
        """Keys of rows that no head names any more; to be deleted after the head is written."""
        keys, self._garbage = self._garbage, []
        return keys

    def _items(self, kind: str, page: int) -> Iterable[Any]:
        span = range(page * PAGE, (page + 1) * PAGE)
        pool = self.pool
        if kind == "task":
            return (_task_row(pool.by_seq[n]) for n in span if n in pool.by_seq)
        if kind == "robot":
            return (_robot_row(robot) for n in span if (robot := pool.robot_by_n(n)) is not None)
        if kind == "campaign":
            order = pool.campaigns.order
            return (
                [n, [to_line("campaigns", order[n][0]), order[n][1]]] for n in span if n in order
            )
        if kind == "dialled":
            dials = pool.eligibility.dials
            return ([n, found] for n in span if (found := dials.row(n, pool.now)) is not None)
        if kind == "elsewhere":
            calls = pool.eligibility.elsewhere.order
            return ([n, [c.call_id, c.line, c.dialled_at]] for n in span if (c := calls.get(n)))
        if kind == "tally":
            tallies = pool.eligibility.tallies
            return (
                [n, [t.what, t.name, t.begin_ms, sorted(t.counts.items())]]
                for n in span if (t := tallies.row(n, pool.now)) is not None
            )  # fmt: skip
        ring = pool.recent if kind == "recent" else pool.eligibility.elsewhere.over
        plain = pool.optouts.order if kind == "optout" else ring.slots
        return ([n, plain[n]] for n in span if n in plain)

    def _key(self, kind: str, page: int) -> str:
        return self._name(kind, page, self._sides[kind, page])

    def _name(self, kind: str, page: int, side: int) -> str:
        return f"{kind}.{page}.{side}|{self.pool.name}"


def _task_row(task: Task) -> list[Any]:
    row = [getattr(task, name) for name in _TASK_FIELDS]
    need = task.requirement
    row[_TASK_FIELDS.index("requirement")] = [need.skills, need.playbook, need.best, need.least]
    return row


class _Shared:
    """Values that many tasks have in common, made once: a million tasks have some hundreds."""

    def __init__(self) -> None:
        self._needs: dict[bytes, Requirement] = {}
        self._skills: dict[bytes, tuple[tuple[str, int], ...]] = {}

    def need(self, row: list[Any]) -> Requirement:
        """The requirement of a task's row."""
        key = orjson.dumps(row)
        found = self._needs.get(key)
        if found is None:
            skills, playbook, *rest = row
            best, least = rest or ((), 0)
            found = Requirement(self.skills(skills), playbook, tuple(best), least)
            self._needs[key] = found
        return found

    def skills(self, rows: list[Any]) -> tuple[tuple[str, int], ...]:
        """Skills with their levels."""
        key = orjson.dumps(rows)
        found = self._skills.get(key)
        if found is None:
            found = self._skills[key] = tuple((skill, level) for skill, level in rows)
        return found


_STATES = {state.value: state for state in State}


def _task(row: list[Any], shared: _Shared) -> Task:
    skills = row[_REQUIREMENT][0]
    row[_REQUIREMENT] = shared.need(row[_REQUIREMENT])
    row[_STATE] = _STATES[row[_STATE]]
    if row[_TIMERS]:
        row[_TIMERS] = {name: (due, by) for name, (due, by) in row[_TIMERS].items()}
    task = Task(*row)  # fields that came later have defaults
    if len(row) > _TAGS:
        task.tags, task.asked = tuple(row[_TAGS]), shared.skills(row[_TAGS + 1])
    else:
        task.asked = shared.skills(skills)
    return task


def _campaign(text: str) -> Campaign:
    event = from_json("campaigns", orjson.loads(text))
    assert isinstance(event, Campaign)
    return event


def _robot_row(robot: Robot) -> list[Any]:
    row = [getattr(robot, name) for name in _ROBOT_FIELDS]
    row[_ROBOT_FIELDS.index("calls")] = sorted(robot.calls)
    return row


def _robot(row: list[Any]) -> Robot:
    values = dict(zip(_ROBOT_FIELDS, row, strict=True))
    values["calls"] = set(values["calls"])
    return Robot(**values)


def _plain(data: Any) -> Any:
    """The value after writing and reading: a restored state has lists for some tuples."""
    return orjson.loads(orjson.dumps(data))


def _pack(data: Any) -> str:
    return base64.b64encode(zlib.compress(orjson.dumps(data), 1)).decode()


def _unpack(text: str) -> Any:
    try:
        return orjson.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except (ValueError, zlib.error) as error:
        raise SnapshotError(f"unreadable row: {error}") from None
