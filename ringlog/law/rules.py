"""The rules as data: one YAML file a place, each rule with the statute that it stands in."""

import re
from collections.abc import Iterable
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    field_validator,
)

from ringlog import yaml_source
from ringlog.settings import settings
from ringlog.yaml_source import InvalidFile

FOLDER = Path(__file__).with_name("rules")

Purpose = Literal["marketing", "collection", "service", "survey"]
Consent = Literal["none", "relationship", "express", "written"]
"""What the customer agreed to: nothing; they are a customer; they said so; they signed it."""

DAY_MS = 86_400_000
MINUTES_OF_DAY = 1_440

DayKind = Literal[
    "holiday", "mon", "tue", "wed", "thu", "fri", "sat", "sun", "working", "free", "any"
]
"""How a day is named, the most special first: the first name that a rule has counts. `working` is a
weekday that is no public holiday, or a weekend day that is worked; `free` is every other day."""

_WINDOW = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_SPAN = re.compile(r"([1-9]\d{0,3})([hd])")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _minutes(text: str) -> tuple[int, int]:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r}: write a window as 09:00-20:30")
    h1, m1, h2, m2 = map(int, match.groups())
    begin, end = h1 * 60 + m1, h2 * 60 + m2
    if m1 > 59 or m2 > 59 or not 0 <= begin < end <= MINUTES_OF_DAY:
        raise ValueError(f"{text!r}: a window begins before it ends, within one day")
    return begin, end


def _span_ms(text: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r}: write a time as 24h or 30d")
    return int(match[1]) * (3_600_000 if match[2] == "h" else DAY_MS)


class Rule(_Model):
    """What all rules have. `source` names the statute; `since` and `until` are local dates of the
    first and the last day on which it is in force."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    purposes: frozenset[Purpose] = frozenset()
    source: Annotated[str, StringConstraints(min_length=5)]
    note: str = ""
    since: date | None = None
    until: date | None = None

    @field_validator("since", "until", mode="before")
    @classmethod
    def _date(cls, value: object) -> object:
        return date.fromisoformat(value) if isinstance(value, str) else value

    def applies(self, purpose: Purpose, first: date, last: date) -> bool:
        """Whether it is in force for a purpose; `first` and `last` are the dates in the callee's
        zones."""
        return (
            (not self.purposes or purpose in self.purposes)
            and (self.since is None or last >= self.since)
            and (self.until is None or first <= self.until)
        )


class HoursRule(Rule):
    """When the telephone may ring, in the callee's own time. A day without a window is closed."""

    kind: Literal["hours"] = "hours"
    days: dict[DayKind, list[str]] = Field(min_length=1)

    @field_validator("days")
    @classmethod
    def _windows(cls, days: dict[DayKind, list[str]]) -> dict[DayKind, list[str]]:
        for windows in days.values():
            for text in windows:
                _minutes(text)
        return days

    @cached_property
    def minutes(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """Windows by name of day, in minutes since midnight; the end is not part of it."""
        return {
            day: tuple(sorted(_minutes(text) for text in windows))
            for day, windows in self.days.items()
        }

    @cached_property
    def needs_calendar(self) -> bool:
        """Whether it asks which days are public holidays."""
        return not self.days.keys().isdisjoint({"holiday", "working", "free"})


class AttemptsRule(Rule):
    """How often one number, or from one caller id, may be dialled. `within` is `day` (the callee's
    calendar day) or a span."""

    kind: Literal["attempts"] = "attempts"
    most: Annotated[int, Field(ge=1, le=100_000)]
    within: str
    of: Literal["number", "caller_id"] = "number"

    @field_validator("within")
    @classmethod
    def _within(cls, text: str) -> str:
        if text != "day":
            _span_ms(text)
        return text

    @cached_property
    def within_ms(self) -> int | None:
        """The span, ms; None: the callee's calendar day."""
        return None if self.within == "day" else _span_ms(self.within)


class RestRule(Rule):
    """How long a customer is left alone after they talked to us, or refused."""

    kind: Literal["rest"] = "rest"
    after: Literal["talked", "refused"]
    for_: Annotated[str, Field(alias="for")]

    @field_validator("for_")
    @classmethod
    def _for(cls, text: str) -> str:
        _span_ms(text)
        return text

    @cached_property
    def for_ms(self) -> int:
        """The span, ms."""
        return _span_ms(self.for_)


class ConsentRule(Rule):
    """Which consent makes a call lawful."""

    kind: Literal["consent"] = "consent"
    any_of: frozenset[Consent] = Field(min_length=1)


class AbandonedRule(Rule):
    """The share of answered calls in which nobody spoke to the customer, of one campaign. It is
    judged from `least` answered calls on; before that, as if there had been so many."""

    kind: Literal["abandoned"] = "abandoned"
    most: Annotated[float, Field(ge=0, le=1)]
    within: str
    least: Annotated[int, Field(ge=1)] = 100

    @field_validator("within")
    @classmethod
    def _within(cls, text: str) -> str:
        _span_ms(text)
        return text

    @cached_property
    def within_ms(self) -> int:
        """The span, ms."""
        return _span_ms(self.within)


class RecordingRule(Rule):
    """Who is recorded is told so first."""

    kind: Literal["recording"] = "recording"


class CallerIdRule(Rule):
    """The callee sees a number that can be called back."""

    kind: Literal["caller_id"] = "caller_id"


AnyRule = Annotated[
    HoursRule | AttemptsRule | RestRule | ConsentRule | AbandonedRule | RecordingRule
    | CallerIdRule,
    Field(discriminator="kind"),
]  # fmt: skip


class RuleSet(_Model):
    """One file: the rules of a place. `members` are countries that a union of states covers."""

    place: Annotated[str, StringConstraints(pattern=r"^(\*|[A-Z]{2}(-[A-Z]{2,3})?)$")]
    name: str
    members: frozenset[str] = frozenset()
    rules: list[AnyRule]
    _file: str = PrivateAttr("")

    @property
    def file(self) -> str:
        """Name of the file that it was read from."""
        return self._file


class RuleBook:
    """All rule sets by place. A country that has none may not be called."""

    def __init__(self, sets: Iterable[RuleSet]) -> None:
        self._by_place: dict[str, list[AnyRule]] = {}
        self._rules: dict[str, AnyRule] = {}
        self._found: dict[tuple[str, frozenset[str], bool], tuple[AnyRule, ...] | None] = {}
        for found in sets:
            self._rules |= {rule.id: rule for rule in found.rules}
            for place in found.members or (found.place,):
                self._by_place.setdefault(place, []).extend(found.rules)

    def find(self, rule_id: str) -> AnyRule | None:
        """The rule of that id; None where no file has it."""
        return self._rules.get(rule_id)

    def abandoned(self, purpose: Purpose) -> list[AbandonedRule]:
        """The caps on abandoned calls of every place."""
        return [
            rule
            for rule in self._rules.values()
            if isinstance(rule, AbandonedRule) and (not rule.purposes or purpose in rule.purposes)
        ]

    def of(
        self, country: str, regions: frozenset[str], declared: bool = True
    ) -> tuple[AnyRule, ...] | None:
        """The rules for a country and for every region (such as US-FL) where the callee may be;
        None where the country has none. Without a region all regions of the country count. Not
        `declared`: without those on what only a campaign declares."""
        asked = (country, regions, declared)
        if asked not in self._found and len(self._found) < _PLACES:
            self._found[asked] = self._look_up(*asked)
        return self._found[asked] if asked in self._found else self._look_up(*asked)

    def _look_up(
        self, country: str, regions: frozenset[str], declared: bool
    ) -> tuple[AnyRule, ...] | None:
        own = self._by_place.get(country)
        if own is None:
            return None
        inside = regions or {p for p in self._by_place if p.startswith(f"{country}-")}
        more = [rule for place in sorted(inside) for rule in self._by_place.get(place, ())]
        rules = (*self._by_place.get("*", ()), *own, *more)
        return rules if declared else tuple(rule for rule in rules if not is_declared(rule))


_PLACES = 4_096
"""Places whose rules a book remembers together."""


def is_declared(rule: AnyRule) -> bool:
    """Whether a rule is on what only a campaign declares."""
    if isinstance(rule, AttemptsRule):
        return rule.of == "caller_id"
    return isinstance(rule, (ConsentRule, RecordingRule, CallerIdRule))


def read_rules(path: Path) -> RuleSet:
    """The rule set of a file; raises InvalidFile with the line of every fault."""
    source = yaml_source.parse(path.read_text(encoding="utf-8"), path.name)
    if source.duplicates:
        raise InvalidFile(source.duplicates)
    try:
        found = RuleSet.model_validate(source.data)
    except ValidationError as error:
        raise InvalidFile(
            [
                _fault(path.name, source.line(tuple(e["loc"])), e["msg"])
                for e in error.errors(include_url=False, include_input=False)
            ]
        ) from None
    found._file = path.name
    return found


@lru_cache(maxsize=4)
def rule_book(extra: Path | None = None) -> RuleBook:
    """Our rules and those of a site's own folder, which can only add to them; raises InvalidFile
    with every fault of every file."""
    ours = [read_rules(path) for path in sorted(FOLDER.glob("*.yaml"))]
    theirs = [] if extra is None else own_rules(extra)
    taken = {rule.id for found in ours for rule in found.rules}
    faults: list[yaml_source.Problem] = []
    for found in theirs:
        for rule in found.rules:
            if rule.id in taken:
                faults.append(_fault(found.file, 1, f"there is another rule {rule.id}"))
            taken.add(rule.id)
    if faults:
        raise InvalidFile(faults)
    return RuleBook([*ours, *theirs])


def own_rules(folder: Path) -> list[RuleSet]:
    """The rule sets of a site's folder; raises InvalidFile with every fault of every file."""
    if not folder.is_dir():
        raise InvalidFile([_fault(str(folder), 1, "there is no such folder")])
    faults: list[yaml_source.Problem] = []
    found: list[RuleSet] = []
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        try:
            found.append(read_rules(path))
        except InvalidFile as error:
            faults += error.problems
        except (OSError, UnicodeDecodeError) as error:
            faults.append(_fault(path.name, 1, f"it cannot be read: {error}"))
    if faults:
        raise InvalidFile(faults)
    return found


def site_rule_book() -> RuleBook:
    """The rules in force here, by RINGLOG_LAW_RULES; raises InvalidFile."""
    return rule_book(settings().law_rules)


def _fault(file: str, line: int, what: str) -> yaml_source.Problem:
    return yaml_source.Problem(file, line, what, "see ringlog/law/rules")
