"""`python -m streams.robots --name a`: the robot worker `robots-a`."""

import click

from ringlog.lifecycle import Lifecycle, run
from streams.robots.leadership import Timing
from streams.robots.worker import SHARD, Worker


@click.command()
@click.option("--name", default="a", show_default=True, help="a or b: the service robots-NAME.")
@click.option("--shard", default=SHARD, show_default=True, help="The shard to serve.")
def main(name: str, shard: str) -> None:
    """Speaks for the calls of a shard, or follows and takes over when the speaker dies."""

    async def serve(life: Lifecycle) -> None:
        await Worker(life, shard, Timing(death=life.settings.robot_death_s)).run()

    run(f"robots-{name}", serve)


if __name__ == "__main__":
    main()
