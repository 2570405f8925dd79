"""Where the CRM's parts are, with their passwords: another machine's, or the stack's own."""

from urllib.parse import urlsplit

from ringlog.settings import Settings
from ringlog.site_key import derived_key, site_key

USER = "ringlog"
"""User at the stack's own RabbitMQ, and owner of the sample CRM."""

DATABASE = "crm"

MYSQL_PART = "debezium-mysql"
"""Of `stack/jvm.lock`: Debezium's connector for MySQL with what it needs."""

SIGNALS = "signals"
"""File within the home's folder `crm` from which the capture is told to read a table."""


def own_password(config: Settings, purpose: str) -> str:
    """Password of a part that the stack runs itself; raises SiteKeyError."""
    return derived_key(site_key(config), purpose).hex()


def amqp_url(config: Settings) -> str:
    """RabbitMQ's URL as set, else that of the stack's own; raises SiteKeyError."""
    set_url = config.crm_amqp_url.get_secret_value()
    if set_url:
        return set_url
    port = config.port(config.crm_amqp_port)
    return f"amqp://{USER}:{own_password(config, 'rabbitmq')}@127.0.0.1:{port}/"


def database_url(config: Settings) -> str:
    """The CRM database's URL as set, else that of the stack's own; raises SiteKeyError."""
    set_url = config.crm_database_url.get_secret_value()
    if set_url:
        return set_url
    port = config.port(config.crm_postgres_port)
    return f"postgresql://{USER}:{own_password(config, 'postgres')}@127.0.0.1:{port}/{DATABASE}"


def is_mysql(config: Settings) -> bool:
    """Whether the CRM's database is a MySQL."""
    return urlsplit(config.crm_database_url.get_secret_value()).scheme == "mysql"
