"""A campaign with a list, as an operator runs one: by the command line."""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from demo.campaign import PLAYBOOK, POOL, DemoError, customer_of
from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.terms import CampaignTerms
from ringlog.clock import now_ms
from ringlog.settings import Settings
from ringlog.terms import Callee
from stack import environment
from streams.dispatch.policy import Policy
from streams.dispatch.site_terms import SiteTerms

PLACES = (("+8613", 9), ("+12126", 6))
"""How numbers begin in mainland China and in New York, and how many digits follow: in one of them
calls are lawful at any hour."""

LONG_MS = 2 * 3_600_000
"""No run takes longer: who may be called until then may be called in all of it."""

SETTINGS = {
    "playbook": PLAYBOOK, "pool": POOL, "purpose": "service", "consent": "written",
    "recording_notice": True, "caller_ids": ["+864001234567"], "budget": 5,
    "retries": {cause: ["3s"] * 4 for cause in ("busy", "no_answer", "machine", "unreachable")},
}  # fmt: skip


def lawful_phones(run: int, count: int) -> Iterator[str]:
    """Numbers that the law lets us call now, and for two hours more if there are any."""
    terms = CampaignTerms(
        "", True, CampaignSettings.model_validate(SETTINGS), SiteTerms(Policy())
    )  # fmt: skip
    now = now_ms()

    def hours(place: tuple[str, int]) -> int:
        """How long the law lets us call, roughly, ms."""
        callee = Callee(phone_in(place, run, 0))
        times = range(now, now + LONG_MS, LONG_MS // 16)
        closed = (at for at in times if terms.permission(callee, (), at).rule)
        return next(closed, now + LONG_MS) - now

    place = max(PLACES, key=hours)
    if not hours(place):
        raise DemoError("there is no place where calls are lawful now")
    return (phone_in(place, run, n) for n in range(count))


def phone_in(place: tuple[str, int], run: int, n: int) -> str:
    """The number of the n-th person of a run."""
    begin, digits = place
    return f"{begin}{(run * 1_000 + n) % 10**digits:0{digits}d}"


class ListedCampaign:
    """A campaign whose customers are those of the demo's CRM."""

    def __init__(
        self, config: Settings, campaign_id: str, ahead: int, customers_of: str | None = None
    ) -> None:
        """`customers_of` names the run whose customers they are, where it is not the campaign."""
        self._config, self._id = config, campaign_id
        self._customers_of = customers_of or campaign_id
        self._folder = config.home / "demo"
        self._settings = SETTINGS | {"ahead": max(1, ahead)}

    async def launch(self, phones: Mapping[int, str], **settings: object) -> None:
        """Creates it, loads the list, and starts it. Raises DemoError."""
        wanted = json.dumps(self._settings | settings)
        rows = (
            {"customer_id": customer_of(self._customers_of, n), "phone": phone}
            for n, phone in phones.items()
        )
        settings_file = self._write("settings.yaml", wanted)
        customers = self._write("customers.jsonl", "\n".join(map(json.dumps, rows)))
        await self.give("create", str(settings_file))
        await self.give("import", str(customers))
        await self.give("start")

    async def stop(self) -> None:
        """Ends it for good. Raises DemoError."""
        await self.give("stop")

    async def give(self, command: str, *words: str) -> None:
        """A command of the operator. Raises DemoError."""
        given = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "campaign", command, self._id, *words,
            env=environment.of_services(self._config),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await given.communicate()
        if given.returncode:
            raise DemoError(f"campaign {command}: {said.decode('utf-8', 'replace')[-500:]}")

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / f"{self._id}.{name}"
        path.write_text(text, encoding="utf-8")
        return path
