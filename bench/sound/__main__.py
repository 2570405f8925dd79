"""`python -m bench.sound [--only PART]… [--quick] [--write-docs]`: figures on cleaned sound.

Parts are kept in `sound.json` under the site's home until they are measured again; the page is made
of all of them. Exit code 0 whatever the figures are; 1 when it could not be carried out.
"""

import os
import sys
from datetime import UTC, datetime
from typing import Any

import click

from bench import machine
from bench.measure import Skipped
from bench.report import with_generated
from bench.sound import page
from bench.sound.kept import Kept, KeptPart
from bench.sound.run import GROUPS, measure_costs, measure_rows
from ringlog.settings import root, settings

DOCUMENT = root() / "docs" / "why" / "clean-sound.md"
PARTS = (*GROUPS, "cost")


@click.command()
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="May be repeated")
@click.option("--quick", is_flag=True, help="Small sizes: whether it runs, not what comes out")
@click.option("--write-docs", is_flag=True, help=f"Also into {DOCUMENT.relative_to(root())}")
def main(only: tuple[str, ...], quick: bool, write_docs: bool) -> None:
    """Error rates with and without noise suppression and echo cancellation, and their cost."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    path = settings().home / "sound.json"
    kept = Kept.read(path)
    wanted = only or PARTS
    try:
        if groups := [part for part in wanted if part in GROUPS]:
            load = machine.load()
            rows = measure_rows(groups, quick)
            for group in groups:
                kept.parts[group] = _part(load, rows=[r for r in rows if r.group == group])
        if "cost" in wanted:
            load = machine.load()
            costs, edge = measure_costs(quick)
            kept.parts["cost"] = _part(load, costs=costs, edge=edge)
    except Skipped as why:
        click.echo(f"skipped: {why}", err=True)
        sys.exit(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(kept.model_dump_json(indent=1) + "\n", encoding="utf-8")
    found = kept.found()
    text = page.tables(found, kept.remarks())
    click.echo(text)
    if write_docs:
        for name, chart in page.charts(found).items():
            DOCUMENT.with_name(name).write_text(chart, encoding="utf-8")
        document = DOCUMENT.read_text(encoding="utf-8")
        document = with_generated(document, text, page.BEGIN, page.END)
        DOCUMENT.write_text(document, encoding="utf-8")


def _part(load: float, **figures: Any) -> KeptPart:
    where = machine.this_machine()
    remark = (
        f"`{' '.join(['python -m bench.sound', *sys.argv[1:]])}`, "
        f"{datetime.now(UTC).isoformat(timespec='minutes')}, commit {machine.commit()}; "
        f"{where.cpu}, {where.cores} cores, load average {load:.1f} before"
    )
    return KeptPart(remark=remark, **figures)


if __name__ == "__main__":
    main()
