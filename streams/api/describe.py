"""Words for describing operations in OpenAPI 3.1: each routes module has its `PATHS`.

A model's class stands in for its schema; `streams.api.openapi` puts a reference there.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp.hdrs import LOCATION, RETRY_AFTER, WWW_AUTHENTICATE
from pydantic import BaseModel

from ringlog.problems import PROBLEM_JSON

JSON: Final = "application/json"

Schema = type[BaseModel] | dict[str, Any]
Paths = dict[str, dict[str, dict[str, Any]]]
"""Path -> method in small letters -> operation."""

TEXT: Final[dict[str, Any]] = {"type": "string"}
UUID: Final = TEXT | {"format": "uuid"}
NAME: Final = TEXT | {"minLength": 1}

OPEN: Final[list[dict[str, list[str]]]] = []
"""Security of what anybody may read."""

KEY_OR_TOKEN: Final[list[dict[str, list[str]]]] = [{"key": []}, {"token": []}]
"""Security of what the softphone's page may do, too."""

SIGNED: Final[list[dict[str, list[str]]]] = [{"signature": []}]
"""Security of a webhook."""


def answer(
    text: str,
    schema: Schema | None = None,
    *,
    of: str = JSON,
    headers: Mapping[str, str] | None = None,
    links: Mapping[str, dict[str, str]] | None = None,
) -> dict[str, Any]:
    """A success. `headers`: name -> meaning; `links`: operation that one can go on with -> its
    parameters, by runtime expressions (OpenAPI 3.1, section 4.8.20.4)."""
    out: dict[str, Any] = {"description": text}
    if schema is not None:
        out["content"] = {of: {"schema": schema}}
    if headers:
        out["headers"] = {name: _header(meaning) for name, meaning in headers.items()}
    if links:
        out["links"] = {
            name: {"operationId": name, "parameters": parameters}
            for name, parameters in links.items()
        }
    return out


def at(path: str) -> dict[str, str]:
    """The `Location` header of an answer."""
    return {LOCATION: f"`{path}`"}


def named(name: str, text: str, schema: dict[str, Any] = NAME) -> dict[str, Any]:
    """A parameter in the path."""
    return {
        "name": name, "in": "path", "required": True, "description": text, "schema": schema,
    }  # fmt: skip


def header(name: str, text: str, schema: dict[str, Any], required: bool = False) -> dict[str, Any]:
    """A header of the request."""
    return {
        "name": name, "in": "header", "required": required, "description": text, "schema": schema,
    }  # fmt: skip


def operation(
    name: str,
    summary: str,
    answers: Mapping[int, dict[str, Any]],
    *,
    problems: Mapping[int, str] | None = None,
    parameters: Iterable[dict[str, Any]] = (),
    query: type[BaseModel] | None = None,
    body: Schema | None = None,
    body_type: str | Iterable[str] = JSON,
    body_required: bool = True,
    security: list[dict[str, list[str]]] | None = None,
) -> dict[str, Any]:
    """One operation. `problems`: status -> meaning, beside those that its query, body and key
    bring with them; `query`: model of all its query parameters; `security` None: the key."""
    meant = dict(_EVERYWHERE)
    if security != OPEN:
        meant[401] = "The key is needed"
    if query is not None:
        meant[422] = "Invalid"
    if body is not None:
        meant |= _OF_BODIES
    meant |= problems or {}
    responses = dict(answers) | {status: _problem(status, text) for status, text in meant.items()}
    out: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "parameters": [*parameters, *_of_query(query)],
        "responses": {str(status): responses[status] for status in sorted(responses)},
    }
    if body is not None:
        types = [body_type] if isinstance(body_type, str) else body_type
        content = {name: {"schema": body} for name in types}
        out["requestBody"] = {"required": body_required, "content": content}
    if security is not None:
        out["security"] = security
    return out


_EVERYWHERE: Final = {500: "A fault of ours", 503: "The service is starting"}

_OF_BODIES: Final = {
    400: "The body cannot be read",
    413: "The body is too long",
    415: "The body has another content type",
    422: "Invalid",
}

_PROBLEM_HEADERS: Final[dict[int, dict[str, str]]] = {
    401: {WWW_AUTHENTICATE: "`Bearer`"},
    503: {RETRY_AFTER: "When to ask again, s; not always there"},
}


def _problem(status: int, text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return answer(text, schema, of=PROBLEM_JSON, headers=_PROBLEM_HEADERS.get(status))


def _header(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "schema": TEXT}


def _of_query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    """The parameters that a model stands for."""
    if model is None:
        return []
    schema = model.model_json_schema()
    out = []
    for name, field in schema["properties"].items():
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        (kind,) = kinds
        left_out = ("description", "title", "default")
        found: dict[str, Any] = {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field.get("description", ""),
            "schema": {k: v for k, v in kind.items() if k not in left_out},
        }
        if field.get("default") is not None:
            found["schema"]["default"] = field["default"]
        out.append(found)
    return out
