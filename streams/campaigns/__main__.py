"""`python -m streams.campaigns`: asks for the calls of running campaigns."""

from ringlog.lifecycle import Lifecycle, run
from streams.campaigns.host import SERVICE, CampaignHost


async def main(life: Lifecycle) -> None:
    """Runs until it is told to stop."""
    await CampaignHost(life).run()


if __name__ == "__main__":
    run(SERVICE, main)
