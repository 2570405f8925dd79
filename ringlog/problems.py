"""The kinds of errors that Ringlog's HTTP ports answer with, and the answer itself (RFC 9457).

A kind's name never changes: programs decide by it. The API tells about each at its address.
"""

import json
import re
from typing import Any, Final

from aiohttp import web

PROBLEM_JSON: Final = "application/problem+json"

KINDS_PATH: Final = "/problems/"
"""Where the API tells about a kind."""

KINDS: Final[dict[str, str]] = {
    "Changed meanwhile": "Somebody else changed the campaign just now. Read it, and ask again.",
    "History does not answer": "What is older than a day lies in ClickHouse: `ringlog status` "
    "shows whether it runs. Ask again after `Retry-After`.",
    "Idempotency-Key reused": "This key came before with another body. A repeat sends the same "
    "body; another wish needs another key.",
    "Internal error": "A fault of ours: the log of the service that answered tells more.",
    "Invalid request": "`detail` and `errors` name the field and what it may be.",
    "JSON expected": "Send `Content-Type: application/json`.",
    "Key needed": "Send `Authorization: Bearer` with RINGLOG_API_KEY, or with what the file "
    "`api-key` in the stack's home holds.",
    "No browser can be served now": "Every place for browsers is taken, or the edge is starting. "
    "Try again after `Retry-After`.",
    "No edge serves": "No edge takes calls now. `GET /api/edges` and `ringlog status` show why.",
    "No media port": "Every port from RINGLOG_RTP_PORT_MIN to RINGLOG_RTP_PORT_MAX is taken: "
    "end calls, or name more ports.",
    "No mapping": "The site's mapping of customers cannot be read: `ringlog crm check` says why.",
    "No robot for it": "No robot of the campaign's pool has its playbook, so that dispatch would "
    "refuse every contact. `detail` names both.",
    "No such campaign": "`GET /api/campaigns` lists them.",
    "No such call": "No call has this id. `GET /api/calls/status` lists calls.",
    "No such customer": "Nothing is known of this customer yet.",
    "No such edge": "`GET /api/edges` lists the edges.",
    "No such media session": "The call has no media here: it has ended, or was never opened.",
    "No such name": "Pool, playbook or recogniser: `detail` names which, and what there is.",
    "No such opt-out": "`GET /api/optouts` lists those in force.",
    "No such session": "The browser's call has ended.",
    "No such task": "No task has this id.",
    "No webhook": "Set RINGLOG_CRM_WEBHOOK_SECRET to take changes of customers here.",
    "Not JSON": "The body is no JSON (RFC 8259); `detail` says where it breaks.",
    "Not a media session": "`detail` names the field and what it may be.",
    "Not a wish to drain": "Send a JSON object, as `POST /api/edges/{edge_id}/drain` describes.",
    "Not now": "The campaign's state does not allow it; `detail` says why.",
    "Not ready": "The service is starting; `detail` says for what it waits.",
    "Not recorded": "Kafka took no record, so nothing was done. Ask again.",
    "Not seen yet": "The change is on the log, but not read by this process yet. Read the "
    "campaign: its version tells whether the change counts.",
    "Not signed": "The webhook's signature, or its time, is not right (Standard Webhooks).",
    "Only for programs on this machine": "This port of the edge serves the API beside it: ask "
    "the API.",
    "Only for the API": "This port of the edge serves the API: ask `/api/media/sessions`.",
    "Refused": "Dispatch has refused the task; `detail` is the reason.",
    "Settings cannot be read": "A newer Ringlog has written the campaign's settings.",
    "The body did not come": "The request's body stopped half-way.",
    "The campaign exists": "With other settings: change it with PUT, or choose another id.",
    "The call exists": "A call has this id. Choose another, or end that call first.",
    "The edge does not answer": "The call's edge did not answer in time. Ask again.",
    "The edge is gone": "The edge that served the call has ended; another edge ends its calls.",
    "This edge takes no more calls": "It drains, or is full. The API asks another edge by itself.",
    "Too large": "`detail` says how large a body may be.",
    "Too many listeners": "Every place for listeners is taken; close one.",
    "Unknown charset": "Send JSON as UTF-8, without a charset parameter.",
    "Unknown page": "`next` names nothing in this list, or what it named is too old. Begin again "
    "without it.",
    "Unknown format": "Name the list's format: `?format=csv`, `jsonl` or `xlsx`.",
    "Unreadable list": "`detail` says where the list breaks; the rows before it were taken.",
    "Unreadable body": "The body's transfer or content encoding is incomplete.",
}
"""Title -> how to mend it, in Markdown."""


def kind_of(title: str) -> str:
    """A title's name in addresses, such as `no-such-task`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


BY_KIND: Final = {kind_of(title): title for title in KINDS}


def type_of(title: str) -> str:
    """The `type` member: a kind's address, or `about:blank` where the status says it all."""
    return KINDS_PATH + kind_of(title) if title in KINDS else "about:blank"


def problem(
    status: int, title: str, detail: str = "", headers: dict[str, str] | None = None, **more: Any
) -> web.Response:
    """An error as problem+json; `more` are members of its own."""
    return web.Response(
        text=json.dumps(problem_body(status, title, detail, **more)),
        status=int(status), content_type=PROBLEM_JSON, headers=headers,
    )  # fmt: skip


def problem_body(status: int, title: str, detail: str = "", **more: Any) -> dict[str, Any]:
    """An error's members (RFC 9457, section 3.1)."""
    body = {"type": type_of(title), "title": title, "status": int(status)} | more
    return body | {"detail": detail} if detail else body
