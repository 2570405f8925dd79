"""What an external call gets, resolved once; what it may not name."""

from typing import Any

import pytest
from pydantic import ValidationError

from ingest.asr_profiles import AsrProfiles
from ingest.defaults import Defaults
from ingest.sessions import Site, UnknownName
from ingest.sound.types import TELEPHONE_EVENT, Format
from ingest.ws.doors import doors_of
from ringlog.asr_models import load
from ringlog.media_session import DOORS, MediaSessionRequest
from ringlog.settings import Settings
from schemas.events import Playbook, RobotStatus
from schemas.phone import InvalidNumber

ROOT = {"event_id": "0" * 36, "occurred_at": 1, "producer": "cli"}


def site(default: str = "zh") -> Site:
    defaults = Defaults()
    for robot, pool, profile, state in (
        ("r1", "sales", "", "active"), ("r2", "service", "demo", "active"),
        ("r0", "gone", "", "removed"),
    ):  # fmt: skip
        status = {"kind": "robot", "robot_id": robot, "pool": pool, "state": state,
                  "playbooks": ["loan"], "asr_profile": profile}  # fmt: skip
        defaults.evolve(RobotStatus.model_validate(ROOT | status))
    for name, kind in (("loan", "published"), ("old", "published"), ("old", "withdrawn")):
        script = {"kind": kind, "playbook": name, "version": "1", "sha256": "", "body": ""}
        defaults.evolve(Playbook.model_validate(ROOT | script))
    return Site("edge", "default", "CN", defaults, AsrProfiles(default, load()))


def request(**fields: Any) -> MediaSessionRequest:
    return MediaSessionRequest.model_validate(
        {"call_id": "客户一", "customer_id": "c", "campaign_id": "spring", "playbook": "loan"}
        | fields
    )


def test_what_is_left_out_is_resolved() -> None:
    spec = site().resolve(request())
    who = spec.identity
    found = (who.tenant_id, who.robot_id, who.pool, who.playbook_version)
    assert found == ("default", "r1", "sales", "1")
    assert (who.asr_profile, who.phone, who.direction) == ("zh", None, "foreign")
    assert spec.sound == Format("pcmu", 8000)
    assert (spec.remote, spec.event_type) == (None, TELEPHONE_EVENT)


def test_what_is_named_counts() -> None:
    spec = site().resolve(
        request(codec="l16/16000", asr_profile="demo", pool="service", tenant_id="acme",
                remote="10.0.0.1:4000", event_payload_type=96, phone="138 0000 0000")
    )  # fmt: skip
    who = spec.identity
    assert (who.tenant_id, who.robot_id, who.pool) == ("acme", "r2", "service")
    assert (who.asr_profile, who.phone) == ("demo", "+8613800000000")
    assert spec.sound == Format("l16", 16000)
    assert (spec.remote, spec.event_type) == (("10.0.0.1", 4000), 96)


@pytest.mark.parametrize(
    ("fields", "wire"),
    [
        ({"codec": "pcma"}, None),
        ({"codec": "g722"}, ("g722", 9, 8_000)),
        ({"codec": "opus"}, ("opus", 107, 48_000)),
        ({"codec": "opus", "payload_type": 111}, ("opus", 111, 48_000)),
    ],
)
def test_a_coded_wire_has_l16_behind_it(
    fields: dict[str, Any], wire: tuple[str, int, int] | None
) -> None:
    spec = site().resolve(request(**fields))
    found = spec.wire and (spec.wire.codec, spec.wire.payload_type, spec.wire.clock_hz)
    assert found == wire
    assert spec.sound == (Format("pcma", 8000) if wire is None else Format("l16", 16000))


def test_a_robots_recogniser_comes_before_the_sites() -> None:
    assert site().resolve(request(robot_id="r2")).identity.asr_profile == "demo"
    assert site().resolve(request(robot_id="r1")).identity.asr_profile == "zh"


@pytest.mark.parametrize(
    ("field", "name", "known"),
    [
        ("playbook", "laon", ["loan"]),
        ("playbook", "old", ["loan"]),
        ("pool", "gone", ["sales", "service"]),
        ("robot_id", "r0", ["r1", "r2"]),
        ("asr_profile", "fsmn", ["demo", "zh"]),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_exist(
    field: str, name: str, known: list[str]
) -> None:
    with pytest.raises(UnknownName) as caught:
        site().resolve(request(**{field: name}))
    assert (caught.value.field, caught.value.known) == (field, known)
    assert all(one in str(caught.value) for one in (name, *known))


@pytest.mark.parametrize("phone", ["110", "12345", "no number"])
def test_a_number_that_is_none_is_refused(phone: str) -> None:
    with pytest.raises(InvalidNumber):
        site().resolve(request(phone=phone))


@pytest.mark.parametrize(
    "wrong",
    [{"remote": "1.2.3.4:0"}, {"remote": "1.2.3.4:70000"}, {"remote": "999.1.1.1:5"},
     {"codec": "g729"}, {"codec": "g722", "payload_type": 96},
     {"codec": "opus", "payload_type": 101}, {"codec": "opus", "payload_type": 95},
     {"event_payload_type": 95}, {"more": 1}, {"call_id": ".."}],
)  # fmt: skip
def test_a_session_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(**wrong)


def test_no_call_is_called_as_a_door() -> None:
    """Its sound would be at the door's path."""
    doors = doors_of(Settings(), "ws://127.0.0.1/media", lambda _: False, str)
    assert doors.keys() == DOORS
    for name in doors:
        with pytest.raises(ValidationError, match="names a door"):
            request(call_id=name)
    assert request(call_id="twilio-1").call_id == "twilio-1"
