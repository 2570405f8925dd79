"""sipp as a far end that answers many calls and echoes their sound."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from ringlog.settings import root

SIPP_HOST = "127.0.0.14"
_MEDIA_PORT = 40_000


class Sipp:
    """A running sipp with its own UAS scenario: 180, 200, and the sound back until BYE."""

    def __init__(self, port: int, folder: Path) -> None:
        command = [
            sys.executable, "-I", "-S", str(root() / "stack" / "exec_shim.py"), str(os.getpid()),
            "sipp", "-sn", "uas", "-i", SIPP_HOST, "-p", str(port), "-mi", SIPP_HOST,
            "-mp", str(_MEDIA_PORT), "-rtp_echo", "-aa", "-nostdin", "-trace_err",
            "-error_file", str(folder / "sipp-errors.log"),
        ]  # fmt: skip
        self.host, self.port = SIPP_HOST, port
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "dumb"},
        )  # fmt: skip
        self._wait()

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"sipp ended with {self._process.returncode}")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind((self.host, self.port))
                except OSError:
                    return
            time.sleep(0.05)
        raise RuntimeError("sipp does not listen")
