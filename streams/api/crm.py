"""`POST /api/customers/changes`: changes of customers by a signed webhook (Standard Webhooks)."""

import time
from typing import Final

from aiohttp import web

from ringlog import log
from ringlog.clock import now_ms
from ringlog.crm.mapping import Mapping, load_mapping
from ringlog.crm.translate import CrmMessage, Ignored, Rejected, translate
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from ringlog.webhooks import NotSigned, keys_of, verified_id
from ringlog.yaml_source import InvalidFile
from streams.api.describe import SIGNED, Paths, answer, header, operation
from streams.api.problems import Problem, bytes_of

PATH = "/api/customers/changes"
"""Open without the API's key: the signature says who sends."""

_SEAL: Final = {"type": "string"}

PATHS: Final[Paths] = {
    PATH: {
        "post": operation(
            "change_customer", "A change of a customer, by a signed webhook (Standard Webhooks)",
            {204: answer("On the log")},
            parameters=[
                header("webhook-id", "Names the change: a repeat has no effect", _SEAL, True),
                header("webhook-timestamp", "Seconds since 1970 UTC", _SEAL, True),
            ],
            body={"description": "As the mapping of this site reads it"}, security=SIGNED,
            problems={
                401: "The signature is not right", 404: "No secret is set",
                422: "The mapping does not fit", 503: "Starting, or the mapping is not valid",
            },
        ),
    },
}  # fmt: skip

_log = log.logger("ringlog.api")


class CrmRoutes:
    """The webhook of one API process. The mapping is read once."""

    def __init__(self, config: Settings, producer: EventProducer) -> None:
        self._config, self._producer = config, producer
        secret = config.crm_webhook_secret
        self._keys = [] if secret is None else keys_of(secret.get_secret_value())
        self._mapping: Mapping | None = None
        if self._keys:
            try:
                self._mapping = load_mapping(config)
            except InvalidFile as error:
                _log.error("the CRM's mapping is not valid", error=str(error))

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [web.post(PATH, self.take)]

    async def take(self, request: web.Request) -> web.Response:
        """204 once its changes are on the log, also for a repeat; 401, 404, 422, 503."""
        if not self._keys:
            raise Problem(404, "No webhook", "set RINGLOG_CRM_WEBHOOK_SECRET")
        body = await bytes_of(request)
        try:
            webhook_id = verified_id(self._keys, request.headers, body, time.time())
        except NotSigned as error:
            raise Problem(401, "Not signed", str(error)) from None
        if self._mapping is None:
            raise Problem(503, "No mapping", "`ringlog crm check` says what is wrong with it")
        message = CrmMessage(body, now_ms(), message_id=webhook_id)
        match translate(message, self._mapping, self._config.tenant_id):
            case Rejected(reason):
                raise Problem(422, "Invalid request", reason)
            case Ignored():
                pass
            case events:
                for event in events:  # one after the other: they are of one customer
                    await self._producer.send("customers.changes", event)
        return web.Response(status=204)
