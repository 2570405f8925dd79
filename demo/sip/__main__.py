"""A carrier with simulated people behind it, as a process: `python -m demo.sip --manifest FILE …`.

Numbers that nobody has are answered by an agent, to whom calls are transferred. What really
happens goes to the manifest's log, a JSON object a line, with the person's number as `phone`.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from demo.handset import Handset, sounds_of
from demo.people import Person
from demo.sip.call import SipCall
from demo.sip.carrier import SipCarrier
from ringlog.audio import wav
from ringlog.settings import settings

MAX_CALL_S = 120
"""A call that nobody ends is ended by the carrier."""

_AGENT_S = 2.0
"""How long the agent talks to a customer."""


class Household:
    """All people of a carrier, and what they do when they are called."""

    def __init__(self, manifest: Mapping[str, Any], name: str) -> None:
        self.name = name
        prompts = settings().prompts_dir
        self._prompts = {
            prompt: wav.read(prompts / f"{sha}.wav")[0]
            for prompt, sha in manifest["prompts"].items()
        }
        self._people = {p: Person.model_validate(d) for p, d in manifest["people"].items()}
        self._sounds = sounds_of(self._people)
        self._log = open(manifest["log"], "a", encoding="utf-8", buffering=1)  # noqa: SIM115 # open for the life of the process

    async def take(self, call: SipCall) -> None:
        """A call: of a person, or of the agent."""
        phone = f"+{call.number.lstrip('+')}"
        person = self._people.get(phone)
        call.ring()
        if person is None:
            await self._agent(call)
            return
        note = partial(self._note, phone)
        note("rings", carrier=self.name, shown=call.caller, wall_ms=_now_ms())
        try:
            await asyncio.sleep(person.answers_after_ms / 1000)
            call.answer()
            note("answered", carrier=self.name, wall_ms=_now_ms())
            call.media.put_on(Handset(person, self._sounds[person.name], self._prompts, note))
            await asyncio.sleep(MAX_CALL_S)
            call.hang_up()
        finally:  # the call's end stops this script
            by = call.ending.by if call.ending is not None else "nobody"
            note("over", carrier=self.name, by=by, wall_ms=_now_ms())

    async def _agent(self, call: SipCall) -> None:
        call.answer()
        self._note(call.number, "agent", carrier=self.name, wall_ms=_now_ms())
        await asyncio.sleep(_AGENT_S)
        call.hang_up("Q.850;cause=16")

    def _note(self, phone: str, event: str, **fields: object) -> None:
        self._log.write(json.dumps({"event": event, "phone": phone} | fields) + "\n")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _serve(household: Household, host: str, port: int) -> None:
    carrier = SipCarrier(household.name, host, port)
    carrier.default = household.take
    await carrier.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.sip", description="A carrier of people.")
    parser.add_argument("--manifest", type=Path, required=True, help="people, prompts, log: JSON")
    parser.add_argument("--name", required=True, help="the carrier's name in the log")
    parser.add_argument("--host", default="127.0.0.11")
    parser.add_argument("--port", type=int, default=5060)
    asked = parser.parse_args()
    manifest = json.loads(asked.manifest.read_text(encoding="utf-8"))
    uvloop.run(_serve(Household(manifest, asked.name), asked.host, asked.port))


if __name__ == "__main__":
    main()
