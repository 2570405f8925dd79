"""Twilio's door: `/media/twilio` for streams, `/media/twilio/answer` for the TwiML of a call.

A request is signed by Twilio with the account's auth token (`X-Twilio-Signature`): HMAC-SHA1 over
the public URL, and the sorted parameters of a POST. Without an auth token in our settings only
streams whose `<Parameter>`s carry a call's token are let in.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit
from xml.sax.saxutils import quoteattr

import aiohttp

from ingest.ws.dialects.base import SESSION_FIELDS, Dialect
from ingest.ws.dialects.twilio import TwilioDialect
from ingest.ws.doors.base import DoorClosed, Handshake, Page
from ringlog import log
from ringlog.settings import Settings

logger = log.logger("ringlog.ingest.twilio")

TIMEOUT_S: Final = 5.0
TRIES: Final = 2
MOST_STREAMS: Final = 5
"""Streams of one call, one after the other, before its TwiML hangs up."""

_PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}


def signature(auth_token: str, url: str, posted: Mapping[str, str] | None = None) -> str:
    """`X-Twilio-Signature` of a request; `posted`: the parameters of a POST's body."""
    signed = url + "".join(key + value for key, value in sorted((posted or {}).items()))
    digest = hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def signed_urls(url: str) -> Iterable[str]:
    """The forms of one URL that Twilio may have signed: with its port or without, and with a slash
    at the end of the path or without."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = parts.port or _PORTS.get(parts.scheme)
    hosts = {parts.netloc, host, f"{host}:{port}"}
    paths = {parts.path, parts.path.rstrip("/"), parts.path.rstrip("/") + "/"}
    return sorted(
        urlunsplit((parts.scheme, netloc, path, parts.query, ""))
        for netloc in hosts
        for path in paths
    )


class TwilioDoor:
    """Streams, and the answer to a call that came to a number of Twilio's."""

    def __init__(
        self,
        config: Settings,
        media_url: str,
        is_over: Callable[[str], bool],
        customer_of: Callable[[str], str],
    ) -> None:
        """`media_url`: below which Twilio reaches us; `is_over`: whether a call has ended;
        `customer_of`: the customer's id for a number. Both are asked for inbound calls."""
        token = config.twilio_auth_token
        self._auth_token = token.get_secret_value() if token is not None else ""
        self._account_sid = config.twilio_account_sid
        self._rest_url = config.twilio_url.rstrip("/")
        self._media_url = media_url.rstrip("/")
        self._is_over = is_over
        self._customer_of = customer_of

    def check(self, handshake: Handshake, now_s: float) -> Page | None:
        """Lets a signed handshake pass, or answers a call; raises DoorClosed."""
        path, _, query = handshake.target.partition("?")
        found = handshake.headers.get_all("X-Twilio-Signature")
        if path.removesuffix("/") == "/media/twilio":
            if self._auth_token and not self._is_signed(handshake.target, found, "ws"):
                raise DoorClosed(HTTPStatus.FORBIDDEN, "the signature is wrong")
            return None
        if path != "/media/twilio/answer":
            raise DoorClosed(HTTPStatus.NOT_FOUND, "no such page")
        if not self._auth_token:
            raise DoorClosed(HTTPStatus.FORBIDDEN, "RINGLOG_TWILIO_AUTH_TOKEN is not set")
        if not self._is_signed(handshake.target, found, "http"):
            raise DoorClosed(HTTPStatus.FORBIDDEN, "the signature is wrong")
        return Page(HTTPStatus.OK, "text/xml", self._answer(query))

    def _is_signed(self, target: str, found: list[str], kind: str) -> bool:
        public = self._public(target, kind)
        right = [signature(self._auth_token, url).encode() for url in signed_urls(public)]
        return len(found) == 1 and any(hmac.compare_digest(found[0].encode(), one) for one in right)

    def _public(self, target: str, kind: str) -> str:
        """The URL that Twilio asked for: a proxy may have another path for `/media`."""
        scheme, _, rest = self._media_url.partition("://")
        secure = scheme in ("wss", "https")
        return f"{kind}{'s' if secure else ''}://{rest}{target.removeprefix('/media')}"

    def _answer(self, query: str) -> str:
        """TwiML that connects a call to a stream, again when one breaks, until it is over."""
        try:
            asked = {key: values[0] for key, values in parse_qs(query, max_num_fields=128).items()}
        except ValueError:
            raise DoorClosed(HTTPStatus.BAD_REQUEST, "too many parameters") from None
        call_id, phone = asked.get("CallSid", ""), asked.get("From", "")
        if not call_id:
            raise DoorClosed(HTTPStatus.BAD_REQUEST, "CallSid is missing: use HTTP GET")
        streams = int(asked["streams"]) if asked.get("streams", "").isdigit() else 0
        if self._is_over(call_id) or streams >= MOST_STREAMS:
            return "<Response><Hangup/></Response>"
        given = {name: asked[name] for name in SESSION_FIELDS if name in asked}
        if phone.startswith("+"):
            given.setdefault("phone", phone)
            given.setdefault("customer_id", self._customer_of(phone))
        parameters = "".join(
            f"<Parameter name={quoteattr(name)} value={quoteattr(value)}/>"
            for name, value in sorted(given.items())
        )
        ours = {name: asked[name] for name in sorted(SESSION_FIELDS) if name in asked}
        again = urlencode(ours | {"streams": str(streams + 1)})
        return (
            f"<Response><Connect><Stream url={quoteattr(self._public('/media/twilio', 'ws'))}>"
            f'{parameters}</Stream></Connect><Redirect method="GET">'
            f"{self._public('/media/twilio/answer', 'http')}?{again.replace('&', '&amp;')}"
            "</Redirect></Response>"
        )

    def greet(self, handshake: Handshake) -> Dialect:
        """A stream's dialect."""
        return TwilioDialect(bool(self._auth_token), self._account_sid)

    async def end(self, dialect: Dialect) -> None:
        """Ends the call by Twilio's REST API; without credentials its TwiML goes on."""
        if not isinstance(dialect, TwilioDialect) or not dialect.call_sid or not self._auth_token:
            return
        account, call = quote(dialect.account_sid, safe=""), quote(dialect.call_sid, safe="")
        url = f"{self._rest_url}/2010-04-01/Accounts/{account}/Calls/{call}.json"
        for attempt in range(TRIES):
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http,
                    http.post(
                        url, data={"Status": "completed"},
                        auth=aiohttp.BasicAuth(dialect.account_sid, self._auth_token),
                    ) as answer,
                ):  # fmt: skip
                    if answer.status < 400 or answer.status == HTTPStatus.NOT_FOUND:
                        return  # 404: it has ended already
                    logger.warning("hang-up refused", status=answer.status, attempt=attempt)
                    if answer.status < 500 and answer.status != HTTPStatus.TOO_MANY_REQUESTS:
                        return
            except (TimeoutError, aiohttp.ClientError) as error:
                logger.warning("hang-up failed", error=type(error).__name__, attempt=attempt)
