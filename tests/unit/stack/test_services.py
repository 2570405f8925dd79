"""The parts of the stack as data: order, selection, addresses, settings of the JVM parts."""

from graphlib import CycleError
from pathlib import Path

import pytest

from ringlog.settings import Settings
from stack import kafka, registry
from stack.services import Service, UnknownService, build, endpoints, in_order, select


def config(**changes: object) -> Settings:
    """Settings with a fixed home, whatever the environment says."""
    values: dict[str, object] = {"home": Path("/nowhere/ringlog"), "port_shift": 0, **changes}
    return Settings.model_validate(values)


def names(parts: list[Service]) -> list[str]:
    return [part.name for part in parts]


def test_every_part_starts_after_what_it_needs() -> None:
    parts = build(config())
    seen: set[str] = set()
    for part in parts:
        assert set(part.needs) <= seen, part.name
        seen.add(part.name)
    assert {"kafka", "registry", "clickhouse", "contract", "migrate", "edge", "api"} <= seen


def test_a_circle_is_refused() -> None:
    with pytest.raises(CycleError):
        in_order([Service("a", ["true"], ("b",)), Service("b", ["true"], ("a",))])


def test_selection_brings_what_it_needs() -> None:
    parts = build(config())
    assert set(names(select(parts, {"contract"}))) == {"kafka", "registry", "contract"}
    assert set(names(select(parts, {"clickhouse"}))) == {"clickhouse"}
    assert {"kafka", "clickhouse", "migrate"} <= set(names(select(parts, {"history"})))
    assert names(select(parts, None)) == names(parts)
    with pytest.raises(UnknownService, match="no such service: kafkas, x .*kafka"):
        select(parts, {"x", "kafkas"})


def test_parts_that_live_elsewhere_are_neither_started_nor_waited_for() -> None:
    parts = build(config(kafka="broker:9092", registry="http://reg:8081/", clickhouse_host="ch"))
    assert not {"kafka", "registry", "clickhouse"} & set(names(parts))
    by_name = {part.name: part for part in parts}
    assert by_name["contract"].needs == ()
    assert "broker:9092" in by_name["contract"].command
    assert "http://reg:8081" in by_name["contract"].command
    assert "ch" in by_name["migrate"].command


def test_no_two_parts_want_the_same_port_and_all_shift() -> None:
    wanted = [port for part in build(config()) for port in part.ports]
    assert len(wanted) == len(set(wanted))
    shifted = [port for part in build(config(port_shift=500)) for port in part.ports]
    assert shifted == [port + 500 for port in wanted]


def test_endpoints_name_the_metrics_of_what_runs() -> None:
    settings = config(port_shift=1000)
    found = endpoints(settings, select(build(settings), {"kafka", "edge"}))
    assert found["kafka"] == "127.0.0.1:20092"
    assert found["clickhouse_native"] == "127.0.0.1:20000"
    assert found["rtp"] == "127.0.0.1:21000-21998"
    assert found["metrics"] == {
        "edge": "http://127.0.0.1:20100/metrics",
        "supervisor": "http://127.0.0.1:20110/metrics",
    }


def test_broker_listens_on_the_bind_address_and_fails_over_fast() -> None:
    values = kafka.properties(config(port_shift=1000))
    assert values["listeners"] == "PLAINTEXT://127.0.0.1:20092,CONTROLLER://127.0.0.1:20093"
    assert values["group.min.session.timeout.ms"] == "1000"
    assert values["group.initial.rebalance.delay.ms"] == "0"
    assert values["auto.create.topics.enable"] == "false"
    assert not [name for name in values if "timestamp.type" in name]  # a topic's own setting
    everywhere = kafka.properties(config(bind_host="0.0.0.0"))
    assert everywhere["listeners"].startswith("PLAINTEXT://0.0.0.0:19092")
    assert everywhere["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"


def test_properties_text_escapes_backslashes() -> None:
    assert kafka.render({"a": "b\\c", "d": "e=f"}) == "a=b\\\\c\nd=e=f\n"


def test_registry_keeps_its_schemas_in_a_file_and_hides_its_management_port() -> None:
    line = registry.command(config(port_shift=7))
    assert "-Dapicurio.datasource.url=jdbc:h2:file:/nowhere/ringlog/registry/schemas" in (
        option.split(";")[0] for option in line
    )
    assert "-Dquarkus.management.host=127.0.0.1" in line
    assert "-Dquarkus.management.port=18089" in line


def test_the_password_is_not_on_a_command_line() -> None:
    parts = build(config(clickhouse_password="s3cret"))
    assert not [part.name for part in parts if any("s3cret" in word for word in part.command)]
    (clickhouse,) = (part for part in parts if part.name == "clickhouse")
    assert "RINGLOG_CLICKHOUSE_PASSWORD" in clickhouse.command


def test_two_edges_share_the_rtp_ports_and_have_all_else_of_their_own() -> None:
    by_name = {
        part.name: part for part in build(config(edges=2, port_shift=40, media_url="ws://x"))
    }
    wanted = [port for part in by_name.values() for port in part.ports]
    assert len(wanted) == len(set(wanted))
    ports: list[set[int]] = []
    for name in ("edge", "edge-2"):
        serving, spare = by_name[name], by_name[f"{name}-b"]
        assert serving.env == spare.env and spare.needs == (name,)
        env = {key.removeprefix("RINGLOG_").lower(): value for key, value in serving.env.items()}
        theirs = config(**{"port_shift": 40, "media_url": "ws://x"} | env)
        assert theirs.edge_id == name
        assert {theirs.port(theirs.media_ws_port), theirs.port(theirs.edge_control_port)} <= set(
            serving.ports
        )
        assert (theirs.media_url == "ws://x") == (name == "edge")
        ports.append(set(theirs.rtp_ports))
    assert ports[0].isdisjoint(ports[1]) and len(ports[0]) == len(ports[1])
    assert ports[0] | ports[1] == set(config(port_shift=40).rtp_ports)
    assert not {"edge-2", "edge-2-b"} & set(names(build(config())))
