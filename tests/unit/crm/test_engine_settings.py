"""Debezium's settings from ours."""

import re
from pathlib import Path

from pydantic import SecretStr

from ringlog.crm.mapping import parse_mapping
from ringlog.settings import Settings
from streams.crm.engine import more_jars, properties

MAPPING = parse_mapping(
    "source: s\ntables: {customers: {customer_id: id}, erp.orders$1: {customer_id: c}}", "m"
)


def test_a_database_elsewhere_is_reached_as_its_url_says(tmp_path: Path) -> None:
    url = SecretStr("postgresql://u:p%40x@db.example:5433/shop?sslmode=require")
    found = properties(Settings(home=tmp_path, crm_database_url=url), MAPPING)
    assert [found[f"database.{name}"] for name in
            ("hostname", "port", "user", "password", "dbname", "sslmode")] == [
        "db.example", "5433", "u", "p@x", "shop", "require",
    ]  # fmt: skip


def test_only_the_mapped_tables_are_captured(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, site_key=SecretStr("s" * 32))
    patterns = properties(config, MAPPING)["table.include.list"].split(",")
    captured = [
        name for name in ("public.customers", "erp.orders$1", "x.orders$1", "public.customers2")
        if any(re.fullmatch(pattern, name) for pattern in patterns)
    ]  # fmt: skip
    assert captured == ["public.customers", "erp.orders$1"]


def test_only_the_mapped_columns_are_captured(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, site_key=SecretStr("s" * 32))
    mapping = parse_mapping(
        "source: s\ntables: {customers: {customer_id: id, name: profile.name, "
        "attributes: {due: balance}}}", "m",
    )  # fmt: skip
    patterns = properties(config, mapping)["column.include.list"].split(",")
    captured = [
        column for column in ("id", "profile", "balance", "photo", "id2", "name")
        if any(re.fullmatch(pattern, f"public.customers.{column}") for pattern in patterns)
    ]  # fmt: skip
    assert captured == ["id", "profile", "balance"]


def test_a_mysql_is_read_by_its_own_connector(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, crm_database_url=SecretStr("mysql://u:p%40x@db.example/shop"))
    found = properties(config, MAPPING)
    assert found["connector.class"].endswith(".MySqlConnector")
    assert [found[f"database.{name}"] for name in
            ("hostname", "port", "user", "password", "include.list")] == [
        "db.example", "3306", "u", "p@x", "shop",
    ]  # fmt: skip
    assert not any(name.startswith(("slot", "publication")) for name in found)
    jars = [path.name for path in more_jars(config)]
    assert any(name.startswith("debezium-connector-mysql") for name in jars)
    assert not more_jars(Settings(home=tmp_path))


def test_the_site_s_own_properties_replace_ours(tmp_path: Path) -> None:
    own = tmp_path / "debezium.properties"
    own.write_text("# Theirs\nconnector.class = io.debezium.connector.oracle.OracleConnector\n")
    config = Settings(home=tmp_path, site_key=SecretStr("s" * 32), crm_capture_properties=own)
    found = properties(config, MAPPING)
    assert found["connector.class"] == "io.debezium.connector.oracle.OracleConnector"
    assert found["poll.interval.ms"] == "50"
