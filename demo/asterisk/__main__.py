"""`make demo-asterisk`: the demo's people behind two carriers of a real Asterisk; one dies.

Needs Debian and root. It has a stack of its own, on other ports than the usual one, in the folder
`demo-asterisk` of the usual home.
"""

import argparse
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvloop
import yaml
from rich.console import Console

from demo.asterisk import system
from demo.asterisk.campaign import AsteriskCampaign
from demo.asterisk.instance import Asterisk, free_port
from demo.asterisk.packages import Unobtainable
from demo.asterisk.page import TrunkAddress
from demo.campaign import DemoError
from demo.run import STARTS_LAWLESS
from ringlog.settings import Settings, settings

CARRIERS = {"carrier-a": "127.0.0.11", "carrier-b": "127.0.0.12"}
_SHIFT = 5_000


def main(arguments: list[str]) -> int:
    """Exit code 0: everything as it should be; 1: it is not; 2: it cannot be had here."""
    parser = argparse.ArgumentParser(prog="python -m demo.asterisk")
    parser.add_argument("--calls", type=int, default=20, help="six at least")
    parser.add_argument("--port-shift", type=int, default=_SHIFT, help="of its stack's ports")
    asked = parser.parse_args(arguments)
    console = Console()
    began = time.monotonic()
    try:
        system.provide(lambda line: console.print(line, highlight=False))
    except Unobtainable as why:
        console.print(f"there is no Asterisk to be had here: {why}", style="bold red")
        return 2
    home = settings().home / "demo-asterisk"
    config = Settings(
        home=home, port_shift=asked.port_shift, kafka="", registry="", clickhouse_host=""
    )
    trunks = [
        TrunkAddress(name, host, free_port(host, socket.SOCK_DGRAM))
        for name, host in CARRIERS.items()
    ]
    asterisk = Asterisk(
        trunks, f"ws://127.0.0.1:{config.port(config.media_ws_port)}/media/asterisk"
    )
    try:
        asterisk.start()
        console.print(f"Asterisk {system.version()}, ARI at {asterisk.base_url}", highlight=False)
        with _stack(config, asterisk, console):
            campaign = AsteriskCampaign(config, asterisk, asked.calls, began, console)
            return uvloop.run(campaign.run())
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    except DemoError as error:
        console.print(f"the demo could not run: {error}", style="bold red", highlight=False)
        return 1
    finally:
        asterisk.close()


def site_trunks(asterisk: Asterisk, password_file: Path) -> dict[str, object]:
    """`trunks.yaml`: two carriers of one Asterisk that share the calls, the first one more."""
    return {
        "switches": {
            "pbx": {
                "type": "asterisk", "url": asterisk.base_url, "user": asterisk.ari_user,
                "password_file": str(password_file),
                "options": {"formats": "alaw", "transfer": "PJSIP/{target}@carrier-b"},
            }
        },
        "trunks": {
            name: {"switch": "pbx", "endpoint": f"PJSIP/{{number}}@{name}", "weight": weight}
            for name, weight in zip(CARRIERS, (2, 1), strict=True)
        },
        "routing": {"no_response_s": 3, "breaker": {"failures": 2, "open_s": 60}},
    }  # fmt: skip


@contextmanager
def _stack(config: Settings, asterisk: Asterisk, console: Console) -> Iterator[None]:
    """A running stack whose trunks are Asterisk's; raises DemoError."""
    from stack import control

    config.home.mkdir(parents=True, exist_ok=True)
    password = config.home / "ari-password"
    password.touch(mode=0o600)
    password.write_text(asterisk.password, encoding="utf-8")
    plan = yaml.safe_dump(site_trunks(asterisk, password), sort_keys=False)
    (config.home / "trunks.yaml").write_text(plan, encoding="utf-8")
    console.print(STARTS_LAWLESS)
    config = config.model_copy(update={"law": "off"})
    try:
        control.up(config, detach=True, tied=True, report=lambda x: console.print(f"  {x}"))
        yield
    except control.StackError as error:
        raise DemoError(str(error)) from None
    finally:
        console.print("stopping the stack …")
        with suppress(control.StackNotRunning):
            control.down(config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
