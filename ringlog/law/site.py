"""The law of calls that belong to no campaign: what a site asks of all of them."""

import asyncio
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from ringlog import log
from ringlog.law.dial import may_call
from ringlog.law.facts import Allowed, Facts, Refusal
from ringlog.law.rules import Purpose, RuleBook, rule_book
from ringlog.lifecycle import Lifecycle
from ringlog.settings import Settings
from ringlog.yaml_source import InvalidFile

logger = log.logger("ringlog.law")

RULES_AGAIN_S: Final = 5.0

Level = Literal["basic", "full", "off"]


class SiteLaw(BaseModel):
    """`basic`: numbers, hours, caps and rest. `full`: every rule; consent is what the customer's
    record says, and nobody has told of the recording. `off`: opt-outs alone."""

    model_config = ConfigDict(frozen=True)

    level: Level = "off"
    purpose: Purpose = "marketing"

    def judge(
        self, number: str, facts: Facts, now_ms: int, book: RuleBook | None = None
    ) -> Allowed | Refusal:
        """Whether a number (E.164) may be dialled at a time (ms since 1970 UTC)."""
        if self.level == "off":
            return Allowed()
        return may_call(number, facts, now_ms, book)

    @property
    def declared(self) -> bool:
        """Whether rules count that ask what only a campaign declares."""
        return self.level == "full"


def law_of(config: Settings) -> SiteLaw:
    """A site's, by its settings."""
    return SiteLaw(level=config.law, purpose=config.law_purpose)


async def rules_read(life: Lifecycle) -> None:
    """Waits until the site's own rules can be read: without them nobody is called."""
    while True:
        try:
            rule_book(life.settings.law_rules)
            return
        except InvalidFile as error:
            logger.error("the site's rules cannot be read", reason=str(error))
            life.health.set_waiting("rules of the law that can be read")
            await asyncio.sleep(RULES_AGAIN_S)


NO_LAW = SiteLaw()
"""Of sites that say nothing on the log, as before there was a law for such calls."""
