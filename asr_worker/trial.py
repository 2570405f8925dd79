"""Tries a profile in a process of its own: sherpa-onnx ends the process for some wrong options.

`python -m asr_worker.trial HOME PROFILE` exits 0 when the profile decodes a second of noise.
"""

import subprocess
import sys
from pathlib import Path

from asr_worker.recogniser import Trial, load, try_out
from ringlog.asr_models import AsrModels
from ringlog.asr_models import load as load_registry

TIMEOUT_S = 120


def trial_of(registry: AsrModels, home: Path) -> Trial:
    """Tries the profiles of a site; the shipped model without options needs no trial."""

    def tried(profile: str) -> str | None:
        entry = registry.profiles[profile]
        model = registry.model(entry.model)
        if model.folder is not None and not entry.options and not model.options:
            return None
        command = [sys.executable, "-m", "asr_worker.trial", str(home), profile]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"its trial was not over after {TIMEOUT_S} s"
        if done.returncode == 0:
            return None
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return said[-1][:500] if said else f"its trial ended with {done.returncode}"

    return tried


def main() -> None:
    """The child: loads the profile and decodes noise."""
    home, profile = sys.argv[1:]
    registry = load_registry(Path(home))
    entry = registry.profiles[profile]
    try:
        try_out(load(registry, entry.model, **entry.options))
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
