"""Tries a playbook on a text, outside a call: for authors and tests."""

from typing import Any

from schemas.ids import root_id
from streams.robots.dialogue import decide
from streams.robots.inputs import Input, Scene
from streams.robots.loading import Script
from streams.robots.meanings import IRREVERSIBLE
from streams.robots.state import CallFacts, Dialogue, Playout, Said
from streams.robots.understanding import Understander


def understood(
    script: Script, text: str, at_ms: int, node: str | None = None, *, identified: bool = False
) -> dict[str, Any]:
    """{intent, meaning, confidence, margin, certain, entities, alternatives} of a text said at a
    time (ms since 1970); with a `node` also `does`: what the robot does there.

    `meaning` is the intent's; one that cannot be undone is acted upon only where `certain`.
    """
    understander = Understander.of(script.playbook)
    heard = understander.understand(text, at_ms)
    found: dict[str, Any] = {
        "intent": heard.intent,
        "meaning": heard.meaning,
        "confidence": heard.confidence,
        "margin": heard.margin,
        "certain": heard.certain or heard.meaning not in IRREVERSIBLE,
        "entities": heard.slots,
        "alternatives": [{"intent": name, "confidence": c} for name, c in heard.alternatives],
    }
    if node is None:
        return found
    # The node's prompt was played to its end.
    said = Said("prompt", script.playbook.nodes[node].prompt or "", "speech", at_ms)
    state = Dialogue(node=node, said=(said,), identified=identified)
    facts = CallFacts(
        "trial", answered=True, playouts={"prompt": Playout(at_ms, (at_ms, "end"), 1_000, 1_000)}
    )
    scene = Scene(script, understander, script.playbook.voice, {}, "trial", 0)
    given = Input("final", root_id("trial", text), at_ms, text)
    decision = decide(state, facts, given, scene, at_ms)
    turn = decision.turn
    found["does"] = {
        "node": turn.node,
        "outcome": turn.outcome,
        "asked": turn.asked,
        "directives": [
            {"kind": d.kind, "prompt": d.prompt_id, "text": d.text} for d in decision.directives
        ],
    }
    return found
