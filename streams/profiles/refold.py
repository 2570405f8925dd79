"""Rebuilds customers from the first record of the inbox on, archived ones included."""

from collections.abc import Mapping

from pydantic import ValidationError

from ringlog.kafka.replay import replay
from ringlog.settings import Settings
from schemas.catalogue import topic
from schemas.events import ProfileInbox
from schemas.phone import Numbers
from schemas.wire import Poison
from streams.profiles.fold import evolve, parse
from streams.profiles.router import INBOX
from streams.profiles.state import Customer


class Refold:
    """Every customer as folded from the inbox, without the table."""

    def __init__(self, config: Settings, numbers: Numbers) -> None:
        self.customers: dict[str, Customer] = {}
        self._config = config
        self._numbers = numbers

    def read(self, ends: Mapping[int, int], begins: Mapping[int, int] | None = None) -> None:
        """Folds from `begins` to before `ends`, offsets by partition; blocks.

        Raises TableAway, KafkaException or RegistryError.
        """
        for replayed in replay(self._config, topic(INBOX), ends, begins):
            try:
                parsed = parse(ProfileInbox.model_validate(replayed.record), self._numbers)
            except (Poison, ValidationError):
                continue  # the service has sent it to dead_letters
            before = self.customers.get(parsed.customer_id, Customer())
            self.customers[parsed.customer_id] = evolve(before, parsed)
