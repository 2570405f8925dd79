"""TLS towards an Asterisk whose URL is `https:`."""

import ssl


def tls_of(url: str, ca_file: str = "") -> ssl.SSLContext | None:
    """What checks its certificate: against `ca_file` (PEM) where one is named, else against the
    system's authorities; None for a URL without TLS. Raises ValueError for a file that is none."""
    if not url.startswith("https:"):
        return None
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"ca_file {ca_file}: {error}") from None
