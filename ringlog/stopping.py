"""Tells a waiting service to stop."""


class Stopped(Exception):
    """The service was told to stop while it waited or read; the text says for what."""
