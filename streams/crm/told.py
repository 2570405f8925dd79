"""Results that a destination has had. The first record of an id counts, also where a call has two
ends: one that dispatch wrote for a call that it had lost, and the call's own."""

from contextlib import closing

from ringlog.kafka.sync import TO_THE_END, begins_of, between, consumer_of, ends_of
from ringlog.settings import Settings
from schemas.catalogue import topic
from schemas.events import CrmDelivery
from schemas.wire import Codec, Poison

DELIVERIES = "crm.deliveries"
MOST = 100_000
"""Ids kept: a second record of an id comes within minutes of the first."""

_LAST = 5_000
"""Records read of each partition at the start."""


class ToldResults:
    """The newest ids of results that are over: delivered, or refused for good."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, result_id: str) -> bool:
        return result_id in self._ids

    def add(self, result_id: str) -> None:
        """One more; the oldest is forgotten."""
        self._ids[result_id] = None
        if len(self._ids) > MOST:
            del self._ids[next(iter(self._ids))]


def told_before(config: Settings, codec: Codec, destination: str) -> ToldResults:
    """What the end of the delivery log says of a destination; raises KafkaException. Blocks."""
    told = ToldResults()
    places = [(DELIVERIES, number) for number in range(topic(DELIVERIES).partitions)]
    with closing(consumer_of(config, "crm", **TO_THE_END)) as consumer:
        ends = ends_of(consumer, places)
        begins = {
            place: max(begin, ends[place] - _LAST)
            for place, begin in begins_of(consumer, places).items()
        }
        for polled in between(consumer, begins, ends):
            for records in polled.values():
                for record in records:
                    try:
                        event = codec.decode(DELIVERIES, record.value)
                    except Poison:
                        continue
                    if (
                        isinstance(event, CrmDelivery)
                        and event.destination == destination
                        and event.kind != "failed"
                    ):
                        told.add(event.result_id)
    return told
