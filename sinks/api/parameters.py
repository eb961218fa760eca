"""Query parameters: described once, for checking and for OpenAPI. Everything has a bound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from sinks.api.errors import bad_parameter

MAX_QUERY = 4096
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_FIRST, _LAST = date(1970, 1, 1), date(2100, 12, 31)

Value = str | int | date


class Param(NamedTuple):
    """One parameter. least and most: of an integer its bounds, of a text its length; many: comma-separated choices."""

    name: str
    kind: Literal["text", "integer", "date", "choice"]
    description: str
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 200
    default: int | str | None = None
    required: bool = False
    many: bool = False


def parse(query: str, params: Sequence[Param]) -> dict[str, Any]:
    """The values of a query string by name; defaults filled in, what is not given left out. Raises ApiError (400)."""
    if len(query) > MAX_QUERY:
        raise bad_parameter(f"the query is longer than {MAX_QUERY} characters")
    known = {param.name: param for param in params}
    found: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise bad_parameter("more than 32 parameters") from None
    for name, text in pairs:
        param = known.get(name)
        if param is None:
            raise bad_parameter(f"unknown parameter {name[:40]!r}; known: {', '.join(known) or 'none'}")
        if name in found:
            raise bad_parameter(f"{name} is given twice")
        found[name] = _value(param, text)
    for param in params:
        if param.name not in found:
            if param.required:
                raise bad_parameter(f"{param.name} is required")
            if param.default is not None:
                found[param.name] = param.default
    return found


def _value(param: Param, text: str) -> Value | list[str]:
    if param.kind == "integer":
        if not _WHOLE.fullmatch(text) or not param.least <= int(text) <= param.most:
            raise bad_parameter(f"{param.name} must be a whole number from {param.least} to {param.most}")
        return int(text)
    if param.kind == "date":
        return _date(param.name, text)
    if param.kind == "choice":
        chosen = text.split(",") if param.many else [text]
        if not set(chosen) <= set(param.choices):
            listed = ", ".join(param.choices[:50])
            raise bad_parameter(f"{param.name} must be {'some' if param.many else 'one'} of: {listed}")
        return sorted(set(chosen)) if param.many else text
    if not param.least <= len(text) <= param.most or not all(char.isprintable() for char in text):
        raise bad_parameter(f"{param.name} must be a text of {param.least} to {param.most} printable characters")
    return text


def _date(name: str, text: str) -> date:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        value = date.fromisoformat(text)
        if not _FIRST <= value <= _LAST:
            raise ValueError
    except ValueError:
        raise bad_parameter(f"{name} must be a date from {_FIRST} to {_LAST}, such as 2026-11-21") from None
    return value


def schema(param: Param) -> Mapping[str, Any]:
    """The parameter as an OpenAPI 3.1 parameter object."""
    kind: dict[str, Any]
    if param.kind == "integer":
        kind = {"type": "integer", "minimum": param.least, "maximum": param.most}
    elif param.kind == "date":
        kind = {"type": "string", "format": "date"}
    elif param.kind == "choice":
        kind = {"type": "string", "enum": list(param.choices)}
        if param.many:
            kind = {"type": "array", "items": kind, "minItems": 1, "uniqueItems": True}
    else:
        kind = {"type": "string", "minLength": param.least, "maxLength": param.most}
    if param.default is not None:
        kind["default"] = param.default
    described: dict[str, Any] = {
        "name": param.name,
        "in": "query",
        "required": param.required,
        "description": param.description,
        "schema": kind,
    }
    if param.many:
        described |= {"style": "form", "explode": False}
    return described
