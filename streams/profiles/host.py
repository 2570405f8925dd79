"""The service `profiles`: routers into the inbox, and the agent that folds it."""

from functools import partial

from ringlog.kafka.producer import Outgoing
from ringlog.lifecycle import Lifecycle
from ringlog.site_key import site_key
from schemas.catalogue import CALL_PARTITIONS
from schemas.events import ProfileInbox
from schemas.partition import partition_of
from schemas.phone import Numbers
from schemas.wire import Poison
from streams.faust_host import FaustHost, Found, Record
from streams.profiles.fold import decide, evolve, parse
from streams.profiles.refold import Refold
from streams.profiles.router import INBOX, KINDS, copies
from streams.profiles.state import Customer, from_text, to_text

APP_ID = "ringlog-profiles"


class Profiles:
    """Folds profiles. Outputs are acknowledged before the table is set, and the table before the
    offset: a record processed again meets the old state and gives the same outputs."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._numbers = Numbers(life.settings.region, site_key(life.settings))
        self._host = FaustHost(life, APP_ID)
        self._table = self._host.table("customers", lambda customer_id: customer_id)
        for name in KINDS:
            self._host.route(name, partial(copies, name))
        self._host.consume(INBOX, self._fold)
        life.health.rebuild = self.rebuild

    async def run(self) -> None:
        """Runs until told to stop."""
        await self._host.run()

    async def rebuild(self) -> Found:
        """Folds our customers again from the log and corrects every row that differs; raises
        NotRebuilt."""
        refold = Refold(self._life.settings, self._numbers)
        return await self._host.refold(
            INBOX, refold.read, lambda partitions: self._put_right(refold.customers, partitions)
        )

    async def _put_right(self, right: dict[str, Customer], partitions: set[int]) -> Found:
        ours = {c for c in self._table if partition_of(c, CALL_PARTITIONS) in partitions}
        differed = 0
        for customer_id in ours | right.keys():
            row = to_text(right[customer_id]) if customer_id in right else None
            if row == self._table.get(customer_id):
                continue
            differed += 1
            if row is None:
                self._table.pop(customer_id, None)
            else:
                self._table[customer_id] = row
        await self._table.written()
        return {"customers": len(right), "differed": differed}

    async def _fold(self, batch: list[Record]) -> None:
        generation = self._host.generation
        changed: dict[str, Customer] = {}
        outputs: list[Outgoing] = []
        for record in batch:
            if not isinstance(record.event, ProfileInbox):
                continue
            try:
                parsed = parse(record.event, self._numbers)
            except Poison as poison:
                await self._host.bury(record, poison)
                continue
            customer_id = parsed.customer_id
            if parsed.invalid is not None:
                self._host.log.warning(
                    "a number is left out", customer=customer_id, why=parsed.invalid,
                    source=record.event.source_topic, record=record.event.causation_id,
                )  # fmt: skip
            before = changed.get(customer_id) or self._read(customer_id)
            after = evolve(before, parsed)
            if after is not before:
                changed[customer_id] = after
                try:
                    outputs += self._host.outgoing(decide(before, after, parsed))
                except Poison as poison:  # too large: the row stays as a rebuild folds it
                    await self._host.bury(record, poison)
        await self._host.producer.send_outgoing(outputs)
        if self._host.generation != generation:
            return  # the rows are another worker's now; it writes the same outputs
        for customer_id, customer in changed.items():
            self._table[customer_id] = to_text(customer)
        await self._table.written()
        for record in batch:
            record.done()

    def _read(self, customer_id: str) -> Customer:
        text = self._table.get(customer_id)
        return Customer() if text is None else from_text(text)


async def main(life: Lifecycle) -> None:
    """The service's body for `ringlog.lifecycle.run`."""
    await Profiles(life).run()
