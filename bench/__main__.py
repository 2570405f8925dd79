"""`python -m bench [--list] [--only NAME]… [--quick] [--write-docs]`, also `make bench`.

Exit code 0 whatever the figures are; 1 when a benchmark could not be carried out.
"""

import os
import shlex
import sys

import click
from rich.console import Console

from bench import report
from bench.measure import Result
from bench.runner import BENCHMARKS, kept, measured
from ringlog.settings import root, settings

DOCUMENT = root() / "docs" / "reference" / "benchmarks.md"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@click.command()
@click.option("--list", "listing", is_flag=True, help="Name the benchmarks and stop")
@click.option("--only", multiple=True, type=click.Choice(list(BENCHMARKS)), help="May be repeated")
@click.option("--quick", is_flag=True, help="Small sizes: whether it runs, not how fast")
@click.option("--write-docs", is_flag=True, help=f"Also into {DOCUMENT.relative_to(root())}")
def main(listing: bool, only: tuple[str, ...], quick: bool, write_docs: bool) -> None:  # fmt: skip
    """Compare with peers and limits, on the same work in one run, and print ratios."""
    if listing:
        for name, (_, title) in BENCHMARKS.items():
            click.echo(f"{name:<10} {title}")
        return
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    console = Console()
    path = settings().home / "bench.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    now: list[Result] = []
    for name in only or BENCHMARKS:
        console.print(f"{name}: {BENCHMARKS[name][1]} …", highlight=False)
        now.append(measured(name, quick, command))
        every = kept(path)
        every.results[name] = now[-1]
        path.write_text(every.model_dump_json(indent=2) + "\n", encoding="utf-8")
    report.show(now, console)
    console.print(f"written: {path}", highlight=False)
    if write_docs:
        results = kept(path).results
        generated = report.markdown([results[name] for name in BENCHMARKS if name in results])
        document = report.with_generated(DOCUMENT.read_text(encoding="utf-8"), generated)
        DOCUMENT.write_text(document, encoding="utf-8")
        console.print(f"written: {DOCUMENT}", highlight=False)
    if any(result.state == "failed" for result in now):
        sys.exit(1)


if __name__ == "__main__":
    main()
