"""`ringlog analytics`: the job on a session cluster instead of the service's own mini cluster."""

import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import urllib3

from cli.errors import CheckFailed, NotRunning, need_kafka, need_registry
from ringlog.lifecycle import run
from ringlog.settings import root, settings
from streams.analytics import options
from streams.analytics.watch import judge

_PACKAGES = ("ringlog", "schemas", "streams/analytics")


class _Address(click.ParamType):
    name = "HOST:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return host, int(port)


@click.group()
def analytics() -> None:
    """Run the analytics job on a Flink session cluster."""


@analytics.command()
@click.option(
    "--jobmanager", type=_Address(), required=True, help="REST address of the job manager."
)
@click.option("--parallelism", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--python",
    default="python3",
    show_default=True,
    help="Interpreter on the task managers; it needs the packages of requirements.lock.",
)
@click.option("--checkpoints", help="URI for checkpoints; left out: the cluster's own setting.")
@click.option(
    "--wait-s", type=float, default=120.0, show_default=True, help="For all tasks to run."
)
def submit(
    jobmanager: tuple[str, int],
    parallelism: int,
    python: str,
    checkpoints: str | None,
    wait_s: float,
) -> None:
    """Submit the job and wait until it runs. It needs `ringlog analytics ticks` somewhere."""
    config = settings()
    need_kafka(config)
    need_registry(config)
    host, port = jobmanager
    cluster = f"http://{host}:{port}"
    _get(cluster, "/overview")
    options.prepare_process(config)
    from streams.analytics import job
    from streams.analytics.statements import statements

    sql = statements(config)
    with packed_code() as code:
        flink = options.remote(host, port, python, code, parallelism, checkpoints)
        tables = job.build(config, sql, flink)
        job_id = str(job.start(tables, sql).get_job_id())
    click.echo(job_id)
    _wait_until_running(cluster, job_id, wait_s)


@analytics.command()
def ticks() -> None:
    """Only write the ticks that keep event time moving, until stopped."""
    from streams.analytics.host import SERVICE, only_ticks

    run(SERVICE, only_ticks)


@contextmanager
def packed_code() -> Iterator[Path]:
    """A zip of the packages that the job's Python functions import; gone after use."""
    with tempfile.TemporaryDirectory(prefix="ringlog-") as folder:
        path = Path(folder) / "ringlog_analytics.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.write(root() / "streams" / "__init__.py", "streams/__init__.py")
            for package in _PACKAGES:
                for source in sorted((root() / package).rglob("*.py")):
                    file.write(source, source.relative_to(root()))
        yield path


def _wait_until_running(cluster: str, job_id: str, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        state = judge(_get(cluster, f"/jobs/{job_id}"))
        if not state.waiting_for:
            click.echo("running", err=True)
            return
        if state.over:
            raise CheckFailed(
                f"job {job_id} is {state.state}; see {cluster}/jobs/{job_id}/exceptions"
            )
        if time.monotonic() > deadline:
            raise CheckFailed(
                f"job {job_id} does not run after {wait_s:.0f} s: {state.waiting_for}"
            )
        time.sleep(0.5)


def _get(cluster: str, path: str) -> dict[str, Any]:
    try:
        answer = urllib3.request("GET", cluster + path, timeout=10, retries=False)
        body = answer.json()
    except (urllib3.exceptions.HTTPError, ValueError):
        raise NotRunning(f"no job manager of Flink answers at {cluster}") from None
    if answer.status != 200 or not isinstance(body, dict):
        raise NotRunning(f"{cluster}{path} answers {answer.status}: is it a job manager of Flink?")
    return body
