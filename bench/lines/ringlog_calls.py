"""Calls of the product through the same Asterisk, timed by the same far end as the floor.

One campaign, some calls side by side: each person answers greeting and offer when they have been
spoken, cuts the details short, waits for the robot's answer, and hangs up.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from pydantic import SecretStr

from bench.lines.caller import Heard, converse, telling
from bench.own_stack import free_shift
from demo.asterisk.instance import Asterisk
from demo.campaign import Desk, tell_crm
from demo.people import Person, phone_of
from demo.sip.carrier import SipCarrier
from demo.speech import Voice, utterance
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings, settings
from stack import control

POLITE = ("可以的", "多少钱")
"""Answers to the playbook's greeting and offer; the demo's recogniser knows them."""

OVER = "好的没问题"
"""What is said over the details, the one prompt that speech interrupts."""

_VOICE = Voice("cmn-latn-pinyin+m3", 200, 50, 25.0)
_DIAL_S = 60.0
_CALL_S = 60.0
_PERSON = Person.model_validate(
    {"name": "bench", "voice": _VOICE.name, "expects": {"disposition": "completed"}}
)


@contextmanager
def stack_on(asterisk: Asterisk, trunk: str, home: str) -> Iterator[Settings]:
    """A stack of its own that calls over one trunk of this Asterisk."""
    config = Settings(
        home=settings().home / home, port_shift=free_shift(settings().port_shift + 6_000),
        kafka="", registry="", clickhouse_host="", law="off", ari_url=asterisk.base_url,
        ari_user=asterisk.ari_user, ari_password=SecretStr(asterisk.password),
        ari_endpoint=f"PJSIP/{{number}}@{trunk}", ari_formats="alaw",
    )  # fmt: skip
    control.up(config, detach=True, tied=True, report=lambda line: None)
    try:
        yield config
    finally:
        with suppress(control.StackNotRunning):
            control.down(config)


async def conversations(
    config: Settings, carrier: SipCarrier, calls: int, together: int
) -> list[Heard]:
    """Delays of so many calls, at most `together` of them at a time."""
    out: list[Heard] = []
    polite = [utterance(text, _VOICE) for text in POLITE]
    script = converse(polite, utterance(OVER, _VOICE), out)
    number = int(time.time())
    campaign = f"bench-{number}"
    cast = {phone_of(number, n): _PERSON for n in range(calls)}
    slots = asyncio.Semaphore(together)
    async with _desk(config) as (desk, producer):
        await tell_crm(producer, campaign, cast)
        await asyncio.sleep(2)

        async def one(n: int, phone: str) -> None:
            over = asyncio.Event()
            carrier.when(f"*{phone.lstrip('+')}", telling(script, over))
            async with slots:
                await desk.assign(campaign, n, phone)
                await asyncio.wait_for(over.wait(), _DIAL_S + _CALL_S)

        await asyncio.gather(*(one(n, phone) for n, phone in enumerate(cast)))
    return out


@asynccontextmanager
async def _desk(config: Settings) -> AsyncIterator[tuple[Desk, EventProducer]]:
    async with EventProducer(config, "bench") as producer, Desk(config) as desk:
        yield desk, producer
