"""The parts of a CRM: which start here, what they listen on, and what stays secret."""

import os
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from ringlog.crm.addresses import amqp_url, database_url, own_password
from ringlog.crm.mapping import SAMPLE_FILE, mapping_file
from ringlog.settings import Settings
from stack import postgres, rabbitmq
from stack.services import Service, build

OURS = {"postgres", "crm-schema", "rabbitmq", "debezium", "crm"}
AMQP = SecretStr("amqps://u:p@mq.example/v")
DATABASE = SecretStr("postgresql://u:p%40x@db.example:5433/shop?sslmode=require")


def parts(home: Path, **changes: object) -> dict[str, Service]:
    values = {"home": home, "port_shift": 0, "site_key": "s" * 32} | changes
    return {part.name: part for part in build(Settings.model_validate(values))}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, set()),
        ({"crm": True}, OURS),
        ({"crm": True, "crm_amqp_url": AMQP}, OURS - {"rabbitmq"}),
        ({"crm": True, "crm_database_url": DATABASE}, OURS - {"postgres", "crm-schema"}),
        ({"crm_amqp_url": AMQP}, {"crm"}),
        ({"crm_amqp_url": AMQP, "crm_database_url": DATABASE}, {"crm", "debezium"}),
        ({"crm_results_url": "https://crm.example/hook"}, {"crm"}),
    ],
)
def test_what_is_elsewhere_is_neither_started_nor_waited_for(
    tmp_path: Path, changes: dict[str, object], wanted: set[str]
) -> None:
    found = parts(tmp_path, **changes)
    assert OURS & found.keys() == wanted
    assert all(set(part.needs) <= found.keys() for part in found.values())


def test_every_listener_is_on_loopback_and_passwords_are_in_no_command_line(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, site_key=SecretStr("s" * 32), crm=True)
    rabbitmq.prepare(config)
    written = tmp_path / "rabbitmq" / "rabbitmq.conf"
    assert stat.S_IMODE(os.stat(written).st_mode) == 0o600
    secret = own_password(config, "rabbitmq")
    assert secret != own_password(config, "postgres")
    assert f"default_pass = {secret}\n" in written.read_text()
    assert "listeners.tcp.1 = 127.0.0.1:" in written.read_text()
    assert rabbitmq.environment(config)["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    assert "listen_addresses=127.0.0.1" in postgres.command(config)
    for part in parts(tmp_path, crm=True).values():
        told = " ".join([*part.command, *part.env.values()])
        assert secret not in told and own_password(config, "postgres") not in told


def test_addresses_are_as_set_or_the_stack_s_own(tmp_path: Path) -> None:
    own = Settings(home=tmp_path, site_key=SecretStr("s" * 32), port_shift=0)
    assert amqp_url(own).endswith("@127.0.0.1:18672/")
    assert database_url(own).endswith("@127.0.0.1:18432/crm")
    elsewhere = own.model_copy(update={"crm_amqp_url": AMQP, "crm_database_url": DATABASE})
    assert amqp_url(elsewhere) == AMQP.get_secret_value()
    assert database_url(elsewhere) == DATABASE.get_secret_value()


def test_the_sample_has_a_mapping_until_the_site_has_one(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, crm=True)
    assert mapping_file(config) == SAMPLE_FILE
    (tmp_path / "crm.yaml").touch()
    assert mapping_file(config) == tmp_path / "crm.yaml"
    assert mapping_file(Settings(home=tmp_path / "x")) == tmp_path / "x" / "crm.yaml"
