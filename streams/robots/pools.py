"""`robots.yaml`: the robots of each pool, as `robots.status` takes them."""

import hashlib
import json
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ringlog.yaml_source import InvalidFile, Problem, parse
from streams.robots.loading import validated
from streams.robots.playbook import Model, Name, Text

RobotId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,59}$")]


class Robot(Model):
    """A logical agent: any robot worker can run it."""

    robot: RobotId
    state: Literal["active", "paused"] = "active"
    persona: Text = "robot"
    voice: Text = "cmn-latn-pinyin"
    slots: Annotated[int, Field(ge=1, le=1000)] = 1
    skills: dict[Name, Annotated[int, Field(ge=0, le=10)]] = Field(default_factory=dict)
    playbooks: Annotated[list[Name], Field(min_length=1)]
    asr_profile: Annotated[str, Field(max_length=60)] = ""

    def fields(self) -> dict[str, Any]:
        """What `robots.status` carries beyond the envelope."""
        return self.model_dump(exclude={"robot"})


class Pools(Model):
    """All pools."""

    pools: Annotated[dict[RobotId, list[Robot]], Field(min_length=1)]


def load_robots(path: FilePath) -> dict[str, list[Robot]]:
    """Robots by pool; raises InvalidFile with all faults."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        mend = "name a readable UTF-8 file"
        raise InvalidFile([Problem(str(path), 1, f"cannot be read: {error}", mend)]) from None
    source = parse(text, str(path))
    pools = validated(Pools, source).pools
    problems, owners = list(source.duplicates), dict[str, str]()
    for pool, robots in pools.items():
        for index, robot in enumerate(robots):
            line = source.line(("pools", pool, index))
            if robot.robot in owners:
                what = f"robot {robot.robot!r} is in pool {owners[robot.robot]!r} already"
                problems.append(Problem(str(path), line, what, "a robot has one pool: rename it"))
            owners[robot.robot] = pool
    if problems:
        raise InvalidFile(problems)
    return pools


def content_sha256(fields: dict[str, Any]) -> str:
    """SHA-256 in hex of a record's own fields."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
