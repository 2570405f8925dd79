"""What falls to a task among several: its caller id, its variant. Pure.

The same task always gets the same. Where one is added or taken away, only the tasks move that get
the new one or had the old one (rendezvous hashing, weighted: the first of exponential draws with
the shares as rates).
"""

import hashlib
import math
from collections.abc import Mapping

from ringlog.campaigns.settings import CampaignSettings


def caller_id_of(settings: CampaignSettings, task_id: str) -> str | None:
    """The number that a task's calls show, E.164; None: the campaign names none."""
    return _drawn(dict.fromkeys(settings.caller_ids, 1), "caller id", task_id)


def variant_of(settings: CampaignSettings, task_id: str) -> str | None:
    """The variant that leads a task's calls; None: the campaign names none."""
    return _drawn(settings.shares, "variant", task_id)


def _drawn(shares: Mapping[str, int], of: str, task_id: str) -> str | None:
    if len(shares) < 2:
        return next(iter(shares), None)
    return min(shares, key=lambda name: (_draw(of, task_id, name) / shares[name], name))


def _draw(*names: str) -> float:
    """Exponentially distributed with mean 1; the same for the same names."""
    digest = hashlib.sha256("|".join(names).encode()).digest()
    return -math.log((int.from_bytes(digest[:8]) + 1) / (2**64 + 1))
