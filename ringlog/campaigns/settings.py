"""What an operator sets about a campaign. Times are in the customer's zone where not said
otherwise."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from ringlog.identifier import Id
from ringlog.law.rules import AnyRule, AttemptsRule, Consent, DayKind, HoursRule, Purpose

_WAIT = re.compile(r"([1-9]\d{0,4})(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

CAUSES = {
    "busy": "busy", "no_answer": "no_answer", "machine": "machine", "unreachable": "unreachable",
    "no_line": "carrier",
}  # fmt: skip
"""Why a call reached nobody, by its disposition: the names under which retries are set."""

MAX_SETTINGS_BYTES = 8_192
"""Longest JSON of a campaign's settings: its record must fit into dispatch's inbox, where the JSON
is text within JSON."""

Level = Annotated[int, Field(ge=1, le=10)]
Skill = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s|\x00-\x1f]+$")
]
Share = Annotated[int, Field(ge=1, le=1_000)]
Number = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{2,14}$")]


def wait_ms(text: str) -> int:
    """Milliseconds of a wait such as 90s, 30m, 4h or 1d; raises ValueError."""
    match = _WAIT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r}: write a wait as 90s, 30m, 4h or 1d")
    return int(match[1]) * _UNIT_MS[match[2]]


class _Model(BaseModel):
    # Strict: a number in quotes, or `true` for 1, is an operator's mistake.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Caps(_Model):
    """How often, beyond what the law says. `number_*` count dials of one number by anybody."""

    number_day: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Dials of one number on one day of the customer"
    )
    number_week: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Dials of one number within seven days"
    )


class TagRule(_Model):
    """What a tag, or an industry, weighs and asks for."""

    weight: Annotated[float, Field(ge=-5, le=5)] = Field(
        0.0, description="Added to the score of the task's priority"
    )
    skills: dict[Skill, Level] = Field(
        default_factory=dict, description="Levels that the robot must have"
    )
    best: bool = Field(False, description="The best free robot, not the least over-qualified")


class Retries(_Model):
    """When a customer who was not reached is called again: the waits after the first dial, the
    second, and so on. No wait left: not again. `carrier` is for calls that no line took: nobody's
    telephone rang, so its last wait goes on, as long as dispatch lets a task try."""

    busy: list[str] = Field(default_factory=lambda: ["10m", "1h"])
    no_answer: list[str] = Field(default_factory=lambda: ["2h", "1d"])
    machine: list[str] = Field(default_factory=lambda: ["4h", "1d"])
    unreachable: list[str] = Field(default_factory=lambda: ["4h", "1d"])
    carrier: list[str] = Field(default_factory=lambda: ["1m", "5m", "15m"])

    @field_validator("*")
    @classmethod
    def _waits(cls, waits: list[str]) -> list[str]:
        for wait in waits:
            wait_ms(wait)
        return waits

    def wait(self, cause: str, dials: int) -> int | None:
        """The wait after that many dials, ms; None: not again."""
        waits: list[str] = getattr(self, cause)
        n = max(dials, 1) - 1
        if cause == "carrier" and waits:
            n = min(n, len(waits) - 1)
        return wait_ms(waits[n]) if n < len(waits) else None


class CampaignSettings(_Model):
    """The settings of a campaign; `settings` of its event on `campaigns` is their JSON."""

    playbook: Id
    pool: Id = "default"
    purpose: Purpose = Field(description="marketing, collection, service or survey: the law asks")
    variants: Annotated[list[Id], Field(max_length=32)] | dict[Id, Share] = Field(
        default_factory=list,
        max_length=32,
        description="Wordings by name, one for each task: a list for equal shares, or the share "
        "of each; empty: the robot draws",
    )
    asr_profile: str = Field("", max_length=128, description="Recogniser; empty: the robot's")
    caller_ids: list[Number] = Field(
        default_factory=list, max_length=64, description="Numbers that customers see, E.164"
    )
    concurrency: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="Calls at once in one pool"
    )
    calls_per_s: Annotated[float, Field(ge=0.001, le=1_000)] | None = Field(
        None, description="Dials a second in one pool"
    )
    people: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="People of one pool who take the calls that its robots transfer"
    )
    pacing: Literal["progressive", "adaptive"] = Field(
        "progressive",
        description="progressive: a call for each free robot, or with `people` for each of them "
        "who is free; adaptive: as many as keep people busy under the cap on dropped calls",
    )
    ahead: Annotated[int, Field(ge=1, le=100_000)] = Field(
        500, description="Tasks that wait in dispatch at once; the others wait in the campaign"
    )
    windows: dict[DayKind, list[str]] = Field(
        default_factory=dict, description="When it calls, as in a rule of the law; empty: as it may"
    )
    caps: Caps = Caps()
    retries: Retries = Retries()
    budget: Annotated[int, Field(ge=1, le=20)] = Field(3, description="Dials per contact, at most")
    consent: Consent = Field("none", description="Consent of contacts whose list names none")
    recording_notice: bool = Field(
        False, description="The playbook tells customers that the call is recorded"
    )
    region: Annotated[str, StringConstraints(pattern=r"^([A-Z]{2}(-[A-Z0-9]{1,3})?)?$")] = Field(
        "", description="Where numbers without a country code are; empty: the site's region"
    )
    goals: list[Id] = Field(
        default_factory=list, max_length=16, description="Outcomes that count as a success"
    )
    goal_count: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="The campaign is complete once so many contacts came to one of `goals`"
    )
    ends_at: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        None,
        description="The campaign is complete at that time (ISO 8601, with its offset from UTC)",
    )
    tags: dict[Skill, TagRule] = Field(
        default_factory=dict, max_length=64, description="By tag, or industry:NAME, level:NAME"
    )
    specialist_wait_ms: Annotated[int, Field(ge=0, le=600_000)] = Field(
        15_000, description="How long a task waits for the best robot, ms"
    )

    @field_validator("windows")
    @classmethod
    def _windows(cls, windows: dict[DayKind, list[str]]) -> dict[DayKind, list[str]]:
        if windows:
            _hours(windows)
        return windows

    @field_validator("ends_at")
    @classmethod
    def _time(cls, text: str | None) -> str | None:
        if text is not None:
            _instant_ms(text)
        return text

    @model_validator(mode="after")
    def _outcomes_of_goal(self) -> "CampaignSettings":
        if self.goal_count is not None and not self.goals:
            raise ValueError("goal_count needs `goals`, the outcomes that count")
        return self

    @model_validator(mode="after")
    def _facts_of_pacing(self) -> "CampaignSettings":
        if self.pacing == "adaptive" and self.people is None:
            raise ValueError(
                "pacing: adaptive needs `people`, how many take the transfers; no event tells that"
            )
        return self

    @model_validator(mode="after")
    def _size(self) -> "CampaignSettings":
        if len(self.model_dump_json().encode()) > MAX_SETTINGS_BYTES:
            raise ValueError(f"all settings together are longer than {MAX_SETTINGS_BYTES} bytes")
        return self

    @cached_property
    def ends_ms(self) -> int | None:
        """`ends_at` in ms since 1970 UTC."""
        return None if self.ends_at is None else _instant_ms(self.ends_at)

    @cached_property
    def shares(self) -> Mapping[str, int]:
        """The share of each variant."""
        named = self.variants
        return named if isinstance(named, dict) else dict.fromkeys(named, 1)

    @cached_property
    def rules(self) -> tuple[AnyRule, ...]:
        """Its windows and caps as rules of the law."""
        found: list[AnyRule] = [_hours(self.windows)] if self.windows else []
        for name, most, within in (
            ("campaign-number-day", self.caps.number_day, "day"),
            ("campaign-number-week", self.caps.number_week, "7d"),
        ):
            if most is not None:
                found.append(
                    AttemptsRule(id=name, most=most, within=within, source="the campaign's caps")
                )
        return tuple(found)


def _hours(days: dict[DayKind, Any]) -> HoursRule:
    return HoursRule(id="campaign-windows", days=days, source="the campaign's windows")


def _instant_ms(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(f"{text!r}: write a time as 2026-12-24T18:00:00+08:00")
    return round(at.timestamp() * 1_000)
