"""Error rates on noisy and echoing lines by every choice of cleaning, and what cleaning costs.

Speech goes through the edge's session and the ASR worker's core, as in a call: its own detectors
find the turns, so characters that nobody said count as errors, too.
"""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple

from bench.measure import Measure, Outcome
from bench.sound import noises
from bench.sound.cost import EdgeCost, LegCost, edge_costs, leg_costs
from bench.sound.far_end import EchoPath, in_noise, over_echo, turns
from bench.sound.hearing import Errors, Hearing
from bench.sound.material import Said, demo_people, recordings

NOISE_CHOICES: Final = ("off", "noise")
ECHO_CHOICES: Final = ("off", "auto", "echo")
SNR_DB: Final = (20, 10, 5)
GAINS_DB: Final = (-6, -18)
DELAYS_MS: Final = {"near": 30, "far": 200}
DEMO_LINES: Final = 60
ECHO_LINES: Final = 12

PROFILES: Final = ("demo", "fsmn")
GROUPS: Final = ("noise", "after", "over")


class ErrorRow(NamedTuple):
    """One condition: errors by choice. `group` is a chart, `name` a group of its bars."""

    recogniser: str
    group: str
    name: str
    errors: dict[str, Errors]


class SoundFigures(NamedTuple):
    """Everything that was measured."""

    rows: list[ErrorRow]
    costs: list[LegCost]
    edge: list[EdgeCost]


class Material(NamedTuple):
    """A recogniser's profile and its customers, so many a leg. Few speak again, in other noise."""

    profile: str
    said: list[Said]
    rounds: int
    a_leg: int


def noise_rows(hearing: Hearing, of: Material) -> list[ErrorRow]:
    """No noise, then each kind at each level."""
    out: list[ErrorRow] = []
    conditions = [(kind, snr) for kind in noises.KINDS for snr in SNR_DB]
    for kind, snr in [("none", 0), *conditions]:
        errors: dict[str, Errors] = {}
        for choice in NOISE_CHOICES:
            calls, texts = [], []
            for n in range(of.rounds):
                for at in range(0, len(of.said), of.a_leg):
                    group = of.said[at : at + of.a_leg]
                    make = noises.KINDS.get(kind)
                    noise = None if make is None else make(len(turns(group)), 1000 * n + at)
                    call = f"{of.profile}|{kind}|{snr}|{choice}|{n}|{at}"
                    calls.append(in_noise(call, group, noise, snr, choice, of.profile))
                    texts.append("".join(one.text for one in group))
            errors[choice] = hearing.errors(calls, texts)
        out.append(
            ErrorRow(of.profile, "noise", "none" if kind == "none" else f"{kind}|{snr} dB", errors)
        )
    return out


def echo_rows(hearing: Hearing, of: Material, over: bool) -> list[ErrorRow]:
    """The customer answers after a prompt, or speaks over it; near and far, at each gain."""
    out: list[ErrorRow] = []
    paths = [(where, gain) for where in DELAYS_MS for gain in GAINS_DB]
    for where, gain in [("none", 0), *paths]:
        errors: dict[str, Errors] = {}
        for choice in ECHO_CHOICES:
            calls = []
            for n, said in enumerate(of.said):
                path = EchoPath(DELAYS_MS[where], gain, n) if where != "none" else None
                call = f"{of.profile}|{where}|{gain}|{over}|{choice}|{n}"
                calls.append(over_echo(call, said, path, over, choice, of.profile))
            errors[choice] = hearing.errors(calls, [said.text for said in of.said])
        name = "none" if where == "none" else f"{where}|{gain} dB"
        out.append(ErrorRow(of.profile, "over" if over else "after", name, errors))
    return out


def rows_of(profile: str, group: str, quick: bool) -> list[ErrorRow]:
    """One group of conditions for one recogniser; raises Skipped without its files."""
    demo = profile == "demo"
    said = demo_people(DEMO_LINES) if demo else recordings()
    if group == "noise":
        few = said[:2] if quick else said
        rounds = 1 if quick or demo else 3
        return noise_rows(Hearing(), Material(profile, few, rounds, 6 if demo else 3))
    few = said[:2] if quick else said[:ECHO_LINES]
    return echo_rows(Hearing(), Material(profile, few, 1, 1), group == "over")


def measure_rows(groups: Sequence[str], quick: bool) -> list[ErrorRow]:
    """Groups of conditions for both recognisers; raises Skipped without their files."""
    tasks = [(profile, group, quick) for profile in PROFILES for group in groups]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        parts = [pool.submit(rows_of, *task) for task in tasks]
        return [row for part in parts for row in part.result()]


def measure_costs(quick: bool) -> tuple[list[LegCost], list[EdgeCost]]:
    """Of a leg, and of an edge."""
    edge = edge_costs(20, (0.0, 0.5), 1.0) if quick else edge_costs(300, (0.0, 0.1, 0.3), 5.0)
    return leg_costs(2 if quick else 20), edge


def mean_rate(rows: list[ErrorRow], choice: str) -> float:
    """Errors of all conditions by all characters, %."""
    errors = [row.errors[choice] for row in rows if choice in row.errors]
    return 100 * sum(e.wrong for e in errors) / sum(e.total for e in errors)


def outcome(found: SoundFigures) -> Outcome:
    """The main figures: error rates over all noises and over all echoes, by recogniser."""
    measures: list[Measure] = []
    for recogniser in PROFILES:
        for group, choice in (("noise", "noise"), ("after", "echo"), ("over", "echo")):
            rows = [
                r for r in found.rows
                if (r.recogniser, r.group) == (recogniser, group) and r.name != "none"
            ]  # fmt: skip
            what = {"noise": "in noise", "after": "after a prompt that echoes",
                    "over": "over a prompt that echoes"}[group]  # fmt: skip
            measures.append(
                Measure(
                    what=f"character errors {what}, {recogniser}, RINGLOG_CLEAN={choice}",
                    unit="%",
                    ours=mean_rate(rows, choice),
                    against="off",
                    theirs=mean_rate(rows, "off"),
                    bound="at most",
                )  # fmt: skip
            )
    costs = ", ".join(f"{c.choice} {c.ms_per_s:.1f} ms" for c in found.costs)
    return Outcome(measures=measures, notes=[f"CPU time a second of one leg's sound: {costs}"])


def run(quick: bool) -> Outcome:
    """As a benchmark among the others."""
    return outcome(SoundFigures(measure_rows(GROUPS, quick), *measure_costs(quick)))
