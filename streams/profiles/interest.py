"""How a turn changes the customer's purchase intention."""

from schemas.events import Turn

_TOWARDS: dict[str, float] = {
    "register": 1.0, "send_info": 0.9, "ask_price": 0.8, "ask_details": 0.8, "ask_discount": 0.8,
    "consider": 0.5, "price_objection": 0.4, "reject": 0.0, "opt_out": 0.0,
}  # fmt: skip
"""The value towards which a meaning moves purchase intention. Other meanings have no effect. Nor
has a yes, which depends on the question: 是的 also answers "are you Mr Li?". Where a yes is a wish
to buy, the playbook gives the outcome `interested`."""

_OUTCOMES = {"interested": 1.0, "opted_out": 0.0}

STEP = 0.4
"""The share of the distance to that value that one certain turn covers."""


def purchase_intent(before: float, turn: Turn) -> float:
    """Purchase intention, 0 to 1, after a turn; rounded, so that it is the same on every replay."""
    after = before
    target = _TOWARDS.get(turn.meaning or "")
    if target is not None:
        weight = STEP * min(1.0, max(0.0, turn.confidence))
        if turn.emotion == "angry" and target > before:
            weight = 0.0  # an angry yes does not count
        after += weight * (target - after)
    outcome = _OUTCOMES.get(turn.outcome or "")
    if outcome is not None:
        after += STEP * (outcome - after)
    return round(after, 4)
