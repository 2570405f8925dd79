"""What cleaning costs: CPU time of a leg, and of the edge with a share of its legs cleaned."""

import resource
import time
from typing import Final, NamedTuple

import numpy as np

from bench.edge import Step, attempt
from bench.sound.far_end import LINE_NOISE_RMS
from bench.sound.material import PROMPTS, spoken
from ingest.sound.clean_line import CleanLine, CleanThreads
from ingest.sound.cleaning import CHOICES
from ingest.sound.types import PCMU, Frame, Leg
from ringlog.audio.g711 import encode

ROUNDS: Final = 3


class LegCost(NamedTuple):
    """CPU time of one choice, ms a second of one leg's sound: the least of the rounds."""

    choice: str
    ms_per_s: float

    @property
    def per_core(self) -> float:
        """Cleaned legs that use up a core, for the cleaning alone."""
        return 1000 / self.ms_per_s


def leg_costs(seconds: int) -> list[LegCost]:
    """Of every choice, on speech both ways all the time, with its echo; `auto` also without, and
    where nothing comes back but the line's noise."""
    size, leg = PCMU.frame_samples, Leg("customer", 1, 0, 0, PCMU.rate_hz)
    ours = np.resize(spoken(PROMPTS[1], ""), seconds * PCMU.rate_hz)
    alone = np.resize(spoken(PROMPTS[0], "+f3"), len(ours))
    noise = np.random.default_rng(1).normal(0, LINE_NOISE_RMS, len(ours))
    said, heard, heard_alone, quiet = (
        encode("pcmu", np.clip(sound, -32768, 32767).astype(np.int16))
        for sound in (ours, alone + 0.2 * np.roll(ours, 1600), alone, noise)
    )
    packets = range(len(ours) // size)
    said_frames = [said[n * size : (n + 1) * size] for n in packets]
    out: list[LegCost] = []
    choices = [(name, cleaning, heard) for name, cleaning in CHOICES.items() if cleaning.any]
    choices += [
        ("auto, no echo", CHOICES["auto"], heard_alone),
        ("auto, nothing comes back", CHOICES["auto"], quiet),
    ]
    for choice, cleaning, sound in choices:
        frames = [
            Frame(leg, n, n * size, sound[n * size : (n + 1) * size], "pcmu", 0) for n in packets
        ]
        spent: list[float] = []
        for _ in range(ROUNDS):
            line = CleanLine("cost", cleaning, PCMU, CleanThreads(0))
            began_s = time.process_time()
            for n in packets:
                line.push(frames[n])
                line.said(n, said_frames[n])
                line.ticked(n)
                line.take()
            spent.append(time.process_time() - began_s)
        out.append(LegCost(choice, min(spent) * 1000 / seconds))
    return out


class EdgeCost(NamedTuple):
    """The edge with a number of legs, some of them cleaned."""

    cleaned: int
    step: Step


def edge_costs(legs: int, shares: tuple[float, ...], seconds: float) -> list[EdgeCost]:
    """CPU time and losses of the edge, records encoded and dropped, by the share that is cleaned
    (noise+echo, on a thread beside the loop)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts = [round(legs * share) for share in shares]
    return [EdgeCost(n, attempt("edge", legs, seconds, None, cleaned=n)) for n in counts]
