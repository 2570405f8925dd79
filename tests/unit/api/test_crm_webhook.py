"""The CRM's webhook at the API: signed changes are on the log before the answer."""

import base64
import json
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ringlog.crm.mapping import SAMPLE_FILE
from ringlog.webhooks import headers_of
from schemas.events import CustomerChange
from tests.unit.api.test_doors import World

KEY = b"k" * 32
SECRET = SecretStr("whsec_" + base64.b64encode(KEY).decode())
BODY = {"type": "customer.updated", "event_id": "e1", "data": {"id": "c1", "level": "vip"}}


async def _post(world: World, body: bytes, key: bytes = KEY, name: str = "m1") -> int:
    signed = headers_of(key, "m1", int(time.time()), body) | {"webhook-id": name}
    status, _ = await world.ask("POST", "/api/customers/changes", data=body, headers=signed)
    return status


async def test_a_signed_change_needs_no_key_and_is_on_the_log_when_answered(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"api_key": SecretStr("k"), "crm_webhook_secret": SECRET,
                                "crm_mapping": SAMPLE_FILE}  # fmt: skip
    async with World(tmp_path, **settings) as world:
        body = json.dumps(BODY).encode()
        assert await _post(world, body) == 204
        assert await _post(world, body) == 204
        first, again = world.log.events
        assert isinstance(first, CustomerChange) and isinstance(again, CustomerChange)
        assert (first.customer_id, first.level, first.event_id) == ("c1", "vip", again.event_id)
        assert await _post(world, body, b"o" * 32) == 401
        assert await _post(world, body, name="m2") == 401
        assert await _post(world, b"{") == 422
        assert await _post(world, b'{"type": "other"}') == 422
        assert await _post(world, b"{}" + b" " * 70_000) == 413
        assert len(world.log.events) == 2


async def test_without_a_secret_or_a_mapping_it_is_not_served(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        assert await _post(world, b"{}") == 404
    async with World(tmp_path, crm_webhook_secret=SECRET) as world:
        assert await _post(world, b"{}") == 503
