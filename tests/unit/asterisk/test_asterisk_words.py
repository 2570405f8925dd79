"""What Asterisk says and how things are called there: events, names, causes, versions."""

import json
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from ingest.asterisk.causes import EndCauses, disposition_of, told_cause
from ingest.asterisk.check import major_of, version_finding
from ingest.asterisk.events import (
    MAX_EVENT_BYTES,
    AriMalformed,
    parse_ari,
    parse_bridges,
    parse_channels,
    parse_device,
    parse_ids,
)
from ingest.asterisk.names import OurName, app_of, endpoint_of, name_of, ours, read_name
from ingest.asterisk.plan import AsteriskPlan, asterisk_plan, asterisks_of
from ingest.asterisk.tls import tls_of
from ingest.trunks.plan import SwitchPlan, default_plan, parse_plan
from ringlog.settings import Settings

CHANNEL = {
    "id": "ringlog-edge~c1~1-line1", "name": "PJSIP/carrier-a-1", "state": "Ringing",
    "caller": {"number": "13900000000"}, "dialplan": {"exten": "4001"},
    "channelvars": {"UNICASTRTP_LOCAL_PORT": "1234"},
}  # fmt: skip


def event(**fields: object) -> str:
    return json.dumps({"channel": CHANNEL, **fields})


def test_a_refusal_of_the_far_end() -> None:
    found = parse_ari(event(type="ChannelHangupRequest", cause=17, tech_cause=486))
    assert found is not None
    assert (found.kind, found.cause, found.tech_cause, found.soft) == (
        "hangup_asked", 17, 486, False,
    )  # fmt: skip
    soft = parse_ari(event(type="ChannelHangupRequest", cause=32, soft=True))
    assert soft is not None and soft.soft


def test_steps_of_a_call() -> None:
    told = [
        parse_ari(event(type="ChannelStateChange")),
        parse_ari(json.dumps({"type": "Dial", "dialstatus": "PROGRESS", "peer": CHANNEL})),
        parse_ari(event(type="StasisStart", args=["inbound"])),
        parse_ari(event(type="ChannelDtmfReceived", digit="#", timestamp="t1")),
    ]
    assert [e.kind for e in told if e] == ["ringing", "early_media", "entered", "dtmf"]
    assert told[2] is not None and told[2].channel.exten == "4001"
    assert told[3] is not None and told[3].key == "t1.#"
    assert parse_ari(event(type="ChannelVarset")) is None


def test_the_state_of_a_device() -> None:
    text = '{"type":"DeviceStateChanged","device_state":{"name":"PJSIP/a","state":"UNAVAILABLE"}}'
    found = parse_ari(text)
    assert found is not None
    assert (found.kind, found.device, found.state) == ("device", "PJSIP/a", "UNAVAILABLE")


@pytest.mark.parametrize(
    "text", ["", "[]", "7", '{"type":"StasisStart"}', "[" * 100_000, " " * (MAX_EVENT_BYTES + 1)]
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(AriMalformed):
        parse_ari(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "name", "state", "caller", "number", "dialplan", "channelvars"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TYPES = st.sampled_from(
    ["StasisStart", "StasisEnd", "Dial", "ChannelStateChange", "ChannelDtmfReceived",
     "ChannelHangupRequest", "ChannelDestroyed", "ApplicationReplaced", "ChannelUserevent",
     "DeviceStateChanged"]
)  # fmt: skip


@given(
    TYPES, st.dictionaries(
        st.sampled_from(["channel", "peer", "args", "cause", "tech_cause", "soft", "digit",
                         "dialstatus", "timestamp", "eventname", "device_state"]), JSON),
)  # fmt: skip
def test_no_event_crashes_the_reader(kind: str, fields: dict[str, object]) -> None:
    with suppress(AriMalformed):
        parse_ari(json.dumps({"type": kind, **fields}))


@given(st.text() | st.binary())
def test_no_text_crashes_the_reader(text: str | bytes) -> None:
    with suppress(AriMalformed):
        parse_ari(text)


@given(JSON)
def test_no_answer_crashes_the_reader(data: object) -> None:
    for read in (lambda: list(parse_channels(data)), lambda: list(parse_bridges(data)),
                 lambda: list(parse_ids(data, "channel_ids")),
                 lambda: parse_device(data)):  # fmt: skip
        with suppress(AriMalformed):
            read()


@given(
    st.text("abc-.~0129", min_size=1, max_size=30), st.integers(1, 9_999),
    st.sampled_from(["line", "media", "agent", "bridge"]), st.integers(1, 99),
)  # fmt: skip
def test_a_name_tells_its_call(call_id: str, try_no: int, role: str, n: int) -> None:
    app = app_of("edge")
    name = name_of(app, call_id, try_no, role, n)
    assert ours(app, name) == OurName(call_id, try_no, role, n)
    assert ours(app, f"{name};2") == OurName(call_id, try_no, role, n)
    assert ours(app_of("edge-2"), name) is None
    assert read_name(name) == (app, OurName(call_id, try_no, role, n))


@pytest.mark.parametrize("name", ["1732.5", "ringlog-edge~~1-line1", "ringlog-edge~c~line1", "~~"])
def test_a_strange_name_is_not_ours(name: str) -> None:
    assert ours("ringlog-edge", name) is None
    assert read_name(name) is None or "~" in name


def test_a_call_id_that_asterisk_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        name_of("ringlog-edge", "x" * 150, 1, "line")


def test_an_endpoint_dials_one_number_only() -> None:
    assert endpoint_of("PJSIP/{digits}@west", "+8613800000000") == "PJSIP/8613800000000@west"
    assert endpoint_of("Local/{target}@transfers", "sales") == "Local/sales@transfers"
    for wrong in ("1&PJSIP/2", "1@other", "a b", "", "x" * 65, "1,2"):
        with pytest.raises(ValueError, match="letters, digits"):
            endpoint_of("PJSIP/{number}@west", wrong)
    with pytest.raises(ValueError, match="fills in"):
        endpoint_of("PJSIP/{phone}@west", "1")


@pytest.mark.parametrize(
    ("causes", "answered", "disposition"),
    [
        (EndCauses(17, 486), False, "busy"), (EndCauses(19, 480), False, "no_answer"),
        (EndCauses(19), False, "no_answer"), (EndCauses(1, 404), False, "failed"),
        (EndCauses(34, 503), False, "failed"), (EndCauses(21, 603), False, "failed"),
        (EndCauses(16), True, "completed"), (EndCauses(41), True, "completed"),
    ],
)  # fmt: skip
def test_what_a_call_came_to(causes: EndCauses, answered: bool, disposition: str) -> None:
    assert disposition_of(causes, answered) == disposition


def test_a_cause_of_zero_is_normal_clearing() -> None:
    assert [told_cause(c) for c in (0, 17, None)] == [16, 17, None]


@pytest.mark.parametrize(
    ("version", "ok"),
    [("22.10.1+dfsg", True), ("18.0.0", True), ("certified/20.7-cert2", True), ("16.30.0", False),
     ("24.0.0", False), ("GIT-master", False)],
)  # fmt: skip
def test_versions(version: str, ok: bool) -> None:
    assert version_finding(version).ok is ok
    assert version_finding(version).mend


def test_a_release_is_read_from_a_version() -> None:
    assert major_of("Asterisk 22.10.1") == 22


def test_settings_make_a_plan() -> None:
    config = Settings(ari_url="http://pbx:8088", ari_user="u", ari_password=SecretStr("geheim"))
    ((plan, endpoints),) = asterisks_of(config, default_plan(config), None)
    assert (plan.url, plan.user, endpoints) == ("http://pbx:8088", "u", ["carrier"])
    assert "geheim" not in repr(plan)
    without = Settings(ari_url="http://pbx:8088")
    with pytest.raises(ValueError, match="RINGLOG_ARI_PASSWORD_FILE"):
        asterisks_of(without, default_plan(without), None)
    assert asterisks_of(Settings(), default_plan(Settings()), None) == []


def test_a_trunk_is_watched_by_the_device_that_it_dials() -> None:
    config = Settings(ari_password=SecretStr("x"), ari_endpoint="PJSIP/{digits}@carrier")
    site = parse_plan("""
switches:
  pbx: {type: asterisk, url: "http://pbx:8088"}
trunks:
  west: {switch: pbx, endpoint: "PJSIP/{digits}@carrier-w"}
  again: {switch: pbx, endpoint: "PJSIP/0{digits}@carrier-w"}
  plain: {switch: pbx}
  address: {switch: pbx, endpoint: "PJSIP/carrier-w/sip:{digits}@198.51.100.1"}
  local: {switch: pbx, endpoint: "Local/{digits}@out"}
""")
    plan = asterisk_plan(config, "edge", "pbx", site.switches["pbx"], site.trunks)
    assert plan.devices == {"PJSIP/carrier-w": ("west", "again"), "PJSIP/carrier": ("plain",)}


SITE = """
switches:
  pbx: {type: asterisk, url: "http://pbx:8088", user: u}
  sim: {type: sim, url: "http://127.0.0.1:1"}
trunks:
  west: {switch: pbx, endpoint: "PJSIP/{digits}@carrier-w"}
  east: {switch: pbx, endpoint: "PJSIP/{digits}@carrier-e"}
  toy: {switch: sim}
"""


def test_switches_and_trunks_are_checked_by_name() -> None:
    site, config = parse_plan(SITE), Settings(ari_password=SecretStr("p"))
    ((plan, endpoints),) = asterisks_of(config, site, None)
    assert (plan.name, endpoints) == ("pbx", ["carrier-w", "carrier-e"])
    ((_, only),) = asterisks_of(config, site, "east")
    assert only == ["carrier-e"]
    with pytest.raises(ValueError, match="no Asterisk"):
        asterisks_of(config, site, "toy")


def planned(url: str, **options: str) -> AsteriskPlan:
    """A switch of `trunks.yaml` with these options."""
    config = Settings(ari_user="u", ari_password=SecretStr("p"))
    return asterisk_plan(
        config, "edge", "pbx", SwitchPlan(type="asterisk", url=url, options=options)
    )


def test_control_messages_are_text_or_json() -> None:
    assert planned("http://pbx:8088").json_control is False
    assert planned("http://pbx:8088", control="json").json_control is True
    with pytest.raises(ValueError, match="text or json"):
        planned("http://pbx:8088", control="xml")


def test_a_certificate_is_checked_where_the_url_is_https(tmp_path: Path) -> None:
    assert planned("http://pbx:8088", ca_file="/nowhere").tls is None
    tls = tls_of("https://pbx:8089")
    assert tls is not None and tls.check_hostname and tls.verify_mode == ssl.CERT_REQUIRED
    garbage = tmp_path / "ca.pem"
    garbage.write_text("no certificate", encoding="ascii")
    for file in (garbage, tmp_path / "absent.pem"):
        with pytest.raises(ValueError, match="ca_file"):
            planned("https://pbx:8089", ca_file=str(file))
