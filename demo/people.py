"""The people called in the demo, read from `dialogues.yaml`."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

DIALOGUES = Path(__file__).with_name("dialogues.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Remark(_Strict):
    """Something a person says. `intent` is what the robot ought to understand.

    `after_ms` counts from the prompt's end; `over_ms`, when set, from its beginning: the person
    speaks over the prompt.
    """

    say: str
    intent: str
    after_ms: int = Field(450, ge=0, le=5_000)
    over_ms: int | None = Field(None, ge=0, le=10_000)


class Expected(_Strict):
    """The expected outcome of the call."""

    disposition: str
    directives: list[str] = Field(default_factory=list)
    prompts: list[str] = Field(default_factory=list)


class Person(_Strict):
    """A simulated person: voice, customer record, and what is said upon which prompt.

    `on` maps a prompt (`offer`, or one wording of it, `offer.member`) to the lines said when it is
    heard the first, the second, … time; one that is not listed is listened to in silence.
    """

    name: str
    voice: str
    speed: int = 190
    pitch: int = 50
    snr_db: float = 25.0
    level: Literal["normal", "member"] = "normal"
    purchases: int = 0
    answers_after_ms: int = Field(700, ge=100, le=20_000)
    hangs_up: int | None = Field(None, ge=1, le=127)
    """Does not answer: the carrier's cause after the ringing (ITU-T Q.850), such as 17 for busy."""
    on: dict[str, list[Remark]] = Field(default_factory=dict)
    expects: Expected


def load(path: Path = DIALOGUES) -> list[Person]:
    """All people of the file; raises ValueError (pydantic's, or for broken YAML)."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from None
    return [Person.model_validate(item) for item in data["people"]]


def phone_of(run: int, index: int) -> str:
    """The mobile number of the n-th person of a run; the next 999,999 runs have others."""
    return f"+8613{(run * 1_000 + index) % 1_000_000_000:09d}"
