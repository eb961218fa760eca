"""The collector's own description (OpenAPI 3.1), made from the routes, the native event and the reasons as they are. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import msgspec

from ingest import stubs
from ingest.protocols.native import NativeEvent
from ingest.reasons import Reason
from ingest.routes import ROUTES, Route

_OBJECT: dict[str, Any] = {"type": "object"}
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_SAFE_OR_KEPT = (
    "All of it is safe, or kept in the rejected topic with its reason: some SDKs send again for ever, or drop what they hold, "
    "when they are told of an error."
)
_WITH_KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}, {"header": []}, {"query": []}]


class _Kind(NamedTuple):
    """What holds for all paths of a protocol."""

    tag: str
    about: str
    bodies: dict[str, Any]
    answers: dict[str, str]
    queries: tuple[str, ...] = ()


_CALL = {
    "type": "object",
    "properties": {
        "type": {"enum": ["track", "identify", "page", "screen", "alias", "group"]},
        "event": {"type": "string"},
        "name": {"type": "string"},
        "messageId": {"type": "string", "description": "Sent twice, it counts once."},
        "userId": {"type": ["string", "integer", "null"]},
        "anonymousId": {"type": ["string", "integer", "null"]},
        "previousId": {"type": ["string", "integer", "null"]},
        "timestamp": {"type": "string", "format": "date-time"},
        "sentAt": {"type": "string", "format": "date-time"},
        "properties": _OBJECT,
        "traits": _OBJECT,
        "context": _OBJECT,
        "writeKey": {"type": "string"},
    },
}
_SENSORS = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string"},
        "event": {"type": "string"},
        "distinct_id": {"type": ["string", "integer"]},
        "time": {"type": "integer", "description": "ms since 1970"},
        "_track_id": {"type": "integer"},
        "properties": _OBJECT,
        "identities": _OBJECT,
        "token": {"type": "string"},
        "project": {"type": "string"},
    },
}
_POSTHOG = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "uuid": {"type": "string"},
        "distinct_id": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
        "properties": _OBJECT,
        "api_key": {"type": "string"},
    },
}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _reference(name)}


_BATCH_OF_CALLS = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": _list_of("SegmentCall"),
        "writeKey": {"type": "string"},
        "sentAt": {"type": "string", "format": "date-time"},
        "context": _OBJECT,
    },
}
_FORM_OF_SENSORS = {
    "type": "object",
    "properties": {
        "data": {"type": "string", "description": "An event: JSON in base64, gzipped or not."},
        "data_list": {"type": "string", "description": "An array of events, likewise."},
        "gzip": {"enum": ["0", "1", "9"]},
        "crc": {"type": "string"},
    },
}
_BATCH_OF_POSTHOG = {
    "type": "object",
    "properties": {"api_key": {"type": "string"}, "batch": _list_of("PostHogEvent"), "sent_at": {"type": "string"}},
}

_KINDS: dict[str, _Kind] = {
    "native": _Kind(
        "Footfall",
        "One event, an array of events, or JSON lines. Says what became of each.",
        {
            _JSON: {"anyOf": [_reference("Event"), _list_of("Event")]},
            "application/x-ndjson": {"type": "string", "description": "An event on each line."},
        },
        {
            "200": "Taken",
            "400": "Taken",
            "401": "Error",
            "403": "Error",
            "405": "Error",
            "413": "Error",
            "429": "Error",
            "503": "Error",
        },
        ("key",),
    ),
    "segment": _Kind(
        "Segment, RudderStack",
        f"A batch of calls, or one call to a path of its own. {_SAFE_OR_KEPT}",
        {_JSON: _BATCH_OF_CALLS, "text/plain": {"type": "string", "description": "The same JSON, as browsers send it."}},
        {"200": "Success", "405": "Error", "503": "Error"},
        ("writeKey",),
    ),
    "sensors": _Kind(
        "Sensors Analytics",
        f"A form, a beacon, an image's query, or JSON. {_SAFE_OR_KEPT}",
        {
            _FORM: _FORM_OF_SENSORS,
            "text/plain": {"type": "string", "description": "The same form, as beacons send it."},
            _JSON: {"anyOf": [_reference("SensorsEvent"), _list_of("SensorsEvent")]},
        },
        {"200": "", "405": "Error", "503": "Error"},
        ("token", "project", "data", "data_list", "ext"),
    ),
    "posthog": _Kind(
        "PostHog",
        f"One event or a batch; gzip, zstd, base64 or JSON. {_SAFE_OR_KEPT}",
        {
            _JSON: {"anyOf": [_reference("PostHogEvent"), _BATCH_OF_POSTHOG, _list_of("PostHogEvent")]},
            "text/plain": {"type": "string", "description": "The same, gzipped, with no Content-Encoding."},
            _FORM: {"type": "object", "properties": {"data": {"type": "string"}}},
        },
        {"200": "PostHogStatus", "405": "Error", "503": "Error"},
        ("compression", "data", "api_key"),
    ),
}
_WORDS = {
    "200": "Safe: acknowledged by Kafka, or fsynced in the spool; what could not be accepted is kept with its reason.",
    "204": "What a page may send.",
    "400": "None of the events is good, or the body holds none.",
    "401": "The write key is not known, or was revoked.",
    "403": "The page's origin is not in collector.cors_origins.",
    "404": "Nothing is here. Paths are exact, and nothing is redirected.",
    "405": "Another method is wanted.",
    "413": "Body or batch are larger than allowed.",
    "429": "Too much of this write key or from this address: send it again after Retry-After.",
    "503": "Not safe, or too much at once: send it again after Retry-After.",
}


@cache
def description() -> dict[str, Any]:
    """The document."""
    paths: dict[str, Any] = {}
    for path, route in ROUTES.items():
        paths[path] = {method.lower(): _operation(path, method, route) for method in route.methods}
        paths[path]["options"] = _preflight(path)
    for path in stubs.PATHS:
        paths[path] = {method.lower(): _stub(path, method) for method in stubs.METHODS} | {"options": _preflight(path)}
    for path, status in (("/health/live", ("200",)), ("/health/ready", ("200", "503"))):
        paths[path] = {"get": _plain(path, "Health", {one: _text(_HEALTH[one]) for one in status})}
    found = {"200": {"description": "This document.", "content": {_JSON: {"schema": _OBJECT}}}}
    paths["/openapi.json"] = {"get": _plain("/openapi.json", "Health", found)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Footfall collector",
            "version": "1",
            "description": (
                "Takes events. Bodies may be gzip or zstd (told by the first bytes, whatever the headers say) and chunked. What "
                "is no HTTP, or has a head beyond the limits, gets 400 and the connection ends; unknown paths get 404."
            ),
        },
        "tags": [{"name": kind.tag, "description": kind.about} for kind in _KINDS.values()]
        + [{"name": "Settings", "description": "What SDKs ask for before they send."}, {"name": "Health"}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _SECURITY},
    }


_HEALTH = {"200": "It is so.", "503": "Why it is not."}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The write key."},
    "basic": {"type": "http", "scheme": "basic", "description": "The write key as user, no password."},
    "header": {"type": "apiKey", "in": "header", "name": "X-Write-Key"},
    "query": {"type": "apiKey", "in": "query", "name": "key"},
}


def encoded() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(description())


def _operation(path: str, method: str, route: Route) -> dict[str, Any]:
    kind = _KINDS[route.protocol]
    answers = kind.answers | ({"200": "PostHogResults"} if route.call == "v1" else {})
    bodies = {_JSON: _reference("SegmentCall")} if route.protocol == "segment" and route.call in _SINGLE else kind.bodies
    found = _plain(path, kind.tag, {status: _answer(route, method, status, name) for status, name in answers.items()}, method)
    found["description"] = kind.about
    found["security"] = _WITH_KEY if route.protocol == "native" else [*_WITH_KEY, {}]
    found["parameters"] = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in kind.queries]
    if method == "POST":
        found["requestBody"] = {"content": {name: {"schema": schema} for name, schema in bodies.items()}}
    return found


_SINGLE = frozenset(route.call for route in ROUTES.values() if route.protocol == "segment") - {"batch", "b", "import"}


def _answer(route: Route, method: str, status: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": _WORDS[status]}
    if route.protocol == "sensors" and status == "200":
        found["content"] = {"image/gif": {}} if method == "GET" else {"text/plain": {"schema": {"const": ""}}}
    elif status == "400":
        found["content"] = {_JSON: {"schema": {"anyOf": [_reference("Taken"), _reference("Error")]}}}
    else:
        found["content"] = {_JSON: {"schema": _reference(name)}}
    if status in ("429", "503"):
        found["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return found


def _plain(path: str, tag: str, answers: dict[str, Any], method: str = "get") -> dict[str, Any]:
    name = "_".join(part for part in path.replace("{", "").replace("}", "").replace(".", "/").split("/") if part)
    slash = "_slash" if path.endswith("/") else ""
    return {"operationId": f"{method.lower()}_{name}{slash}", "tags": [tag], "responses": answers}


def _preflight(path: str) -> dict[str, Any]:
    return _plain(path, "Settings", {"204": {"description": _WORDS["204"]}}, "options") | _key_in(path)


def _stub(path: str, method: str) -> dict[str, Any]:
    kind = "application/javascript" if path.endswith(".js") else _JSON
    answers = {
        "200": {"description": "What the SDK needs to go on.", "content": {kind: {"schema": {}}}},
        "405": {"description": _WORDS["405"], "content": {_JSON: {"schema": _reference("Error")}}},
    }
    return _plain(path, "Settings", answers, method) | _key_in(path)


def _key_in(path: str) -> dict[str, Any]:
    if "{key}" not in path:
        return {}
    return {"parameters": [{"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}]}


def _text(words: str) -> dict[str, Any]:
    return {"description": words, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _event() -> dict[str, Any]:
    """The native event's schema; what is passed on verbatim (msgspec.Raw, of which msgspec makes no schema) is an object."""
    fields: list[Any] = []
    for one in msgspec.structs.fields(NativeEvent):
        kind = dict[str, Any] | None if one.type is msgspec.Raw else one.type
        fields.append((one.name, kind) if one.required else (one.name, kind, None))
    shown = msgspec.defstruct("Event", fields, kw_only=True, forbid_unknown_fields=True)
    found: dict[str, Any] = msgspec.json.schema(shown)["$defs"]["Event"]
    del found["title"]
    return found | {"description": "One of user_id and anonymous_id has to be there."}


def _schemas() -> dict[str, Any]:
    event = _event()
    event["properties"]["time"]["description"] = "When it happened: ms since 1970 (UTC), or ISO 8601."
    event["properties"]["id"]["description"] = "Sent twice, it counts once."
    text = {"type": "string"}
    rejected = {
        "type": "object",
        "required": ["index", "reason", "detail"],
        "properties": {"index": {"type": "integer"}, "reason": _reference("Reason"), "detail": text},
    }
    return {
        "Event": event,
        "SegmentCall": _CALL,
        "SensorsEvent": _SENSORS,
        "PostHogEvent": _POSTHOG,
        "Reason": {"enum": [str(reason) for reason in Reason]},
        "Error": {"type": "object", "required": ["code", "message"], "properties": {"code": text, "message": text}},
        "Taken": {
            "type": "object",
            "required": ["accepted", "rejected"],
            "properties": {
                "accepted": {"type": "integer"},
                "rejected": {"type": "array", "items": rejected},
                "code": text,
                "message": text,
            },
        },
        "Success": {"type": "object", "required": ["success"], "properties": {"success": {"const": True}}},
        "PostHogStatus": {"type": "object", "required": ["status"], "properties": {"status": {"const": "Ok"}}},
        "PostHogResults": {"type": "object", "required": ["results"], "properties": {"results": _OBJECT}},
    }
