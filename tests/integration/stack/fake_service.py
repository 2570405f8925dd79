"""A service for the supervisor's tests: `fake_service.py NAME PORT FOLDER [exits]`.

Answers `/readyz`, starts two grandchildren (one in a session of its own), writes all pids to
FOLDER/NAME.pids and its name to FOLDER/stopped when told to stop. With `exits` it fails at once.
"""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        del format, args


def main(name: str, port: int, folder: Path, exits: bool) -> None:
    print(f"ERROR {name} says hello", flush=True)
    if exits:
        sys.exit(3)
    sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]
    children = [
        subprocess.Popen(sleeper),
        subprocess.Popen(sleeper, start_new_session=True),
    ]

    def stop(_: int, __: FrameType | None) -> None:
        with (folder / "stopped").open("a") as file:
            file.write(f"{name}\n")
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    pids = [os.getpid(), *(child.pid for child in children)]
    partial = folder / f"{name}.pids.part"
    partial.write_text(" ".join(map(str, pids)))
    partial.replace(folder / f"{name}.pids")
    HTTPServer(("127.0.0.1", port), _Ready).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:] == ["exits"])
