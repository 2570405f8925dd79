"""TLS of listening ports: one certificate from files, taken anew when the files are renewed."""

import asyncio
import ssl
from pathlib import Path
from typing import Final, NoReturn

from ringlog import log
from ringlog.settings import Settings

logger = log.logger("ringlog.tls")

LOOK_S: Final = 30.0
"""How often the files are looked at."""

HANDSHAKE_S: Final = 5.0
"""Time for a peer's handshake."""


class CertificateUnusable(ValueError):
    """The files are no certificate with its key; the text names the setting and the file."""


class Certificate:
    """The certificate of this site's ports. Connections that are open keep the one that they began
    with."""

    def __init__(self, chain: Path, key: Path | None) -> None:
        """Files in PEM; without `key` the chain's file holds the key, too."""
        self._chain, self._key = chain, key
        self._seen: tuple[tuple[int, int], ...] = ()

    def context(self) -> ssl.SSLContext:
        """A server's context, TLS 1.2 and later; raises CertificateUnusable."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        for setting, path in (("RINGLOG_TLS_CERT", self._chain), ("RINGLOG_TLS_KEY", self._key)):
            try:
                if path is not None:
                    path.read_bytes()
            except OSError as error:
                why = f"{setting}: {path} cannot be read: {error.strerror}"
                raise CertificateUnusable(why) from None
        try:
            # Without a password OpenSSL would ask at the terminal.
            context.load_cert_chain(self._chain, self._key, password=lambda: "")
        except (OSError, ValueError) as error:  # SSLError is an OSError
            both = f"{self._chain}" if self._key is None else f"{self._chain} with {self._key}"
            reason = getattr(error, "reason", None) or "not PEM, or the key is encrypted"
            why = f"RINGLOG_TLS_CERT: {both}: no certificate with its key ({reason})"
            raise CertificateUnusable(why) from None

    async def first(self) -> ssl.SSLContext:
        """The context, as soon as the files can be used; until then the log says why not."""
        while True:
            try:
                self._seen = self._versions()
                return self.context()
            except CertificateUnusable as error:
                logger.error("a port with TLS is not served yet", why=str(error))
            await asyncio.sleep(LOOK_S)

    async def follow(self, context: ssl.SSLContext) -> NoReturn:
        """Takes renewed files into a context; bad ones leave it as it is."""
        while True:
            await asyncio.sleep(LOOK_S)
            if (versions := self._versions()) == self._seen:
                continue
            self._seen = versions
            try:
                self.context()  # all of it can be used, so nothing half-done comes into use
                self._load(context)
            except CertificateUnusable as error:
                logger.error("the renewed certificate is not used", why=str(error))
            else:
                logger.info("the certificate is renewed")

    def _versions(self) -> tuple[tuple[int, int], ...]:
        found: list[tuple[int, int]] = []
        for path in (self._chain, self._key):
            try:
                stat = None if path is None else path.stat()
            except OSError:
                stat = None
            found.append((0, 0) if stat is None else (stat.st_mtime_ns, stat.st_ino))
        return tuple(found)


def certificate_of(config: Settings) -> Certificate | None:
    """The certificate that the settings name; None: ports are served without TLS."""
    if config.tls_cert is None:
        return None
    return Certificate(config.tls_cert, config.tls_key)
