"""Which wording a customer hears: by profile, and among variants by Thompson sampling."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.events import VariantWindow
from streams.robots.playbook import Condition, Prompt

Posterior = dict[str, dict[str, float]]
"""By variant: alpha and beta of its Beta distribution, and the draw from it."""

Counts = Mapping[tuple[str, str, str], tuple[int, int]]
"""(plays, successes) by (campaign, node, variant)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A text to say, its variant's name, and the posterior where there was a choice."""

    text: str
    variant: str
    posterior: Posterior | None = None


def fits(condition: Condition, profile: Mapping[str, Any]) -> bool:
    """Whether a profile (fields of `customers.profiles`) meets the condition."""
    tags = profile.get("tags")
    tags = tags if isinstance(tags, list) else []
    checks = [
        not condition.level or profile.get("level") in condition.level,
        not condition.tags or any(tag in condition.tags for tag in tags),
        not condition.last_emotion or profile.get("last_emotion") in condition.last_emotion,
        _at_least(profile.get("purchases"), condition.purchases_at_least),
        _at_least(profile.get("answered_calls"), condition.answered_calls_at_least),
    ]
    return all(checks)


def _at_least(value: Any, least: int | None) -> bool:
    return least is None or (isinstance(value, int | float) and value >= least)


def choose(
    prompt: Prompt,
    profile: Mapping[str, Any],
    *,
    seed: str,
    campaign: str,
    node: str,
    counts: Counts,
    keep: str | None = None,
    named: str | None = None,
) -> Choice:
    """The wording for this customer. `keep` names a variant to stay with, if it still fits;
    `named` is what the campaign chose for the call: a wording's variant of that name is said;
    `seed` is the causing event's id, so that the same input draws the same."""
    texts = next(
        w.texts for w in prompt.all_wordings if not w.when or any(fits(c, profile) for c in w.when)
    )
    if keep in texts:
        return Choice(texts[keep], keep)
    chosen = next((v for v in texts if named and v.rpartition("/")[2] == named), None)
    if chosen is not None:
        return Choice(texts[chosen], chosen)
    if len(texts) == 1:
        ((variant, text),) = texts.items()
        return Choice(text, variant)
    posterior: Posterior = {}
    for variant in texts:
        plays, successes = counts.get((campaign, node, variant), (0, 0))
        alpha, beta = 1 + successes, 1 + max(0, plays - successes)
        draw = _beta(f"{seed}/{node}/{variant}", alpha, beta)
        posterior[variant] = {"alpha": alpha, "beta": beta, "draw": round(draw, 6)}
    best = max(posterior, key=lambda v: (posterior[v]["draw"], v))
    return Choice(texts[best], best, posterior)


def _beta(seed: str, alpha: float, beta: float) -> float:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest())
    return random.Random(number).betavariate(alpha, beta)  # noqa: S311 # not for secrets


class VariantCounts:
    """Folds `analytics.variant_windows`: of each window the highest revision counts.

    Only windows of one size are added up; two sizes cover the same plays.
    """

    def __init__(self, size_ms: int = 60_000) -> None:
        self._size_ms = size_ms
        self._windows: dict[tuple[str, str, str, int], tuple[int, int, int]] = {}
        self.totals: dict[tuple[str, str, str], tuple[int, int]] = {}

    def evolve(self, event: VariantWindow) -> None:
        """Folds one revision of one window."""
        if event.window_end - event.window_start != self._size_ms:
            return
        key = event.campaign_id or "", event.node, event.variant
        window = (*key, event.window_start)
        revision, plays, successes = self._windows.get(window, (-1, 0, 0))
        if event.revision <= revision:
            return
        self._windows[window] = event.revision, event.plays, event.successes
        all_plays, all_successes = self.totals.get(key, (0, 0))
        self.totals[key] = (
            all_plays + event.plays - plays,
            all_successes + event.successes - successes,
        )
