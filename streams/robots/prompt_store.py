"""Puts prompts on the log, so that edges on other machines can fetch them.

A list names every prompt that a playbook can play in a voice. Sounds are written first, lists next;
the playbook or the robot that needs them is published last.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from ringlog.audio.prompts import prompt_path, prompt_sha256
from ringlog.clock import now_ms
from ringlog.kafka.sync import Delivery, Producer, produce, producer_of
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import PromptList, PromptRef, PromptSound
from schemas.ids import published_id
from schemas.wire import Codec
from streams.robots.loading import Script
from streams.robots.playbook import Prompt
from streams.robots.pools import content_sha256
from streams.robots.spoken import pieces_needed

LISTS = "prompts"
SOUNDS = "prompts.audio"
PART_BYTES = 700 * 1024
"""Of a sound in one record."""


def spoken_pieces(prompt: Prompt) -> Iterator[tuple[str, str]]:
    """(wording, text) of every sound that a prompt may be made of."""
    texts = [text for one in prompt.all_wordings for text in one.texts.items()]
    if prompt.otherwise is not None:
        texts.append(("otherwise", prompt.otherwise))
    for wording, text in texts:
        for piece in pieces_needed(text):
            yield wording, piece


def prompt_names(script: Script, voice: str) -> list[str]:
    """Names of all sounds that a playbook can play in a voice."""
    prompts = script.playbook.prompts.values()
    pieces = {piece for prompt in prompts for _, piece in spoken_pieces(prompt)}
    return sorted(prompt_sha256(voice, piece) for piece in pieces)


def publish_prompts(
    config: Settings,
    codec: Codec,
    producer_name: str,
    wanted: Iterable[tuple[Script, Iterable[str]]],
    there: Sequence[Event],
) -> int:
    """Puts on the log what is not there yet, of scripts with the voices of the robots that run
    them; gives the number of sounds written. `there` are the lists on the log.

    Raises OSError for a prompt that was not made, and what producing raises.
    """
    lists = {(e.playbook, e.version, e.voice): e for e in there if isinstance(e, PromptList)}
    known = {ref.name: ref for one in lists.values() for ref in one.prompts}
    new: dict[str, bytes] = {}
    named: dict[tuple[str, str, str], list[str]] = {}
    for script, voices in wanted:
        for voice in ("", *voices):
            names = prompt_names(script, voice or script.playbook.voice)
            named[script.name, script.version, voice] = names
            for name in names:
                sound = prompt_path(config, name).read_bytes()
                ref = known.get(name)
                if ref is None or ref.sha256 != hashlib.sha256(sound).hexdigest():
                    new[name] = sound
    with closing(producer_of(config, producer_name)) as producer:
        sent = {name: _send(producer, codec, producer_name, new[name]) for name in sorted(new)}
        producer.flush()
        for name, (sha256, size, parts) in sent.items():
            offsets = [delivery.offset for delivery in parts]
            known[name] = PromptRef(name=name, sha256=sha256, size=size, offsets=offsets)
        for (playbook, version, voice), names in named.items():
            prompts = [known[name] for name in names]
            before = lists.get((playbook, version, voice))
            if before is not None and before.prompts == prompts:
                continue
            body = {"prompts": [ref.model_dump() for ref in prompts]}
            body["before"] = [] if before is None else [before.model_dump(include={"event_id"})]
            event = PromptList(
                event_id=published_id(LISTS, f"{playbook}@{version}/{voice}", content_sha256(body)),
                occurred_at=now_ms(),
                producer=producer_name,
                tenant_id=config.tenant_id,
                playbook=playbook,
                version=version,
                voice=voice,
                prompts=prompts,
            )
            produce(producer, codec, LISTS, event)
        producer.flush()
    return len(new)


def _send(
    producer: Producer, codec: Codec, service: str, sound: bytes
) -> tuple[str, int, list[Delivery]]:
    sha256 = hashlib.sha256(sound).hexdigest()
    parts = [sound[at : at + PART_BYTES] for at in range(0, len(sound), PART_BYTES)]
    sent = []
    for n, part in enumerate(parts):
        event = PromptSound(
            event_id=published_id(SOUNDS, f"{sha256}/{n}", sha256),
            occurred_at=now_ms(),
            producer=service,
            sha256=sha256,
            part=n,
            parts=len(parts),
            payload=part,
        )
        sent.append(produce(producer, codec, SOUNDS, event))
    return sha256, len(sound), sent
