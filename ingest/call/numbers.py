"""Which numbers are in a running call: nobody gets two calls at once, whatever the pool."""

from typing import Final

from ingest.call.types import MAX_CALL_MS, RING_TIMEOUT_MS

LONGEST_MS: Final = MAX_CALL_MS + RING_TIMEOUT_MS
"""No call runs longer: one whose end was never recorded is forgotten then."""


class NumbersInCalls:
    """Running calls by the hash of their number: our own, and all that `calls.events` shows."""

    def __init__(self) -> None:
        self._began_ms: dict[str, dict[str, int]] = {}  # hash -> call -> when it began
        self._hash_of: dict[str, str] = {}

    def began(self, phone_hash: str, call_id: str, at_ms: int) -> None:
        """A call to or from this number runs; the first start time reported counts."""
        self._hash_of[call_id] = phone_hash
        self._began_ms.setdefault(phone_hash, {}).setdefault(call_id, at_ms)

    def ended(self, call_id: str) -> None:
        """The call is over; an unknown call is no error."""
        phone_hash = self._hash_of.pop(call_id, None)
        if phone_hash is not None:
            calls = self._began_ms[phone_hash]
            del calls[call_id]
            if not calls:
                del self._began_ms[phone_hash]

    def claim(self, phone_hash: str, call_id: str, now_ms: int) -> bool:
        """Whether the number is in no other call; then it is in this one from now on."""
        calls = self._began_ms.get(phone_hash, {})
        for other, began_ms in list(calls.items()):
            if now_ms - began_ms > LONGEST_MS:
                self.ended(other)
            elif other != call_id:
                return False
        self.began(phone_hash, call_id, now_ms)
        return True

    def __len__(self) -> int:
        return len(self._hash_of)
