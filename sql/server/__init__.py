"""Embedded ClickHouse server: the chDB engine behind ClickHouse's native TCP protocol and HTTP."""
