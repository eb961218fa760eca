"""Schemas proposed from events that were seen. Pure: JSON texts of properties in, `[[events]]` in TOML out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from ingest.contract.tracking import EventSchema, PropertySchema

#: A property is required when this part of the events has it: some are always broken.
MOSTLY = 0.995
#: It is of a type when this part of its values is: the others are told of in a comment.
_TYPED = 0.9
#: Texts are taken for a closed list when there are at most so many, each short, and each came that often on average.
_MAX_VALUES, _MAX_VALUE, _LEAST_EACH = 12, 40, 20
_MAX_COUNTED = 50
#: In footfall.toml it begins a variable of the environment: no name or value there can have it.
VARIABLE = "${"
_MAX_NAME, _MAX_PROPERTIES = 128, 200
_TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", list: "list", dict: "object"}


class Seen(NamedTuple):
    """Events of one name: the apps that sent it, how many there were, and the properties of those that were looked at."""

    name: str
    apps: tuple[str, ...]
    events: int
    props: Sequence[str]


class _Property:
    """What the values of one property were."""

    def __init__(self) -> None:
        self.types: Counter[str] = Counter()
        self.values: Counter[str] = Counter()
        self.times = 0

    def add(self, value: Any) -> None:
        kind = _TYPES.get(type(value), "")
        self.types[kind] += 1
        if kind == "string":
            if len(self.values) <= _MAX_COUNTED:
                self.values[value[: _MAX_VALUE + 1]] += 1
            self.times += _is_instant(value)

    def schema(self, events: int) -> PropertySchema | None:
        """The schema, given how many events there were; None where the types are too mixed for one."""
        total = self.types.total()
        if self.types["integer"] and self.types["number"]:
            self.types["number"] += self.types.pop("integer")
        kind, count = self.types.most_common(1)[0]
        if count < _TYPED * total:
            return None
        required = total >= MOSTLY * events
        if kind == "string" and self.times >= MOSTLY * count:
            return PropertySchema(type="time", required=required)
        return msgspec.convert(
            {"type": kind, "required": required, "values": self._values() if kind == "string" else []}, PropertySchema
        )

    def _values(self) -> list[str]:
        few = len(self.values) <= _MAX_VALUES and self.values.total() >= _LEAST_EACH * len(self.values)
        fit = all(0 < len(value) <= _MAX_VALUE and VARIABLE not in value for value in self.values)
        return sorted(self.values) if few and fit else []


def propose(seen: Seen, all_apps: Sequence[str]) -> tuple[EventSchema, list[str]]:
    """A schema for events that were seen, and what is to be said of what it leaves out."""
    found: dict[str, _Property] = {}
    for text in seen.props:
        for name, value in json.loads(text).items():
            # The SDKs' own are theirs to define; null is not there.
            if value is not None and name[:1] != "$" and 0 < len(name) <= _MAX_NAME and VARIABLE not in name:
                found.setdefault(name, _Property()).add(value)
    properties: dict[str, PropertySchema] = {}
    left_out = []
    for name in sorted(found):
        types = ", ".join(f"{kind} {count}" for kind, count in found[name].types.most_common())
        one = found[name].schema(len(seen.props))
        if one is None:
            left_out.append(f"{name}: of mixed types ({types})")
        elif len(properties) == _MAX_PROPERTIES:
            left_out.append(f"{name}: there are more than {_MAX_PROPERTIES} properties")
        else:
            properties[name] = one
            if len(found[name].types) > 1:
                left_out.append(f"{name}: not always {one.type} ({types})")
    apps = [] if set(seen.apps) >= set(all_apps) else sorted(seen.apps)
    return EventSchema(name=seen.name, apps=apps, properties=properties), left_out


def toml(schema: EventSchema, comments: Iterable[str] = ()) -> str:
    """The schema as a table of footfall.toml."""
    lines = [f"# {_comment(one)}" for one in comments]
    lines += ["[[events]]", f"name = {_text(schema.name)}"]
    if schema.apps:
        lines.append(f"apps = {_list(schema.apps)}")
    if schema.properties:
        lines.append("[events.properties]")
    for name, one in schema.properties.items():
        parts = [f'type = "{one.type}"']
        if one.required:
            parts.append("required = true")
        if one.values:
            parts.append(f"values = {_list(one.values)}")
        lines.append(f"{_text(name)} = {{ {', '.join(parts)} }}")
    return "\n".join(lines) + "\n"


def _is_instant(text: str) -> bool:
    if len(text) < 10 or not text[:4].isdecimal():
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _text(value: str) -> str:
    """A basic string of TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Iterable[str | int]) -> str:
    return f"[{', '.join(_text(one) if isinstance(one, str) else str(one) for one in values)}]"


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
