"""baresip, a telephone without a sound card: it speaks a WAV, and records what it hears."""

import os
import subprocess
import sys
from pathlib import Path

from demo.sip.media import RATE_HZ, Int16
from ringlog.audio import wav
from ringlog.settings import root

BARESIP_HOST = "127.0.0.15"
_CONFIG = """poll_method epoll
sip_listen {host}:{port}
net_interface {host}
audio_source aufile,{folder}/speaks.wav
audio_player aubridge,sink
audio_alert aubridge,sink
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_txmode thread
rtp_ports 30000-31000
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
snd_path {folder}
module_tmp account.so
module_app menu.so
"""
_ACCOUNT = "<sip:{number}@{host}:{port}>;regint=0;audio_codecs=pcma/8000/1;ptime=20\n"


class Baresip:
    """A telephone that calls `uri` from `number` as soon as it is made, says `speaks`, and hangs up
    after `lasts_s`."""

    def __init__(
        self, folder: Path, port: int, number: str, uri: str, speaks: Int16, lasts_s: int
    ) -> None:
        self._folder = folder
        wav.write(folder / "speaks.wav", speaks, RATE_HZ)
        config = _CONFIG.format(host=BARESIP_HOST, port=port, folder=folder)
        account = _ACCOUNT.format(number=number, host=BARESIP_HOST, port=port)
        for name, text in {"config": config, "accounts": account, "contacts": ""}.items():
            (folder / name).write_text(text, encoding="ascii")
        tie = [sys.executable, "-I", "-S", str(root() / "stack" / "exec_shim.py"), str(os.getpid())]
        command = ["baresip", "-f", str(folder), "-t", str(lasts_s), "-e", f"/dial {uri}"]
        with (folder / "baresip.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*tie, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def wait(self, timeout_s: float) -> None:
        """Until it has hung up and ended; raises TimeoutExpired."""
        self._process.wait(timeout_s)

    def heard(self) -> Int16:
        """What came to its ear; raises FileNotFoundError when there was no call."""
        found = sorted(self._folder.glob("dump-*-dec.wav"))
        if not found:
            raise FileNotFoundError(self.log())
        return wav.read(found[-1])[0]

    def log(self) -> str:
        """What it printed."""
        return (self._folder / "baresip.log").read_text(encoding="utf-8", errors="replace")[-3_000:]

    def stop(self) -> None:
        """Ends it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
