"""`python -m bench.allocation.parts`: what it costs to spread a pool over parts.

A part is a pool of its own, on its own partition. A task goes to a part by its number, so that
one part alone knows all of a number; robots are dealt out by what they can do. Parts lend each
other nothing: this is the upper bound of the cost.
"""

import random
from collections.abc import Iterable, Sequence

import click

from bench.allocation import ours
from bench.allocation.load import PRIORITIES, SimTask, Staff, jobs, staff
from bench.allocation.outcome import Served, figures
from schemas.partition import partition_of


def dealt(robots: Iterable[Staff], count: int) -> list[list[Staff]]:
    """Robots dealt out like cards, those with the same skills one after another: of any such group
    two parts differ by one robot at most."""
    out: list[list[Staff]] = [[] for _ in range(count)]
    order = sorted(robots, key=lambda r: (sorted(r.skills.items()), r.robot_id))
    for n, robot in enumerate(order):
        out[n % count].append(robot)
    return out


def by_number(load: Iterable[SimTask], count: int) -> list[list[SimTask]]:
    """Tasks by the hash of their number; in the simulation each has its own."""
    out: list[list[SimTask]] = [[] for _ in range(count)]
    for job in load:
        out[partition_of(f"+8613{job.n:09d}", count)].append(job)
    return out


def simulate(robots: Sequence[Staff], load: Sequence[SimTask], count: int) -> list[Served]:
    """Serves the load with so many parts."""
    parts = zip(dealt(robots, count), by_number(load, count), strict=True)
    return [served for people, part in parts for served in ours.simulate(people, part)]


@click.command()
@click.option("--robots", default=400)
@click.option("--minutes", default=60)
def main(robots: int, minutes: int) -> None:
    """Prints a table in Markdown."""
    people, load = staff(robots, random.Random(0)), jobs(robots, minutes, random.Random(1))
    click.echo("| parts | " + " | ".join(f"wait, {p}: mean / longest" for p in PRIORITIES)
               + " | valued served by specialists | value served | not served |")  # fmt: skip
    click.echo("|---:" * (len(PRIORITIES) + 4) + "|")
    for count in (1, 2, 4, 8):
        served = simulate(people, load, count)
        found = figures(served, people)
        waits = (found.waits[p] for p in PRIORITIES)
        row = [str(count), *(f"{mean:.0f} s / {longest:.0f} s" for mean, _, longest in waits),
               f"{found.valued_by_specialists:.0%}", f"{found.value:,.0f}",
               str(len(load) - len(served))]  # fmt: skip
        click.echo("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
