"""The OpenAPI 3.1 document, made of the route table and the types of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sinks.api.errors import Problem
from sinks.api.parameters import schema
from sinks.api.routes import PREFIX, Route

#: What can go wrong on any path.
PROBLEMS = {
    "400": "A parameter is unknown, missing, or not as described.",
    "401": "The token (sinks.console_token) is missing or wrong.",
    "403": "Asked for under a name that is not this machine's.",
    "500": "A fault of ours: the log of the sinks has the details.",
    "503": "Busy, or ClickHouse is away: try again.",
}


def document(routes: Sequence[Route], version: str, secured: bool) -> dict[str, Any]:
    """The whole document. secured: whether a token is asked for."""
    types = list(dict.fromkeys([Problem, *(route.answer for route in routes)]))
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(types, schemas, strict=True))
    problem = by_type[Problem]
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Footfall",
            "version": version,
            "description": "Read-only. Instants are ms UTC; days are local dates of the app (of a group: the project's).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {route.path: {"get": _operation(route, by_type[route.answer], problem)} for route in routes},
        "components": {"schemas": components},
    }
    found["paths"][PREFIX + "/openapi.json"] = {
        "get": {
            "operationId": "openapi",
            "summary": "This document",
            "responses": {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}},
        }
    }
    if secured:
        found["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic", "description": "Any user name; the token as the password."},
        }
        found["security"] = [{"bearer": []}, {"basic": []}]
    return found


def _operation(route: Route, answer: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"text/event-stream" if route.stream else "application/json": {"schema": answer}}
    for media in route.media:
        binary = {} if media.startswith("text/") else {"contentEncoding": "binary"}
        content[media.partition(";")[0]] = {"schema": {"type": "string", **binary}}
    responses: dict[str, Any] = {"200": {"description": route.summary, "content": content}}
    if route.name == "metrics":
        words = 'Of an export that its limit cut: `<address of the rest>; rel="next"`. Without it the export is whole.'
        responses["200"]["headers"] = {"Link": {"description": words, "schema": {"type": "string"}}}
    for status, meaning in PROBLEMS.items():
        responses[status] = {"description": meaning, "content": {"application/json": {"schema": problem}}}
    return {
        "operationId": route.name,
        "summary": route.summary,
        "description": route.description,
        "parameters": [schema(param) for param in route.params],
        "responses": responses,
    }
