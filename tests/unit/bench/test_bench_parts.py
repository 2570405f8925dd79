"""Decisions of single benchmarks: which number of legs counts, what a demo's report says."""

import json
from pathlib import Path

from click.testing import CliRunner

from bench import kafka_engine, speech, transcripts
from bench.__main__ import main
from bench.edge import Step, best
from bench.edge_sender import GROUPS, send
from bench.latency import outcome_of
from bench.measure import Outcome
from bench.runner import BENCHMARKS, kept, measured
from demo.report import Report
from schemas.registry import MemoryRegistry
from schemas.wire import Codec


def step(legs: int, lost: int = 0, dropped: int = 0, share: float = 0.5) -> Step:
    return Step(legs, 1_000, 1_000 - lost, dropped, share, 1.0)


def test_the_largest_number_without_loss_below_a_core_counts() -> None:
    steps = [step(200), step(400), step(600, lost=1), step(500, dropped=1), step(800, share=1.0)]
    found = best(steps)
    assert found is not None and found.legs == 400
    assert best([step(200, lost=3)]) is None


def test_the_sender_keeps_to_its_time() -> None:
    sent = send([9] * GROUPS, 0.1)
    assert sent.packets == 5 * GROUPS
    assert sent.wall_s > 0.09


def test_transcripts_are_events_of_their_topic() -> None:
    codec = Codec(MemoryRegistry())
    made = list(transcripts.records(30))
    assert [codec.decode("asr.transcripts", codec.encode("asr.transcripts", r)).kind for r in made][
        :3
    ] == ["partial", "partial", "final"]
    assert len({r["event_id"] for r in made}) == 30
    assert made == list(transcripts.records(30))


def test_a_leg_is_as_long_as_asked_and_speaks() -> None:
    octets, share = speech.leg(3, 4.0, 18.0, speech.SHORT_ANSWERS)
    assert len(octets) == 32_000
    assert 0.2 < share < 0.9
    chunks = speech.chunks(3, octets)
    assert b"".join(c.payload for c in chunks) == octets
    assert [c.rtp_ts for c in chunks] == list(range(0, 32_000, 800))


def test_a_demo_report_is_held_against_the_budgets() -> None:
    report = Report.model_validate(
        {
            "ok": False, "failures": ["late"], "calls": {}, "asr": {"cer": 0.01}, "intents": {},
            "final_ms": {"p50": 400, "p95": 520, "max": 600},
            "directive_ms": {"p50": 9, "p95": 20, "max": 60},
            "clickhouse": {}, "windows": 1, "tasks": {}, "profiles_updated": 1,
            "first_transcript_s": 40.0, "wall_s": 90.0, "versions": {},
        }
    )  # fmt: skip
    outcome = outcome_of(report, 8)
    assert [m.met for m in outcome.measures] == [False, True]
    assert "the demo says: late" in outcome.notes


def test_the_engine_writes_into_the_given_table() -> None:
    task = kafka_engine.Task(
        "/f", "b:1", "http://r", "t", "raw_t", "CREATE TABLE raw_t", [("x", "String")], 3
    )
    table, queue, view = kafka_engine.statements(task)
    assert table == "CREATE TABLE raw_t"
    assert "(`x` String) ENGINE = Kafka" in queue and "kafka_format = 'AvroConfluent'" in queue
    assert view.endswith("TO raw_t AS SELECT `x`, _partition, _offset FROM queue")


def test_the_engine_is_watched_until_all_rows_are_there() -> None:
    counts = iter([0, 0, 2, 3])
    asked: list[str] = []

    def execute(sql: str) -> str:
        asked.append(sql)
        return f"{next(counts)}\n" if sql.startswith("SELECT count()") else ""

    task = kafka_engine.Task("/f", "b", "r", "t", "raw_t", "CREATE TABLE raw_t", [], 3)
    assert [s.rows for s in kafka_engine.consume(execute, task)] == [0, 0, 2, 3]
    assert asked[0] == "CREATE TABLE raw_t"


def test_a_package_that_may_not_be_installed_is_missing(tmp_path: Path) -> None:
    assert kafka_engine.package(tmp_path, install=False) is None
    init = tmp_path / f"chdb-{kafka_engine.CHDB}" / "chdb" / "__init__.py"
    init.parent.mkdir(parents=True)
    init.touch()
    assert kafka_engine.package(tmp_path, install=False) == init.parent.parent


def test_what_cannot_run_is_a_result_and_no_crash() -> None:
    BENCHMARKS["broken"] = ("bench.no_such_module", "nothing")
    try:
        found = measured("broken", True, "python -m bench")
    finally:
        del BENCHMARKS["broken"]
    assert found.state == "failed" and "no_such_module" in found.reason
    assert found.outcome == Outcome()


def test_a_spoilt_file_of_results_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    assert kept(path).results == {}
    path.write_text(json.dumps({"results": {"asr": {}}}))
    assert kept(path).results == {}


def test_the_command_lists_its_benchmarks() -> None:
    shown = CliRunner().invoke(main, ["--list"])
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.output.splitlines()] == list(BENCHMARKS)
    assert CliRunner().invoke(main, ["--only", "nothing"]).exit_code == 2
