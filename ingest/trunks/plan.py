"""`trunks.yaml`: the site's switches, its trunks, the numbers that they show, and when to try
again.

No secret stands in the file: a switch names the environment variable or the file that holds its
password.
"""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from ringlog.settings import Settings
from ringlog.yaml_source import InvalidFile, Problem, Source, parse

TrunkName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
E164 = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{2,14}$")]
"""A whole number, ITU-T E.164."""

Prefix = Annotated[str, StringConstraints(pattern=r"^\+[0-9]{0,15}$")]
"""How a number begins; `+` alone is every number."""

SwitchType = Literal["sim", "asterisk", "freeswitch"]

OPTIONS: Final[Mapping[SwitchType, tuple[str, ...]]] = {
    "sim": ("ask_s",),
    "asterisk": (
        "ca_file", "control", "endpoint", "formats", "rtp_host", "transfer", "websocket_client",
    ),
    "freeswitch": ("dial", "playback"),
}  # fmt: skip
"""What the driver of each type takes in `options`."""

Count = Annotated[int, Field(ge=1, le=1_000_000)]
SHORTEST_SILENCE_S: Final = 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SwitchPlan(_Strict):
    """A telephone system that places our calls."""

    type: SwitchType
    url: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    user: str = ""
    password_env: str = Field("", description="Environment variable that holds the password")
    password_file: str = Field("", description="File that holds the password")
    media: Literal["rtp", "websocket", "websocket-in", "audiosocket"] = "rtp"
    options: dict[str, str] = Field(default_factory=dict, description="What its driver takes")

    @model_validator(mode="after")
    def _one_password(self) -> "SwitchPlan":
        if self.password_env and self.password_file:
            raise ValueError("password_env or password_file, not both")
        return self

    @property
    def names_password(self) -> bool:
        """Whether it says where its password is."""
        return bool(self.password_env or self.password_file)

    def password(self) -> SecretStr:
        """The password, empty where none is named; raises ValueError, which names the source."""
        if self.password_env:
            if (found := os.environ.get(self.password_env)) is None:
                raise ValueError(f"the environment variable {self.password_env} is not set")
            return SecretStr(found)
        if self.password_file:
            try:
                return SecretStr(Path(self.password_file).read_text(encoding="utf-8").strip())
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"no password in {self.password_file}: {error}") from None
        return SecretStr("")


class CallerId(_Strict):
    """A number that called people see."""

    number: E164
    near: list[Prefix] = Field(
        default_factory=list, description="Prefixes of called numbers that it is local to"
    )
    calls: Count | None = Field(None, description="Calls at once, at most")
    calls_per_hour: Count | None = Field(None, description="Tries in an hour, at most")


class Inbound(_Strict):
    """Who answers a called number."""

    pool: str | None = None
    robot_id: str | None = None
    playbook: str | None = None
    campaign_id: str | None = None


class TrunkPlan(_Strict):
    """A way out over a carrier: an endpoint of a switch."""

    switch: TrunkName
    endpoint: Annotated[str, StringConstraints(max_length=200, pattern=r"^\S*$")] = Field(
        "", description="What the switch dials; {number} is E.164, {digits} the same without +"
    )
    state: Literal["active", "paused"] = "active"
    weight: Annotated[int, Field(ge=1, le=1_000)] = 1
    cost: dict[Prefix, Annotated[float, Field(ge=0, le=1_000)]] = Field(
        default_factory=dict,
        description="Cost of a minute by prefix, longest match; empty: every number, no cost",
    )
    calls: Count | None = Field(None, description="Calls at once, at most")
    calls_per_second: Count | None = Field(None, description="Tries in a second, at most")
    caller_ids: TrunkName | None = Field(None, description="Pool of numbers that it shows")
    clean: Literal["", "off", "auto", "noise", "echo", "noise+echo"] = Field(
        "", description="What is done to its callers' sound; empty: the site's choice"
    )
    inbound: dict[E164, Inbound] = Field(
        default_factory=dict, description="Numbers that people call us on"
    )

    @model_validator(mode="after")
    def _endpoint_fits(self) -> "TrunkPlan":
        if set(re.findall(r"\{[^}]*\}?", self.endpoint)) - {"{number}", "{digits}"}:
            raise ValueError("endpoint: only {number} and {digits} are filled in")
        return self

    def dialled(self, number: str) -> str:
        """The endpoint for an E.164 number."""
        digits = number.removeprefix("+")
        return self.endpoint.replace("{number}", number).replace("{digits}", digits)

    def cost_of(self, number: str) -> float | None:
        """Cost of a minute to a number by its longest prefix; None: it takes no such number."""
        if not self.cost:
            return 0.0
        matching = [prefix for prefix in self.cost if number.startswith(prefix)]
        return self.cost[max(matching, key=len)] if matching else None


class BreakerPlan(_Strict):
    """When a faulty trunk rests. Times are seconds."""

    failures: Annotated[int, Field(ge=1, le=1_000)] = Field(
        5, description="Carrier faults in a row that open it"
    )
    open_s: Annotated[float, Field(gt=0, le=3_600)] = Field(
        30.0, description="First rest; each failed probe doubles it"
    )
    longest_s: Annotated[float, Field(gt=0, le=86_400)] = Field(300.0, description="Longest rest")


class RoutingPlan(_Strict):
    """How a trunk is chosen, and when another is tried."""

    order: Literal["weight", "cost"] = Field(
        "weight", description="Share out by weight, or take the cheapest first"
    )
    tries: Annotated[int, Field(ge=1, le=100)] = Field(
        4, description="Tries to reach one contact within an hour, at most"
    )
    no_response_s: Annotated[float, Field(ge=SHORTEST_SILENCE_S, le=60)] | None = Field(
        20.0, description="Time without any word of the carrier after which another is tried"
    )
    breaker: BreakerPlan = BreakerPlan()


class SitePlan(_Strict):
    """All of `trunks.yaml`."""

    switches: dict[TrunkName, SwitchPlan]
    trunks: dict[TrunkName, TrunkPlan]
    caller_ids: dict[TrunkName, list[CallerId]] = Field(default_factory=dict)
    routing: RoutingPlan = RoutingPlan()

    def unknown_names(self) -> Iterable[tuple[tuple[str, ...], str, str]]:
        """(path, what is wrong, how to mend it) of each name that stands for nothing."""
        mend = "use one of them, or add it"
        for name, trunk in self.trunks.items():
            if trunk.switch not in self.switches:
                what = _unknown("switch", trunk.switch, self.switches)
                yield ("trunks", name, "switch"), what, mend
            if trunk.caller_ids is not None and trunk.caller_ids not in self.caller_ids:
                what = _unknown("pool of caller ids", trunk.caller_ids, self.caller_ids)
                yield ("trunks", name, "caller_ids"), what, mend

    def unknown_options(self) -> Iterable[tuple[tuple[str, ...], str, str]]:
        """The same of each option that its driver would not read. A plan that another version has
        published may have some."""
        for name, switch in self.switches.items():
            known = OPTIONS[switch.type]
            for option in set(switch.options).difference(known):
                what = f"a switch of type {switch.type} has no such option"
                near = get_close_matches(option, known, 1)
                mend = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known)}"
                yield ("switches", name, "options", option), what, mend

    def of_called(self, number: str) -> tuple[str, Inbound] | None:
        """The trunk and the entry of a number of ours that somebody calls."""
        for name, trunk in self.trunks.items():
            if (found := trunk.inbound.get(number)) is not None:
                return name, found
        return None


def default_plan(settings: Settings) -> SitePlan:
    """What holds while the site has published no trunks: one trunk of the same name as its switch,
    the Asterisk or FreeSWITCH of the settings, else the simulated carrier; one try a call."""
    name, switch = "sim", SwitchPlan(type="sim", url=settings.sim_url)
    if settings.ari_url:
        name, switch = (
            "asterisk",
            SwitchPlan(type="asterisk", url=settings.ari_url, media=settings.ari_media),
        )
    elif settings.freeswitch:
        name, switch = "freeswitch", SwitchPlan(type="freeswitch", url=settings.freeswitch)
    return SitePlan(
        switches={name: switch},
        trunks={name: TrunkPlan(switch=name)},
        routing=RoutingPlan(tries=100, no_response_s=None),
    )


def plan_file(settings: Settings) -> Path:
    """Where the site's plan is."""
    return settings.trunks_file or settings.home / "trunks.yaml"


def of_called(published: SitePlan, settings: Settings, number: str) -> tuple[str, Inbound] | None:
    """The trunk and the entry of a number of ours, E.164: by what is published, else by the file of
    a site that has not published it. Raises InvalidFile."""
    if (found := published.of_called(number)) is not None:
        return found
    path = plan_file(settings)
    return load_plan(path).of_called(number) if path.exists() else None


def load_plan(path: Path) -> SitePlan:
    """The plan of a file; raises InvalidFile with every fault and its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        mend = "name a readable UTF-8 file"
        raise InvalidFile([Problem(str(path), 1, f"cannot be read: {error}", mend)]) from None
    return parse_plan(text, str(path))


def parse_plan(text: str, file: str = "trunks.yaml") -> SitePlan:
    """The plan of a text; raises InvalidFile with every fault and its line."""
    source = parse(text, file)
    try:
        plan = SitePlan.model_validate(source.data)
    except ValidationError as error:
        faults = [_problem(dict(e), source) for e in error.errors(include_url=False)]
        raise InvalidFile([*source.duplicates, *dict.fromkeys(faults)]) from None
    problems = list(source.duplicates)
    for where, what, mend in chain(plan.unknown_names(), plan.unknown_options()):
        problems.append(Problem(file, source.line(where), f"{'.'.join(where)}: {what}", mend))
    if problems:
        raise InvalidFile(problems)
    return plan


def _problem(error: Mapping[str, Any], source: Source) -> Problem:
    path = tuple(part for part in error["loc"] if part != "[key]")
    where = ".".join(str(part) for part in path) or "the document"
    what, mend = str(error["msg"]), "mend the value"
    if error["type"] == "extra_forbidden":
        what, mend = "unknown key", f"there are: {', '.join(_keys_beside(path))}"
    elif error["type"] == "missing":
        what, mend = "missing", f"add the key {path[-1]!r}"
    return Problem(source.file, source.line(path), f"{where}: {what}", mend)


def _keys_beside(path: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand where a path's last part does."""
    shapes: dict[str, type[BaseModel]] = {
        "switches": SwitchPlan, "trunks": TrunkPlan, "caller_ids": CallerId,
        "routing": RoutingPlan,
    }  # fmt: skip
    shape: type[BaseModel] = shapes.get(str(path[0]), SitePlan) if len(path) > 1 else SitePlan
    if "inbound" in path[:-1]:
        shape = Inbound
    elif path[:-1] == ("routing", "breaker"):
        shape = BreakerPlan
    return sorted(shape.model_fields)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    there = ", ".join(sorted(known)) or "none"
    return f"there is no {kind} {name!r}; there are: {there}"
