"""The softphone's page and tokens: who gets one, and what it is good for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from streams.api.edge import Edges
from streams.api.softphone import PAGE_FILES, TOKEN_MS, Tokens
from tests.unit.api.test_doors import World

KEY = "k" * 20


@pytest.fixture(params=[None, KEY])
async def api(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """One API without and one with a configured key; its edge takes everything."""

    async def ask(_: Edges, method: str, path: str, *__: object, **___: object) -> Any:
        return web.json_response({"asked": f"{method} {path}"}, status=201)

    async def opened(_: Edges, path: str, *__: object, **___: object) -> Any:
        return web.json_response({"asked": f"POST {path}"}, status=201)

    monkeypatch.setattr(Edges, "ask", ask)
    monkeypatch.setattr(Edges, "open", opened)
    settings = {} if request.param is None else {"api_key": cast(Any, request.param)}
    async with World(tmp_path, **settings) as world:
        yield world


def own_page(world: World) -> dict[str, str]:
    return {"Sec-Fetch-Site": "same-origin", "Origin": f"http://127.0.0.1:{world.port}"}


async def token_of(world: World) -> str:
    key = world.config.api_key
    headers = own_page(world)
    if key is not None:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    status, told = await world.ask("POST", "/softphone/token", headers=headers)
    assert status == 200 and told["expires_at"] - told["now"] == TOKEN_MS
    return str(told["token"])


async def test_anybody_may_read_the_page(api: World) -> None:
    page = {"Sec-Fetch-Site": "none", "Host": "phone.example"}
    for path in PAGE_FILES:
        async with api.session.get(path, headers=page) as answer:
            assert answer.status == 200
            policy = answer.headers["Content-Security-Policy"]
            text = await answer.text()
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "http://" not in text and "https://" not in text, "nothing from elsewhere"
        assert KEY not in text


async def test_a_foreign_page_gets_no_token(api: World) -> None:
    own = own_page(api)
    for headers in (
        own | {"Sec-Fetch-Site": "cross-site", "Origin": "https://example.com"},
        own | {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
        own | {"Origin": "http://127.0.0.1:1"},
        own | {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": own["Origin"]},
        # A name of somebody else's that points at us, and a proxy that lets outsiders in.
        own | {"Host": "example.com", "Origin": "http://example.com"},
        own | {"X-Forwarded-For": "192.0.2.1"},
        own | {"Authorization": "Bearer wrong"},
    ):
        assert (await api.ask("POST", "/softphone/token", headers=headers))[0] == 401
        for path in ("/whip/sales", "/api/tasks/assign"):
            assert (await api.ask("POST", path, headers=headers, data=b""))[0] == 401


async def test_our_own_page_without_the_key(api: World) -> None:
    status, _ = await api.ask("POST", "/softphone/token", headers=own_page(api))
    assert status == (200 if api.config.api_key is None else 401)
    for path in ("/whip/sales", "/api/tasks/assign"):
        assert (await api.ask("POST", path, headers=own_page(api), data=b""))[0] == 401


async def test_what_a_token_is_good_for(api: World) -> None:
    token = await token_of(api)
    page = own_page(api) | {"Authorization": f"Bearer {token}"}
    sdp = page | {"Content-Type": "application/sdp"}
    told = await api.ask("POST", "/whip/a%2Fb?playbook=p&x=1", headers=sdp, data=b"v=0")
    assert told == (201, {"asked": "POST /whip/a%2Fb?playbook=p"})
    assert (await api.ask("PATCH", "/whip/sales/web-1", headers=page, data=b""))[0] == 201
    assert (await api.ask("DELETE", "/whip/sales/web-1", headers=page))[0] == 201
    assert (await api.ask("GET", "/softphone/choices", headers=page))[0] == 201
    for method, path in [
        ("POST", "/api/tasks/assign"),
        ("POST", "/api/calls/status"),
        ("GET", "/api/calls/status"),
        ("POST", "/api/media/sessions"),
        ("GET", "/api/optouts"),
        ("POST", "/softphone/token"),
        ("GET", "/ws/events?topics=calls.events"),
        ("GET", "/ws/events?topics=calls.events&call_id=web-1"),
    ]:
        assert (await api.ask(method, path, headers=page))[0] == 401, path


async def test_a_token_follows_a_call_from_a_browser_alone(api: World) -> None:
    """422 is the answer to an unknown topic, once the door is open."""
    protocols = own_page(api) | {"Sec-WebSocket-Protocol": f"ringlog, {await token_of(api)}"}
    path = "/ws/events?topics=none&call_id="
    assert (await api.ask("GET", path + "web-1", headers=protocols))[0] == 422
    assert (await api.ask("GET", path + "other", headers=protocols))[0] == 401
    assert (await api.ask("GET", path, headers=protocols))[0] == 401
    wrong = protocols | {"Sec-WebSocket-Protocol": "ringlog, x.y.z"}
    assert (await api.ask("GET", path + "web-1", headers=wrong))[0] == 401


async def test_an_offer_that_is_too_long(api: World) -> None:
    sdp = {"Authorization": f"Bearer {await token_of(api)}", "Content-Type": "application/sdp"}
    assert (await api.ask("POST", "/whip/sales", headers=sdp, data=b"x" * 40_000))[0] == 413
    status, _ = await api.ask("PUT", "/whip/sales", headers=sdp)
    assert status == 405


def test_a_token_ends() -> None:
    tokens = Tokens(b"secret")
    token, expires_ms = tokens.made(1_000)
    assert expires_ms == 1_000 + TOKEN_MS
    assert tokens.holds(token, 1_000) and tokens.holds(token, expires_ms - 1)
    assert not tokens.holds(token, expires_ms)
    assert not Tokens(b"other").holds(token, 1_000)
    assert not tokens.holds("9" + token, 1_000), "a later end is another token"


@given(st.text(max_size=140))
def test_no_text_is_a_token(text: str) -> None:
    assert not Tokens(b"secret").holds(text, 0)
