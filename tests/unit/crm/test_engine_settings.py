"""Debezium's settings from ours."""

from pathlib import Path

from pydantic import SecretStr

from ringlog.settings import Settings
from streams.crm.engine import more_jars, properties


def test_a_database_elsewhere_is_reached_as_its_url_says(tmp_path: Path) -> None:
    url = SecretStr("postgresql://u:p%40x@db.example:5433/shop?sslmode=require")
    found = properties(Settings(home=tmp_path, crm_database_url=url), {})
    assert [found[f"database.{name}"] for name in
            ("hostname", "port", "user", "password", "dbname", "sslmode")] == [
        "db.example", "5433", "u", "p@x", "shop", "require",
    ]  # fmt: skip


def test_a_mysql_is_read_by_its_own_connector(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, crm_database_url=SecretStr("mysql://u:p%40x@db.example/shop"))
    found = properties(config, {})
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
    found = properties(config, {})
    assert found["connector.class"] == "io.debezium.connector.oracle.OracleConnector"
    assert found["poll.interval.ms"] == "50"
