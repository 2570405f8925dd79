"""Publishes playbooks and robots: only what is new is written, prompts are made once.

`python -m streams.robots.publish` does both with the files in `playbooks/`; the stack runs it as
soon as the broker and the registry answer.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ringlog.audio.prompts import index_prompts, prompt_path, prompt_sha256, synthesise
from ringlog.audio.voices import VoiceError, VoicesError
from ringlog.clock import now_ms
from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import produce, producer_of, read
from ringlog.settings import Settings, root, settings
from ringlog.yaml_source import InvalidFile, Problem
from schemas.catalogue import topic
from schemas.envelope import Event
from schemas.events import Playbook, RobotStatus
from schemas.ids import published_id
from schemas.wire import Codec, Poison
from streams.robots.loading import Script, load, load_file
from streams.robots.pools import Robot, content_sha256, load_robots
from streams.robots.prompt_store import LISTS, publish_prompts, spoken_pieces

PRODUCER = "ringlog-publish"
ROBOTS_FILE = root() / "playbooks" / "robots.yaml"

Say = Callable[[str], None]


def _quiet(_: str) -> None:
    """Prints nothing."""


def playbook_files() -> list[Path]:
    """The playbooks of this checkout."""
    folder = ROBOTS_FILE.parent
    return [p for p in sorted(folder.glob("*.yaml")) if p.name != ROBOTS_FILE.name]


def publish_playbooks(config: Settings, files: Sequence[Path], say: Say = _quiet) -> list[str]:
    """Publishes call scripts and makes their prompts; returns name@version of what was written.

    Nothing is written unless all files are good: raises InvalidFile with every fault of each, and
    VoiceError or VoicesError when a voice cannot say a prompt.
    """
    scripts, problems = list[Script](), list[Problem]()
    for path in files:
        try:
            scripts.append(load_file(path))
        except InvalidFile as error:
            problems += error.problems
    if problems:
        raise InvalidFile(problems)
    codec = codec_of(config)
    robots = [e for e in _latest(config, codec, "robots.status") if isinstance(e, RobotStatus)]
    for script in scripts:
        # Sound first: a robot must not say a prompt without sound.
        _make_prompts(config, script, _voices(script, robots), say)
    _store_prompts(config, codec, scripts, robots, say)
    there = {
        (e.playbook, e.version): e
        for e in _latest(config, codec, "playbooks")
        if isinstance(e, Playbook)
    }
    new = []
    for script in scripts:
        before = there.get((script.name, script.version))
        if before is None or before.kind == "withdrawn":
            new.append(_playbook_event(script, before, config))
        else:
            say(f"{script.name}@{script.version} is published already")
    _write(config, codec, "playbooks", new)
    names = [f"{e.playbook}@{e.version}" for e in new]
    for name in names:
        say(f"{name} published")
    return names


def apply_robots(config: Settings, file: Path = ROBOTS_FILE, say: Say = _quiet) -> list[str]:
    """Makes `robots.status` match the file; returns the ids of changed robots.

    Robots of the file's pools that the file leaves out are removed. Prompts that a new voice needs
    are made. Raises InvalidFile, VoiceError and VoicesError.
    """
    pools = load_robots(file)
    codec = codec_of(config)
    there = {
        e.robot_id or "": e
        for e in _latest(config, codec, "robots.status")
        if isinstance(e, RobotStatus)
    }
    new = []
    for pool, robots in pools.items():
        for robot in robots:
            before = there.get(robot.robot)
            if before is None or _changed(before, pool, robot):
                new.append(_robot_event(pool, robot.robot, robot.fields(), before, config))
    wanted = {robot.robot for robots in pools.values() for robot in robots}
    for robot_id, before in there.items():
        if robot_id not in wanted and before.pool in pools and before.state != "removed":
            fields = _fields(before) | {"state": "removed"}
            new.append(_robot_event(before.pool, robot_id, fields, before, config))
    after = there | {e.robot_id or "": e for e in new}
    scripts = _published_scripts(config, codec)
    for script in scripts:
        _make_prompts(config, script, _voices(script, after.values()), say)
    _store_prompts(config, codec, scripts, after.values(), say)
    _write(config, codec, "robots.status", new)
    changed = [e.robot_id or "" for e in new]
    say(f"{len(wanted)} robots in {len(pools)} pools, {len(changed)} changed")
    return changed


def withdraw_playbook(config: Settings, name: str, version: str) -> bool:
    """Withdraws a version: new calls get another one. False if it is not published."""
    codec = codec_of(config)
    for event in _latest(config, codec, "playbooks"):
        if isinstance(event, Playbook) and (event.playbook, event.version) == (name, version):
            if event.kind == "withdrawn":
                return False
            sha = content_sha256({"withdrawn": event.event_id})
            gone = event.model_copy(
                update={
                    "event_id": published_id("playbook", f"{name}@{version}", sha),
                    "kind": "withdrawn",
                    "occurred_at": now_ms(),
                    "causation_id": event.event_id,
                }
            )
            _write(config, codec, "playbooks", [gone])
            return True
    return False


def _playbook_event(script: Script, before: Playbook | None, config: Settings) -> Playbook:
    name = f"{script.name}@{script.version}"
    sha = script.sha256 if before is None else content_sha256({"again": before.event_id})
    return Playbook(
        event_id=published_id("playbook", name, sha),
        kind="published",
        occurred_at=now_ms(),
        producer=PRODUCER,
        tenant_id=config.tenant_id,
        playbook=script.name,
        version=script.version,
        sha256=script.sha256,
        body=script.text,
    )


def _robot_event(
    pool: str | None,
    robot_id: str,
    fields: dict[str, Any],
    before: RobotStatus | None,
    config: Settings,
) -> RobotStatus:
    # The earlier record is part of the hash: going back to an old setting is a new event.
    cause = None if before is None else before.event_id
    sha = content_sha256({**fields, "pool": pool, "before": cause})
    return RobotStatus.model_validate(
        {
            **fields,
            "event_id": published_id("robot", robot_id, sha),
            "kind": "robot",
            "occurred_at": now_ms(),
            "producer": PRODUCER,
            "causation_id": cause,
            "tenant_id": config.tenant_id,
            "pool": pool,
            "robot_id": robot_id,
        }
    )


def _fields(event: RobotStatus) -> dict[str, Any]:
    return event.model_dump(include=set(Robot.model_fields) - {"robot"})


def _changed(before: RobotStatus, pool: str, robot: Robot) -> bool:
    return before.pool != pool or _fields(before) != robot.fields()


def _voices(script: Script, robots: Iterable[RobotStatus]) -> list[str]:
    """Voices in which a playbook may be heard: its own, and those of the robots that run it."""
    voices = [script.playbook.voice]
    voices += [r.voice for r in robots if r.voice and script.name in r.playbooks]
    return sorted(set(voices))


def _make_prompts(config: Settings, script: Script, voices: list[str], say: Say) -> None:
    entries = {
        prompt_sha256(voice, piece): {
            "playbook": script.name, "prompt": name, "wording": wording, "voice": voice,
            "text": piece,
        }
        for voice in voices
        for name, prompt in script.playbook.prompts.items()
        for wording, piece in spoken_pieces(prompt)
    }  # fmt: skip
    missing = [e for sha, e in entries.items() if not prompt_path(config, sha).exists()]
    for n, entry in enumerate(missing, 1):
        say(f"{script.name}: prompt {n} of {len(missing)} ({entry['voice']})")
        synthesise(config, entry["voice"], entry["text"])
    index_prompts(config, entries)


def _store_prompts(
    config: Settings,
    codec: Codec,
    scripts: Sequence[Script],
    robots: Iterable[RobotStatus],
    say: Say,
) -> None:
    """Puts the prompts on the log, for edges on other machines."""
    known = list(robots)
    wanted = [
        (script, sorted({r.voice for r in known if r.voice and script.name in r.playbooks}))
        for script in scripts
    ]
    there = _latest(config, codec, LISTS) if wanted else []
    if written := publish_prompts(config, codec, PRODUCER, wanted, there):
        say(f"{written} prompts are on the log")


def _published_scripts(config: Settings, codec: Codec) -> list[Script]:
    """The published playbooks that can still be read."""
    scripts = []
    for event in _latest(config, codec, "playbooks"):
        if isinstance(event, Playbook) and event.kind == "published":
            try:
                scripts.append(load(event.body, f"{event.playbook}@{event.version}"))
            except InvalidFile:
                continue  # from an older release; the robot workers refuse it, too
    return scripts


def _latest(config: Settings, codec: Codec, topic_name: str) -> list[Event]:
    """The last event of each key of a compacted topic, in the order of the log."""
    key, latest = topic(topic_name).key, dict[str, Event]()
    for record in read(config, topic_name, client_id=PRODUCER):
        if record.value is None:
            latest.pop((record.key or b"").decode(errors="replace"), None)
            continue
        try:
            event = codec.decode(topic_name, record.value)
        except Poison:
            continue  # the robot workers send it to dead_letters
        latest.pop(key(event), None)
        latest[key(event)] = event
    return list(latest.values())


def _write(config: Settings, codec: Codec, topic_name: str, events: Sequence[Event]) -> None:
    if not events:
        return
    producer = producer_of(config, PRODUCER)
    try:
        for event in events:
            produce(producer, codec, topic_name, event)
        producer.flush()
    finally:
        producer.close()


def main() -> int:
    """Exit code 0: all is published; 1: a file is wrong, and the message says where."""
    parser = argparse.ArgumentParser(description="Publish robots and playbooks.")
    parser.add_argument("--robots", type=Path, default=ROBOTS_FILE)
    parser.add_argument("files", type=Path, nargs="*", help="playbooks; all in playbooks/ if none")
    args = parser.parse_args()
    config = settings()

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        apply_robots(config, args.robots, say)
        publish_playbooks(config, args.files or playbook_files(), say)
    except (InvalidFile, VoiceError, VoicesError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
