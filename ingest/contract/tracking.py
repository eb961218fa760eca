"""The tracking plan: what an event is called and which properties it has. Part of the plan; what events are checked against.

    [[events]]
    name = "complete_transfer"

    [events.properties]
    amount = { type = "number", required = true, min = 0 }
    channel = { type = "string", values = ["app", "web"] }

An app to which no schema applies is not checked. A property that is null is one that is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import msgspec

from ingest.contract.errors import ConfigError
from ingest.contract.table import EventName, Id, Table, Words

#: Labels of metrics and rows of reports are made of these names: bounded by construction.
MAX_EVENTS = 1000
PropertyName = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
#: A text longer than this does not match any pattern: what a pattern costs is bounded with it.
MAX_PATTERN_TEXT = 1024

PropertyType = Literal["string", "integer", "number", "boolean", "time", "list", "object"]
#: keep: the event counts, and says in `violations` what is wrong with it. reject: it goes to the rejected events.
OnViolation = Literal["keep", "reject"]

#: What can be wrong with an event. On its line it stands as `rule:property`, or as `rule` where no property is meant.
RULES = {
    "missing": "a required property is not there, or null",
    "type": "the property has another type",
    "value": "the value is not one of those allowed",
    "range": "the number is below min or above max",
    "pattern": "the text does not match the pattern, or is too long for one",
    "unknown_property": "the schema is closed and does not list the property",
    "unknown_event": "no schema has this name",
    "deprecated": "the event should no longer be sent; never a reason to reject it",
    "more": "there are more violations than a line tells of",
}


class PropertySchema(Table, frozen=True, kw_only=True):
    """One property of an event.

    type      of its JSON value; time is milliseconds since 1970 or ISO 8601; number takes whole numbers too, integer no 5.0
    required  whether an event without it is a violation
    values    all that are allowed (string and integer only)
    min, max  bounds, both allowed themselves (integer and number only)
    pattern   a regular expression that is found in it (string only); ^ and $ for the whole
    """

    type: PropertyType
    required: bool = False
    values: Annotated[list[str | int], msgspec.Meta(max_length=500)] = []
    min: int | float | None = None
    max: int | float | None = None
    pattern: Annotated[str, msgspec.Meta(max_length=256)] = ""
    description: Words = ""


class EventSchema(Table, frozen=True, kw_only=True):
    """The schema of an event, for the apps that it names, or for all.

    closed      whether a property that is not listed is a violation (the SDKs' own, `$...`, never are)
    deprecated  whether it should no longer be sent; since says from which app version, instead by what it was replaced
    """

    name: EventName
    apps: list[Id] = []
    description: Words = ""
    deprecated: bool = False
    since: Annotated[str, msgspec.Meta(max_length=64)] = ""
    instead: Annotated[str, msgspec.Meta(max_length=256)] = ""
    closed: bool = False
    properties: Annotated[dict[PropertyName, PropertySchema], msgspec.Meta(max_length=200)] = {}


def events_of(events: Iterable[EventSchema], app: str) -> dict[str, EventSchema]:
    """The schemas that hold for an app, by the event's name."""
    return {one.name: one for one in events if not one.apps or app in one.apps}


def check_events(events: Sequence[EventSchema], apps: Sequence[str]) -> None:
    """Raises ConfigError for the first schema that does not hold together; `apps` are the plan's."""
    if len(events) > MAX_EVENTS:
        raise ConfigError(f"{len(events)} events, at most {MAX_EVENTS} are supported")
    taken: dict[tuple[str, str], int] = {}
    for number, event in enumerate(events):
        for app in event.apps:
            if app not in apps:
                raise ConfigError(f'events "{event.name}" names the app "{app}", which is not in the plan')
        for app in event.apps or apps:
            if taken.setdefault((app, event.name), number) != number:
                raise ConfigError(f'two events entries are called "{event.name}" and apply to the app "{app}": make one of them')
        if (event.since or event.instead) and not event.deprecated:
            raise ConfigError(f'events "{event.name}" has since or instead: these need deprecated = true')
        if event.instead == event.name:
            raise ConfigError(f'events "{event.name}" is to be replaced by itself: name another event in instead')
        for name, one in event.properties.items():
            if problem := _problem(one):
                raise ConfigError(f'events "{event.name}", property "{name}": {problem}')


def _problem(one: PropertySchema) -> str:
    """What does not hold together in a property; "" when all does."""
    if one.values:
        wanted = {"string": str, "integer": int}.get(one.type)
        if wanted is None:
            return f"values go with type string or integer, not with {one.type}"
        for value in one.values:
            if type(value) is not wanted:
                return f"the value {value!r} is no {one.type}"
        if len(set(one.values)) < len(one.values):
            return "a value is listed twice"
    bounds = [bound for bound in (one.min, one.max) if bound is not None]
    if bounds and one.type not in ("integer", "number"):
        return f"min and max go with type integer or number, not with {one.type}"
    if one.values and (bounds or one.pattern):
        return f"give values, or {'a pattern' if one.pattern else 'min and max'}, not both"
    if any(bound != bound or abs(bound) == float("inf") for bound in bounds):
        return "min and max must be finite"
    if one.type == "integer" and any(not float(bound).is_integer() for bound in bounds):
        return "min and max of an integer must be whole numbers"
    if any(isinstance(whole, int | float) and abs(whole) >= 2**63 for whole in (*bounds, *one.values) if one.type == "integer"):
        return "whole numbers must be between -2^63 and 2^63"
    if one.min is not None and one.max is not None and one.min > one.max:
        return f"min {one.min} is greater than max {one.max}"
    if one.pattern:
        if one.type != "string":
            return f"a pattern goes with type string, not with {one.type}"
        try:
            re.compile(one.pattern)
        except (re.error, OverflowError, RecursionError) as error:
            return f"the pattern is no regular expression: {error}"
    return ""
