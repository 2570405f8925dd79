"""Runs benchmarks, each in its own process, and records the context of their figures."""

import importlib
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from bench import machine
from bench.measure import Outcome, Result, Results, Skipped

BENCHMARKS = {
    "asr": ("bench.asr", "ASR worker core and a bare sherpa-onnx batch loop"),
    "campaigns": ("bench.campaigns", "a campaign of 100,000 contacts: import, dry run, restart"),
    "codec": ("bench.codec", "Codec of transcripts, fastavro and Apache avro"),
    "dispatch": ("bench.dispatch", "dispatch core with a long queue"),
    "edge": ("bench.edge", "RTP legs that one core of the edge carries"),
    "legs": ("bench.legs", "1,000 RTP legs and 200 connections for a minute on one core"),
    "sink": ("bench.sink", "history sink and ClickHouse's own Kafka engine"),
    "sound": ("bench.sound.run", "recognition with and without cleaned sound"),
    "safety": ("bench.safety", "cost of acknowledgements and of a standby"),
    "lines": ("bench.lines.run", "what a far end hears, and when, through a real Asterisk"),
    "held": ("bench.lines.held", "calls held through a real Asterisk, and what gives first"),
    "latency": ("bench.latency", "answers of eight calls at once, through everything"),
}
"""Name -> module with `run(quick) -> Outcome`, and what it is about."""


def carry_out(module: str, quick: bool) -> Outcome:
    """Runs one benchmark; in a process of its own, so that none inherits another's memory."""
    outcome: Outcome = importlib.import_module(module).run(quick)
    return outcome


def measured(name: str, quick: bool, command: str) -> Result:
    """Runs one benchmark and records the context of its figures."""
    module, title = BENCHMARKS[name]
    at, began_s, load_before = datetime.now(UTC), time.monotonic(), machine.load()
    state, reason, outcome = "measured", "", Outcome()
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            outcome = pool.submit(carry_out, module, quick).result()
        if quick:  # small sizes say nothing about a budget
            for measure in outcome.measures:
                measure.budget = None
    except Skipped as why:
        state, reason = "skipped", str(why)
    except BrokenProcessPool:
        state, reason = "failed", "its process died"
    except Exception as error:  # one benchmark's failure must not stop the others
        state, reason = "failed", f"{type(error).__name__}: {error}"
    return Result.model_validate(
        {
            "name": name, "title": title, "state": state, "reason": reason, "outcome": outcome,
            "quick": quick, "command": command, "at": at.isoformat(timespec="seconds"),
            "commit": machine.commit(), "wall_s": time.monotonic() - began_s,
            "load_before": load_before, "load_after": machine.load(),
            "machine": machine.this_machine(), "versions": machine.versions(),
        }
    )  # fmt: skip


def kept(path: Path) -> Results:
    """Results of earlier runs; empty without a readable file."""
    try:
        return Results.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Results()
