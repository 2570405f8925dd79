"""The OpenAPI 3.1 description, made from the request models."""

from typing import Any

from pydantic import BaseModel

from ringlog.media_session import MediaSessionRequest
from streams.api.fleet import EdgeDrainRequest
from streams.api.models import (
    AssignRequest,
    CallStatusRequest,
    CampaignChangeRequest,
    CampaignRequest,
    CampaignStepRequest,
    OptOutQuery,
    OptOutRequest,
    TestCallRequest,
)
from streams.api.state import CallStatus, TaskStatus

_REF = "#/components/schemas/{model}"


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def _object(**properties: str) -> dict[str, Any]:
    types = {name: {"type": kind} for name, kind in properties.items()}
    return {"application/json": {"schema": {"type": "object", "properties": types}}}


def _answers(**by_status: dict[str, Any] | str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for status, what in by_status.items():
        code = status.lstrip("s")
        if isinstance(what, str):
            content = {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
            out[code] = {"description": what} | ({"content": content} if int(code) >= 400 else {})
        else:
            out[code] = {"description": "Success", "content": what}
    return out


def _parameter(name: str, where: str, text: str, required: bool = False) -> dict[str, Any]:
    return {
        "name": name, "in": where, "required": required, "description": text,
        "schema": {"type": "string"},
    }  # fmt: skip


def _campaigns() -> dict[str, Any]:
    campaign = _object(campaign_id="string", name="string", state="string", version="integer",
                       action="string", actor="string", reason="string", occurred_at="integer",
                       settings="object")  # fmt: skip
    this = [_parameter("id", "path", "The campaign", required=True)]
    listed = [
        *this,
        _parameter("format", "query", "csv, jsonl or xlsx; else by Content-Type"),
        _parameter("map", "query", "Heading:field, as often as needed"),
        _parameter("actor", "query", "Who does it"),
    ]
    file = {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    steps = {
        f"/api/campaigns/{{id}}/{step}": {"post": {
            "summary": f"{words} a campaign", "parameters": this,
            "requestBody": {"content": _json(CampaignStepRequest)},
            "responses": _answers(s200=campaign, s404="No such campaign", s409="Not now"),
        }}
        for step, words in (("start", "Start"), ("pause", "Pause"), ("resume", "Resume"),
                            ("stop", "End"))
    }  # fmt: skip
    return {
        "/api/campaigns": {
            "post": {
                "summary": "Create a campaign, as a draft",
                "requestBody": {"required": True, "content": _json(CampaignRequest)},
                "responses": _answers(s200="It is there already", s201=campaign, s409="It exists "
                                      "with other settings", s422="Invalid"),
            },
            "get": {"summary": "All campaigns", "responses": _answers(s200=_object(items="array"))},
        },
        "/api/campaigns/{id}": {
            "get": {"summary": "A campaign's newest version", "parameters": this,
                    "responses": _answers(s200=campaign, s404="No such campaign")},
            "put": {
                "summary": "Change a campaign's settings", "parameters": this,
                "requestBody": {"required": True, "content": _json(CampaignChangeRequest)},
                "responses": _answers(s200=campaign, s404="No such campaign", s409="It has ended"),
            },
        },
        "/api/campaigns/{id}/import": {"post": {
            "summary": "Load a list of customers; the body is the file", "parameters": listed,
            "requestBody": {"required": True} | file,
            "responses": _answers(s200=_object(import_id="string", rows="integer", added="integer",
                                               duplicates="integer", invalid="integer",
                                               errors="array"),
                                  s404="No such campaign", s413="Too large",
                                  s415="Unknown format", s422="Unreadable list"),
        }},
        "/api/campaigns/{id}/dry-run": {"post": {
            "summary": "What would become of every contact now; of a list, if the body is one",
            "parameters": listed, "requestBody": file,
            "responses": _answers(s200=_object(at="integer", rows="integer", ready="integer",
                                               invalid="integer", duplicates="integer",
                                               later="object", never="object", words="string"),
                                  s404="No such campaign"),
        }},
        "/api/campaigns/{id}/test-call": {"post": {
            "summary": "Call one's own number by the campaign's script", "parameters": this,
            "requestBody": {"required": True, "content": _json(TestCallRequest)},
            "responses": _answers(s202=_object(task_id="string", status="string"),
                                  s404="No such campaign", s422="Invalid"),
        }},
        **steps,
    }  # fmt: skip


def document() -> dict[str, Any]:
    """The whole document as JSON data."""
    models = (
        AssignRequest,
        CallStatusRequest,
        MediaSessionRequest,
        OptOutRequest,
        OptOutQuery,
        CampaignRequest,
        CampaignChangeRequest,
        CampaignStepRequest,
        TestCallRequest,
        EdgeDrainRequest,
        CallStatus,
        TaskStatus,
    )
    schemas: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "description": "RFC 9457",
            "properties": {"title": {"type": "string"}, "status": {"type": "integer"},
                           "detail": {"type": "string"}},
        }
    }  # fmt: skip
    for model in models:
        schema = model.model_json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    task_id = _parameter("task_id", "path", "The task", required=True)
    session = _object(call_id="string", rtp_host="string", rtp_port="integer", ssrc="integer",
                      ws_url="string", token="string")  # fmt: skip
    assigned = _object(task_id="string", call_id="string", robot_id="string", status="string",
                       profile_version="integer")  # fmt: skip
    optout = _object(id="string", scope="string", campaign_id="string", customer_id="string",
                     reason="string", source="string", actor="string",
                     occurred_at="integer")  # fmt: skip
    paths = {
        "/api/tasks/assign": {"post": {
            "summary": "Ask for a call; a repeated Idempotency-Key is the same task",
            "parameters": [_parameter("Idempotency-Key", "header", "The same key means a repeat")],
            "requestBody": {"required": True, "content": _json(AssignRequest)},
            "responses": _answers(s200=assigned, s202="Queued; Location tells where to look",
                                  s409="The key came before with another body",
                                  s422="Invalid, or refused: nobody can serve it"),
        }},
        "/api/tasks/{task_id}": {"get": {
            "summary": "A task's status", "parameters": [task_id],
            "responses": _answers(s200=_json(TaskStatus), s404="No such task"),
        }},
        "/api/tasks/{task_id}/cancel": {"post": {
            "summary": "Cancel a task", "parameters": [task_id],
            "responses": _answers(s202=_object(task_id="string", event_id="string"),
                                  s404="No such task"),
        }},
        "/api/calls/status": {
            "post": {
                "summary": "Report a call's progress",
                "requestBody": {"required": True, "content": _json(CallStatusRequest)},
                "responses": _answers(s202=_object(event_id="string"), s422="Invalid"),
            },
            "get": {
                "summary": "One call, or a page of calls, the newest first",
                "parameters": [
                    _parameter("call_id", "query", "This call alone"),
                    _parameter("state", "query", "Only calls of this state"),
                    _parameter("limit", "query", "Calls on a page"),
                    _parameter("next", "query", "`next` of the page before"),
                ],
                "responses": _answers(s200=_json(CallStatus), s404="No such call"),
            },
        },
        "/api/customers/changes": {"post": {
            "summary": "A change of a customer, by a signed webhook (Standard Webhooks)",
            "security": [],
            "parameters": [
                _parameter("webhook-id", "header", "Names the change", required=True),
                _parameter("webhook-timestamp", "header", "Seconds since 1970", required=True),
                _parameter("webhook-signature", "header", "v1,<base64>", required=True),
            ],
            "requestBody": {"required": True, "content": {"application/json": {}}},
            "responses": _answers(s204="On the log", s401="Not signed", s404="No secret is set",
                                  s422="The mapping does not fit", s503="No mapping"),
        }},
        "/api/customers/{customer_id}/profile": {"get": {
            "summary": "A customer's newest profile",
            "parameters": [_parameter("customer_id", "path", "The customer", required=True)],
            "responses": _answers(s200=_object(customer_id="string", version="integer"),
                                  s404="No such customer"),
        }},
        "/api/optouts": {
            "post": {
                "summary": "Bar a number from being called",
                "requestBody": {"required": True, "content": _json(OptOutRequest)},
                "responses": _answers(s200="It stands already", s201=optout, s422="Invalid"),
            },
            "get": {
                "summary": "A page of the opt-outs in force, the newest first",
                "parameters": [
                    _parameter("limit", "query", "Opt-outs on a page, 1 to 1000"),
                    _parameter("next", "query", "`next` of the page before"),
                ],
                "responses": _answers(s200=_object(items="array", next="string"),
                                      s410="`next` names nothing"),
            },
        },
        "/api/optouts/find": {"post": {
            "summary": "Opt-outs of one number",
            "requestBody": {"required": True, "content": _json(OptOutQuery)},
            "responses": _answers(s200=_object(items="array"), s422="Invalid"),
        }},
        "/api/optouts/{id}": {"delete": {
            "summary": "Take an opt-out back",
            "parameters": [
                _parameter("id", "path", "The opt-out", required=True),
                _parameter("reason", "query", "Why"),
                _parameter("actor", "query", "Who"),
            ],
            "responses": _answers(s204="Taken back", s404="No such opt-out"),
        }},
        **_campaigns(),
        "/api/media/sessions": {"post": {
            "summary": "Bring a call that another telephone system placed itself",
            "requestBody": {"required": True, "content": _json(MediaSessionRequest)},
            "responses": _answers(s201=session, s409="The call exists", s422="Invalid"),
        }},
        "/api/media/sessions/{call_id}": {"delete": {
            "summary": "End the media of such a call",
            "parameters": [_parameter("call_id", "path", "The call", required=True)],
            "responses": _answers(s204="Ended", s404="No such call"),
        }},
        "/api/edges": {"get": {
            "summary": "The edges: state, calls, room, addresses",
            "responses": _answers(s200=_object(items="array")),
        }},
        "/api/edges/{edge_id}/drain": {
            "post": {
                "summary": "Let an edge take no new calls",
                "parameters": [_parameter("edge_id", "path", "The edge", required=True)],
                "requestBody": {"required": True, "content": _json(EdgeDrainRequest)},
                "responses": _answers(s202=_object(calls="integer"), s404="No such edge",
                                      s503="It is gone"),
            },
            "delete": {
                "summary": "Let it take calls again",
                "parameters": [_parameter("edge_id", "path", "The edge", required=True)],
                "responses": _answers(s204="It takes calls", s404="No such edge",
                                      s503="It is gone"),
            },
        },
        "/whip/{pool}": {"post": {
            "summary": "A call from a browser (WHIP, RFC 9725)",
            "parameters": [
                _parameter("pool", "path", "Robots to choose from", required=True),
                _parameter("playbook", "query", "Default: the pool's first by name"),
                _parameter("asr_profile", "query", "Recogniser; default: the robot's"),
            ],
            "requestBody": {"required": True, "content": {
                "application/sdp": {"schema": {"type": "string"}},
            }},
            "responses": _answers(s201="Location, ETag and the SDP answer", s400="Not SDP",
                                  s404="No robot serves the pool", s422="Cannot be served",
                                  s503="All lines are busy"),
        }},
        "/whip/{pool}/{call_id}": {
            "patch": {
                "summary": "Further addresses of the browser (trickle ICE, RFC 8840)",
                "parameters": [
                    _parameter("pool", "path", "As in Location", required=True),
                    _parameter("call_id", "path", "As in Location", required=True),
                    _parameter("If-Match", "header", "The session's ETag", required=True),
                ],
                "responses": _answers(s204="Taken", s404="No such session", s412="Another ETag"),
            },
            "delete": {
                "summary": "End such a call",
                "parameters": [
                    _parameter("pool", "path", "As in Location", required=True),
                    _parameter("call_id", "path", "As in Location", required=True),
                ],
                "responses": _answers(s200="Over", s404="No such session"),
            },
        },
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ringlog", "version": "1"},
        "security": [{"key": []}],
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "paths": paths,
    }
