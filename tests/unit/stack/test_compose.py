"""docker-compose.yml runs the same parts as `ringlog up`, with the same commands and settings."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from ringlog.jvm import pins
from ringlog.settings import Settings, root
from stack import kafka
from stack.services import Service, build

_SHAPE = {
    "type": "object",
    "required": ["services", "volumes"],
    "patternProperties": {"^x-": {}},
    "properties": {
        "volumes": {"type": "object"},
        "services": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["image"],
                "additionalProperties": False,
                "properties": {
                    "image": {"type": "string"},
                    "build": {"type": "string"},
                    "command": {"type": "string"},
                    "network_mode": {"const": "host"},
                    "restart": {"type": "string", "pattern": "^(unless-stopped|on-failure:\\d+)$"},
                    "stop_grace_period": {"type": "string", "pattern": "^\\d+s$"},
                    "ports": {
                        "type": "array",
                        "items": {"type": "string", "pattern": "^127\\.0\\.0\\.1:\\d+:\\d+$"},
                    },
                    "volumes": {
                        "type": "array",
                        "items": {"type": "string", "pattern": "^[a-z-]+:/"},
                    },
                    "environment": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                    },
                    "healthcheck": {"type": "object", "required": ["test", "interval"]},
                    "depends_on": {
                        "type": "object",
                        "additionalProperties": {
                            "type": "object",
                            "required": ["condition"],
                            "properties": {
                                "condition": {
                                    "enum": [
                                        "service_started",
                                        "service_healthy",
                                        "service_completed_successfully",
                                    ]
                                }
                            },
                        },
                    },
                },
            },
        },
    },
    "additionalProperties": False,
}  # fmt: skip


@cache
def compose() -> dict[str, Any]:
    """The file, merges resolved."""
    content: dict[str, Any] = yaml.safe_load((root() / "docker-compose.yml").read_text())
    return content


def stack_parts() -> dict[str, Service]:
    """What `ringlog up` runs with default settings."""
    settings = Settings.model_validate({"home": Path("/data"), "port_shift": 0})
    return {part.name: part for part in build(settings)}


def test_shape_and_references_are_valid() -> None:
    jsonschema.validate(compose(), _SHAPE)
    services, volumes = compose()["services"], compose()["volumes"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], needed
            if how["condition"] == "service_completed_successfully":
                assert services[needed]["restart"].startswith("on-failure"), needed
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in volumes, name


def test_same_parts_with_the_same_commands_as_on_one_machine() -> None:
    parts, services = stack_parts(), compose()["services"]
    assert services.keys() == parts.keys()
    for name, part in parts.items():
        command = services[name].get("command")
        if command is not None:
            assert shlex.split(command)[1:] == list(part.command)[1:], name


def test_same_dependencies_as_on_one_machine() -> None:
    services = compose()["services"]
    for name, part in stack_parts().items():
        reached: set[str] = set()
        todo = list(services[name].get("depends_on", {}))
        while todo:
            needed = todo.pop()
            reached.add(needed)
            todo.extend(services[needed].get("depends_on", {}))
        assert set(part.needs) <= reached, name


def test_addresses_are_those_of_the_default_settings() -> None:
    settings = Settings.model_validate({"port_shift": 0, "kafka": "", "registry": ""})
    ours = compose()["services"]["edge"]["environment"]
    assert ours["RINGLOG_KAFKA"] == settings.kafka_bootstrap
    assert ours["RINGLOG_REGISTRY"] == settings.registry_url
    published = {
        int(port.split(":")[1])
        for service in compose()["services"].values()
        for port in service.get("ports", [])
    }
    assert published == {
        settings.kafka_port,
        settings.registry_port,
        settings.clickhouse_native_port,
        settings.clickhouse_http_port,
    }


def test_broker_settings_and_versions_are_those_of_the_one_machine_stack() -> None:
    container = compose()["services"]["kafka"]["environment"]
    properties = kafka.properties(Settings.model_validate({"port_shift": 0}))
    differ = re.compile("listener|quorum|log.dirs")
    for variable, value in container.items():
        name = variable.removeprefix("KAFKA_").lower().replace("_", ".")
        if not differ.search(name):
            assert properties[name] == value, variable
    versions = {pin.artifact: pin.version for pin in pins()}
    assert compose()["services"]["kafka"]["image"].endswith(":" + versions["kafka_2.13"])
    registry = compose()["services"]["registry"]["image"]
    assert registry.endswith(":" + versions["apicurio-registry-app"])
