"""The OpenAPI 3.1 description: what the routes modules say of themselves, with the models' schemas.

A new routes module is added in `_MODULES`; `tests/unit/api/test_description.py` holds that nothing
is left out.
"""

from typing import Any, Final

from pydantic import BaseModel

from ringlog.problems import BY_KIND, KINDS_PATH
from streams.api import (
    calls,
    campaigns,
    crm,
    customers,
    docs_page,
    fleet,
    media,
    optouts,
    softphone,
    tasks,
    whip,
)
from streams.api.describe import OPEN, Paths, answer, operation

_MODULES: Final = (
    tasks, calls, customers, crm, optouts, campaigns, media, fleet, whip, softphone, docs_page,
)  # fmt: skip

PATH: Final = "/openapi.json"

_OWN: Final[Paths] = {
    PATH: {
        "get": operation(
            "description", "This description",
            {200: answer("OpenAPI 3.1", {"type": "object", "required": ["openapi", "paths"]})},
            security=OPEN,
        ),
    },
}  # fmt: skip

_TEXT: Final = """
Everything that happens on a call is an event on Kafka; this is the door for programs.

**Key.** Send `Authorization: Bearer` with RINGLOG_API_KEY, or with what the file `api-key` in the
stack's home folder holds. Programs of the user who runs Ringlog, on the same machine, need none
while none is configured; this page needs it: press *Authorize*.

**Errors** are problem+json (RFC 9457). Programs decide by `type`, which never changes and is the
address of an explanation. An unknown method is answered with 405 and `Allow`.

**Formats** of our own: `ringlog-id` is printable text of any script without spaces and
`| / \\ ? # %`; `phone` is a number in any spelling, which is stored as E.164.
"""

_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457. Some kinds have further members, such as `task_id`.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {
            "description": "The kind, an address that explains it; `about:blank`: as the status",
            "type": "string",
            "enum": ["about:blank", *(KINDS_PATH + kind for kind in sorted(BY_KIND))],
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "errors": {
            "description": "The faults of a request, one by one",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_REF: Final = "#/components/schemas/{model}"


def document() -> dict[str, Any]:
    """The whole document as JSON data."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: Paths = {}
    for module in _MODULES:
        paths |= module.PATHS
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ringlog", "version": "1", "description": _TEXT.strip()},
        "security": [{"key": []}],
        "paths": _with_references(paths | _OWN, schemas),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "The site's key"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "webhook-signature",
                    "description": "Standard Webhooks: `v1,` and base64, by the webhook's secret",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the softphone's page: `POST /softphone/token`",
                },
            },
        },
    }


def _with_references(node: Any, schemas: dict[str, Any]) -> Any:
    """The same with references in place of models, whose schemas are collected."""
    if isinstance(node, dict):
        return {name: _with_references(inner, schemas) for name, inner in node.items()}
    if isinstance(node, list):
        return [_with_references(inner, schemas) for inner in node]
    if isinstance(node, type) and issubclass(node, BaseModel):
        if node.__name__ not in schemas:
            schema = node.model_json_schema(ref_template=_REF)
            schemas |= schema.pop("$defs", {})
            schemas[node.__name__] = schema
        return {"$ref": _REF.format(model=node.__name__)}
    return node
