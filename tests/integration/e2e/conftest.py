"""The whole product, started once for the tests of the chain."""

from collections.abc import Iterator

import pytest

from ringlog.settings import Settings, root
from stack import control
from tests.integration.conftest import free_port_shift

SPEECH = root().parent / "shared" / "speech"

SITE_MODELS = """
models:
  fsmn:
    type: zipformer2_ctc
    files: {tokens: tokens.txt, model: model.onnx}
    flush_ms: 700
    time_scale: 0.75
    time_shift_ms: -240
profiles:
  fsmn: {model: fsmn, detector: people}
"""
"""The small real model of the recordings, where they are."""


@pytest.fixture(scope="package")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a complete running stack of its own.

    Programs find it by `environment.of_services`: the process's own names the session's stack.
    """
    home = tmp_path_factory.mktemp("product")
    if SPEECH.is_dir():
        (home / "models").mkdir()
        (home / "models" / "fsmn").symlink_to(SPEECH / "fsmn-ctc-zh")
        (home / "asr-models.yaml").write_text(SITE_MODELS, encoding="utf-8")
    config = Settings(home=home, port_shift=free_port_shift())
    control.up(config, detach=True, tied=True)
    try:
        yield config
    finally:
        control.down(config)
