"""Checks events against the tracking plan: what is wrong is put on the event's line, or the event is refused. Pure.

Each schema becomes a msgspec struct, so that an event that is as it should be costs one decoding of its properties; only where
that fails are they looked at one by one, to say what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from ingest.contract.event import ACTIVE_TYPES
from ingest.contract.plan import Plan
from ingest.contract.tracking import MAX_PATTERN_TEXT, EventSchema, PropertySchema, events_of
from ingest.json_text import DECODE_ERRORS
from ingest.line import EventLine
from ingest.reasons import Reason, RefusedError
from ingest.time_rules import read_time

#: Violations that one event's line tells of, and characters of a property's name in them.
MAX_VIOLATIONS = 16
MAX_NAME = 128
UNKNOWN_EVENT = "unknown_event"
DEPRECATED = "deprecated"
_BASE: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "time": int | float | str,
    "list": list[msgspec.Raw],
    "object": dict[str, msgspec.Raw],
}
_TYPE_WORDS = {"time": "milliseconds or ISO 8601", "list": "an array", "object": "an object"}
_NULL = b"null"
_decode_all = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Property(NamedTuple):
    """A property's decoders: of its type alone, and of all that is asked of it."""

    name: str
    schema: PropertySchema
    typed: Callable[[msgspec.Raw], Any]
    whole: Callable[[msgspec.Raw], Any]

    def problem(self, raw: msgspec.Raw) -> str:
        """The rule that the value breaks; "" when it breaks none."""
        try:
            value = self.typed(raw)
        except DECODE_ERRORS:
            return "type"
        if self.schema.type == "time":
            return "" if is_time(value) else "type"
        try:
            self.whole(raw)
        except DECODE_ERRORS:
            return "value" if self.schema.values else "pattern" if self.schema.pattern else "range"
        return ""


class Check:
    """One schema, made ready."""

    def __init__(self, schema: EventSchema) -> None:
        self.schema = schema
        self._properties = [
            _Property(name, one, msgspec.json.Decoder(_BASE[one.type]).decode, msgspec.json.Decoder(_type_of(one)).decode)
            for name, one in schema.properties.items()
        ]
        self._names = frozenset(schema.properties)
        self._decode = msgspec.json.Decoder(_struct_of(self._properties)).decode
        self._times = [f"p{index}" for index, one in enumerate(self._properties) if one.schema.type == "time"]
        self._deprecated = [DEPRECATED] if schema.deprecated else []

    def violations(self, props: msgspec.Raw) -> list[str]:
        """What is wrong with an event that has these properties (JSON of an object)."""
        try:
            found = self._decode(props)
            good = not self._times or all(
                value is None or is_time(value) for value in (getattr(found, name) for name in self._times)
            )
        except DECODE_ERRORS:
            good = False
        if good and not self.schema.closed:
            return self._deprecated
        return self._looked_at(props)

    def _looked_at(self, props: msgspec.Raw) -> list[str]:
        given = _decode_all(props)
        found = list(self._deprecated)
        for one in self._properties:
            raw = given.get(one.name)
            if raw is None or bytes(raw) == _NULL:
                if one.schema.required:
                    found.append(f"missing:{one.name}")
            elif rule := one.problem(raw):
                found.append(f"{rule}:{one.name}")
        if self.schema.closed:
            names = (name for name in given if name not in self._names and name[:1] != "$")
            found += [f"unknown_property:{name[:MAX_NAME]}" for name in names]
        return bounded(found)

    def words(self, violation: str) -> str:
        """A violation as a sentence without its subject."""
        rule, _, name = violation.partition(":")
        one = self.schema.properties.get(name)
        if one is None:
            return f"{name} is not in the plan" if rule == "unknown_property" else rule
        kind = _TYPE_WORDS.get(one.type, f"a{'n' if one.type == 'integer' else ''} {one.type}")
        if rule == "missing":
            return f"{name} is missing, {kind} is required"
        if rule == "type":
            return f"{name} must be {kind}"
        if rule == "value":
            return f"{name} must be one of {', '.join(map(str, one.values[:10]))}{', ...' if len(one.values) > 10 else ''}"
        if rule == "pattern":
            return f"{name} must match {one.pattern} and have at most {MAX_PATTERN_TEXT} characters"
        bounds = (f"at least {one.min}" if one.min is not None else "", f"at most {one.max}" if one.max is not None else "")
        return f"{name} must be {' and '.join(filter(None, bounds))}"


class Tracking:
    """All schemas of a plan, as a rule for events."""

    def __init__(self, plan: Plan) -> None:
        made: dict[int, Check] = {}
        self._apps: dict[str, tuple[dict[str, Check], bool, bool]] = {}
        for app in plan.apps:
            schemas = events_of(plan.events, app.id)
            if schemas:
                checks = {name: made.setdefault(id(one), Check(one)) for name, one in schemas.items()}
                self._apps[app.id] = (checks, app.plan_violations == "reject", app.unknown_events == "reject")

    def __call__(self, event: EventLine) -> None:
        """Puts what is wrong onto the event. Raises RefusedError PLAN where the app rejects that.

        Only what a person did is checked, and names that begin with $ are the SDKs' own: without a schema they are none of ours.
        A page or a screen is named by what it shows, so one without a schema is not unknown.
        """
        app = self._apps.get(event.app)
        if app is None or event.type not in ACTIVE_TYPES:
            return
        checks, reject, reject_unknown = app
        check = checks.get(event.event)
        if check is None:
            if event.type == "track" and event.event[:1] != "$":
                event.violations = [UNKNOWN_EVENT]
                if reject_unknown:
                    raise RefusedError(Reason.PLAN, "no events entry of the plan has this name - at `$.event`")
            return
        found = check.violations(event.props)
        if found:
            event.violations = found
            if reject and found[-1] != DEPRECATED:
                raise RefusedError(Reason.PLAN, _words(check, [one for one in found if one != DEPRECATED], event.protocol))


def _words(check: Check, found: list[str], protocol: str) -> str:
    """What to tell of an event that is refused: the first violation with its path, and the others."""
    holder = "props" if protocol == "native" else "properties"
    rule, _, name = found[0].partition(":")
    path = f"$.{holder}" if rule == "missing" else f"$.{holder}.{name}"
    others = f" (and {', '.join(found[1:])})" if len(found) > 1 else ""
    return f'"{check.schema.name}" is against the plan: {check.words(found[0])}{others} - at `{path}`'


def bounded(found: list[str]) -> list[str]:
    """As many as a line may tell of; the last then says that there are more."""
    return found if len(found) <= MAX_VIOLATIONS else [*found[: MAX_VIOLATIONS - 1], "more"]


def is_time(value: object) -> bool:
    """Whether a value is an instant, as SDKs write them."""
    try:
        read_time(value, "")
    except RefusedError:
        return False
    return value != ""


class Label(NamedTuple):
    """A violation as a counter knows it: names of the plan, `other` for what clients make up."""

    app: str
    event: str
    property: str
    rule: str


def labels(app: str, event: str, violations: Iterable[str]) -> list[Label]:
    """The labels of an event's violations. All but unknown events and properties have names of the plan by construction."""
    found = []
    for one in violations:
        rule, _, name = one.partition(":")
        unknown = rule == UNKNOWN_EVENT
        found.append(Label(app, "other" if unknown else event, "other" if rule == "unknown_property" else name, rule))
    return found


def _type_of(one: PropertySchema) -> Any:
    """The type that decodes good values only."""
    if one.values:
        return Literal[tuple(one.values)]
    if one.pattern:
        return Annotated[str, msgspec.Meta(pattern=one.pattern, max_length=MAX_PATTERN_TEXT)]
    base = _BASE[one.type]
    if one.min is None and one.max is None:
        return base
    whole = one.type == "integer"
    least = int(one.min) if whole and one.min is not None else one.min
    most = int(one.max) if whole and one.max is not None else one.max
    return Annotated[base, msgspec.Meta(ge=least, le=most)]


def _struct_of(properties: list[_Property]) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = []
    for index, one in enumerate(properties):
        wanted = _type_of(one.schema)
        if one.schema.required:
            fields.append((f"p{index}", wanted, msgspec.field(name=one.name)))
        else:
            fields.append((f"p{index}", wanted | None, msgspec.field(name=one.name, default=None)))
    return msgspec.defstruct("Properties", fields, kw_only=True, gc=False)
