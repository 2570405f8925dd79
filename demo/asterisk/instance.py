"""One Asterisk with ports and files of its own: start, stop, kill, restart.

It ends with the thread that started it, whatever happens to that (`jail.py`).
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from demo.asterisk import own_files, page, system
from ringlog.audio import g711, wav

USER = "asterisk"
ARI_USER = "ringlog"
_PROGRAM = "/usr/sbin/asterisk"
_READY_S = 30.0
_STOP_S = 10.0
_RTP_PORTS = 2_000


class AsteriskFailed(RuntimeError):
    """It did not start, or refused a command; the text holds the end of its log."""


class Asterisk:
    """An instance; nothing runs before `start`. `ari_url`, `ari_user` and `password` log in."""

    def __init__(
        self,
        trunks: Sequence[page.TrunkAddress],
        media_url: str = "ws://127.0.0.1:18090/media/asterisk",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """`extra` is text to add at the end of files, by name: more endpoints, more extensions.
        `{etc}` in it is the folder of these files."""
        _sweep()
        self.name = f"t{os.getpid()}-{secrets.token_hex(3)}"
        self.host = "127.0.0.1"
        self.sip_port = free_port(self.host, socket.SOCK_DGRAM)
        self.http_port = free_port(self.host, socket.SOCK_STREAM)
        self.ari_user, self.password = ARI_USER, secrets.token_hex(12)
        self.trunks = {t.name: t for t in trunks}
        self._base = f"/inst/{self.name}"
        self._folder = system.root_dir() / self._base.lstrip("/")
        self._process: subprocess.Popen[bytes] | None = None
        first = 12_000 + secrets.randbelow(9) * _RTP_PORTS  # below what the kernel hands out
        texts = own_files.texts(self._base, self.name, range(first, first + _RTP_PORTS))
        texts |= own_files.packaged(system.root_dir())
        surface = page.Surface(self.http_port, self.sip_port, self.password, media_url, trunks)
        texts |= page.fill(page.files(), surface)
        for name, text in (extra or {}).items():
            added = text.replace("{etc}", f"{self._base}/etc")
            texts[name] = texts.get(name, "") + "\n" + added
        self._lock = self._write(texts)

    @property
    def base_url(self) -> str:
        """Its HTTP server."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def ari_url(self) -> str:
        """Its ARI, to which `/asterisk/info` and the like are added."""
        return f"{self.base_url}/ari"

    @property
    def pid(self) -> int:
        """Process id; raises AsteriskFailed when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise AsteriskFailed("Asterisk does not run")
        return self._process.pid

    def start(self) -> "Asterisk":
        """Starts it and returns when it is fully booted, within a second as a rule.

        Call it from a thread that lives as long as Asterisk shall. Raises AsteriskFailed.
        """
        shim = Path(__file__).with_name("jail.py")
        command = [sys.executable, "-I", "-S", str(shim), str(os.getpid()),
                   str(system.root_dir()), USER, _PROGRAM, "-f", "-C", self._conf]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(AsteriskFailed):
                if "fully booted" in self.command("core waitfullybooted"):
                    return self
            time.sleep(0.05)
        raise AsteriskFailed(f"Asterisk is not ready:\n{self.log_tail()}")

    def command(self, line: str) -> str:
        """The answer of its command line to a line such as `core show channels`.

        Raises AsteriskFailed when it does not answer.
        """
        asked = ["chroot", f"--userspec={USER}", str(system.root_dir()), _PROGRAM, "-C", self._conf,
                 "-rx", line]  # fmt: skip
        try:
            done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            raise AsteriskFailed(f"{line}: no answer") from None
        if done.returncode != 0:
            raise AsteriskFailed(f"{line}: {(done.stdout + done.stderr).strip()}")
        return done.stdout

    def stop(self) -> None:
        """Ends it as an operator does: it hangs up its calls. No error when it does not run."""
        if self._process is None:
            return
        if self._process.poll() is None:
            with suppress(AsteriskFailed):
                self.command("core stop now")
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """SIGKILL: its calls get no BYE."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def log_tail(self, lines: int = 60) -> str:
        """The end of its log."""
        path = self._folder / "log" / "full"
        if not path.exists():
            return "(no log)"
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def errors(self) -> list[str]:
        """Lines of its log with an error."""
        return [line for line in self.log_tail(100_000).splitlines() if "] ERROR[" in line]

    def close(self) -> None:
        """Stops it and removes its files."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    @property
    def _conf(self) -> str:
        return f"{self._base}/etc/asterisk.conf"

    def _write(self, texts: Mapping[str, str]) -> int:
        """Lays the files; returns the descriptor whose lock says that the folder is in use."""
        for name in own_files.FOLDERS:
            (self._folder / name).mkdir(parents=True)
        lock = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, text in texts.items():
            (self._folder / "etc" / name).write_text(text, encoding="utf-8")
        wav.write(self._folder / "moh" / "tone.wav", _hold_tone())
        owner = self._owner()
        for path in [self._folder, *self._folder.rglob("*")]:
            os.chown(path, *owner)
        return lock

    @staticmethod
    def _owner() -> tuple[int, int]:
        passwd = (system.root_dir() / "etc/passwd").read_text(encoding="utf-8")
        fields = next(x.split(":") for x in passwd.splitlines() if x.startswith(f"{USER}:"))
        return int(fields[2]), int(fields[3])


def _hold_tone() -> g711.Int16:
    """4 s of music on hold: a soft 440 Hz."""
    t = np.arange(32_000) / 8_000
    return np.asarray(4_000 * np.sin(2 * np.pi * 440 * t), np.int16)


def free_port(host: str, kind: socket.SocketKind) -> int:
    """A port that is free now, UDP (`SOCK_DGRAM`) or TCP (`SOCK_STREAM`)."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _sweep() -> None:
    """Removes folders of instances whose owner was killed."""
    for folder in (system.root_dir() / "inst").glob("*"):
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            continue  # it is being made, or just went
        except BlockingIOError:
            continue  # in use
