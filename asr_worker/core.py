"""The worker without Kafka: records of `media.audio` in, `asr.transcripts` out, offsets to commit.

One transcriber serves the legs of all partitions, so that every batch is as large as it can be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asr_worker.bank import Detector
from asr_worker.legs import (
    CustomerLeg,
    CustomerLegKey,
    LastFinal,
    PartitionLegs,
    Source,
    Substituted,
)
from asr_worker.recogniser import Recognisers
from asr_worker.resume import Resume
from asr_worker.rules import POINT, SAMPLES_PER_MS
from asr_worker.transcriber import Final, Partial, Transcriber
from schemas import ids
from schemas.events import MediaChunk, Token, Transcript

SERVICE = "asr"


@dataclass(frozen=True, slots=True)
class Output:
    """One transcript and the partition that it belongs to.

    `due_ms` is when, by Kafka's clock, the turn's silence was over: finals are late from there on.
    """

    partition: int
    transcript: Transcript
    due_ms: float


class Core:
    """All state of a worker. Results depend on the log alone."""

    def __init__(
        self,
        recognisers: Recognisers,
        detector: Detector,
        substituted: Substituted = lambda asked, given: None,
    ) -> None:
        self._recognisers = recognisers
        self._substituted = substituted
        self._transcriber = Transcriber(detector, recognisers.get)
        self._partitions: dict[int, PartitionLegs] = {}

    def assign(
        self,
        partition: int,
        closed: Mapping[CustomerLegKey, LastFinal],
        resume: Resume | None = None,
    ) -> None:
        """Take a partition over; `closed` has the last of each leg's finals, `resume` the commit's
        notes on the legs after it."""
        self._partitions[partition] = PartitionLegs(
            self._transcriber, self._recognisers, closed, resume, self._substituted
        )

    def revoke(self, partition: int) -> None:
        """Forget a partition."""
        self._partitions.pop(partition).drop()

    @property
    def partitions(self) -> list[int]:
        """The partitions that are served."""
        return list(self._partitions)

    @property
    def legs(self) -> int:
        """Number of legs in work."""
        return self._transcriber.bank.legs

    def accept(self, partition: int, offset: int, timestamp_ms: int, chunk: MediaChunk) -> None:
        """Take in one record; raises `legs.BadChunk`."""
        self._partitions[partition].accept(offset, timestamp_ms, chunk)

    def skip(self, partition: int, offset: int, timestamp_ms: int) -> None:
        """A record that is no chunk was read."""
        self._partitions[partition].tick(offset, timestamp_ms)

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return self._transcriber.busy

    def step(self, clock_s: Callable[[], float]) -> list[Output]:
        """Judge and decode a part of what was taken in; call while `busy`.

        `clock_s` measures `decode_ms` and decides nothing.
        """
        began_s = clock_s()
        step = self._transcriber.step()
        decode_ms = (clock_s() - began_s) * 1000
        outputs = []
        for partial in step.partials:
            partition, legs = self._owner(partial.slot)
            leg = legs.leg_of(partial)
            event = _partial(leg, partial, decode_ms)
            outputs.append(Output(partition, event, 0.0))
        for final in step.finals:
            partition, legs = self._owner(final.slot)
            outputs.append(_final(partition, legs.leg_of(final), final, decode_ms))
        for slot in step.ended:
            self._owner(slot)[1].released(slot)
        return outputs

    def commit_offsets(self) -> dict[int, int]:
        """What each partition may be committed to, once all outputs so far are acknowledged."""
        return {number: legs.commit_offset() for number, legs in self._partitions.items()}

    def resume(self, partition: int) -> Resume:
        """The metadata for the partition's offset that `commit_offsets` has just given."""
        return self._partitions[partition].resume()

    def _owner(self, slot: int) -> tuple[int, PartitionLegs]:
        return next((n, legs) for n, legs in self._partitions.items() if legs.owns(slot))


def _common(leg: CustomerLeg, start: int, kind: str, n: int, source: Source) -> dict[str, object]:
    call_id, name, ssrc = leg.key
    utterance_id = ids.utterance_id(call_id, name, ssrc, start)
    return {
        **dict(source.envelope),
        "event_id": ids.event_id(utterance_id, kind, n),
        "kind": kind,
        "producer": SERVICE,
        "causation_id": source.event_id,
        "call_id": call_id,
        "leg": name,
        "ssrc": ssrc,
        "utterance_id": utterance_id,
        "start_ms": leg.call_ms(start),
    }


def _occurred_at(source: Source, sample: int) -> int:
    return source.occurred_at + max(sample - source.at, 0) // SAMPLES_PER_MS


def _partial(leg: CustomerLeg, partial: Partial, decode_ms: float) -> Transcript:
    source = leg.source_of(partial.at - 1)
    return Transcript.model_validate(
        {
            **_common(leg, partial.start, "partial", partial.at // POINT, source),
            "occurred_at": _occurred_at(source, partial.at),
            "text": partial.text,
            "end_ms": leg.call_ms(partial.at),
            "mark": partial.mark,
            "model": partial.model,
            "decode_ms": decode_ms,
        }
    )


def _final(partition: int, leg: CustomerLeg, final: Final, decode_ms: float) -> Output:
    source = leg.source_of(final.mark - 1)
    tokens = [Token(text=text, start_ms=leg.start_ms + at_ms) for text, at_ms in final.tokens]
    transcript = Transcript.model_validate(
        {
            **_common(leg, final.start, "final", 0, source),
            "occurred_at": _occurred_at(source, final.over),
            "text": final.text,
            "end_ms": leg.call_ms(final.end),
            "mark": final.mark,
            "tokens": tokens,
            "confidence": final.confidence,
            "gaps_ms": leg.holes_ms(final.sound_from, final.mark),
            "model": final.model,
            "decode_ms": decode_ms,
        }
    )
    speech_end_ms = source.timestamp_ms - (source.end - final.end) / SAMPLES_PER_MS
    return Output(partition, transcript, speech_end_ms + final.silence_ms)
