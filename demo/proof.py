"""The result of `ringlog verify` for a run, from its command line."""

import asyncio
import json
import sys

from ringlog.settings import Settings
from stack import environment

_SHOWN = 3


async def failures_of_verify(config: Settings) -> list[str]:
    """Every check that found violations, with the first few of them."""
    asked = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "verify", "--json", "--settle", "60",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment.of_services(config),
    )  # fmt: skip
    said, complaint = await asked.communicate()
    try:
        report = json.loads(said)
    except ValueError:
        return [f"ringlog verify gave no report: {complaint.decode('utf-8', 'replace')[-500:]}"]
    return failures_in(report)


def failures_in(report: dict[str, object]) -> list[str]:
    """A line a check that found something, from `ringlog verify --json`."""
    checks = report["checks"]
    assert isinstance(checks, list)
    return [
        f"verify: {check['title']}: {check['violations']} violations: "
        + "; ".join(found["text"] for found in check["found"][:_SHOWN])
        for check in checks
        if check["violations"]
    ]
