"""Lints of a plan that is valid: do its parts, which name events and properties, agree with its schemas? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from deploy.plan.finding import Finding, error, note, warning
from ingest.contract.plan import App, FunnelStep, Plan, applies
from ingest.contract.tracking import EventSchema, PropertySchema, events_of

_DEFAULT_LAUNCH = App(id="x").launch_events
#: Names shorter than this are near each other by chance.
_LEAST_NEAR = 6


class _Use(NamedTuple):
    """A place of the plan that names an event, for some apps."""

    where: str
    apps: list[str]
    event: str


def lint(plan: Plan) -> list[Finding]:
    """All findings, in the plan's order."""
    if not plan.events:
        return [note("events", "there are none, so nothing that comes in is checked: `footfall plan infer` proposes some")]
    schemas = {app.id: events_of(plan.events, app.id) for app in plan.apps}
    return [
        *_uses(plan, schemas),
        *_steps(plan, schemas),
        *_segments(plan, schemas),
        *_replaced(plan, schemas),
        *_types(plan),
        *_near(sorted({one.name for one in plan.events}), "events"),
        *(found for one in plan.events for found in _near(sorted(one.properties), f'events "{one.name}"')),
    ]


def _named(plan: Plan) -> Iterator[_Use]:
    every = [app.id for app in plan.apps]
    for kind, rules in (("activities", plan.activities), ("scenes", plan.scenes)):
        for rule in rules:
            for event in rule.events:
                yield _Use(f'{kind} "{rule.id}"', rule.apps or every, event)
    groups = {group.id: group.apps for group in plan.groups}
    for funnel in plan.funnels:
        for step in (*funnel.steps, *funnel.exclude):
            yield _Use(f'funnels "{funnel.id}"', groups.get(funnel.app, [funnel.app]), step.event)
    for app in plan.apps:
        launch = [] if app.launch_events == _DEFAULT_LAUNCH else app.launch_events
        for event in (*launch, *app.passive_events):
            yield _Use(f'apps "{app.id}"', [app.id], event)


def _uses(plan: Plan, schemas: dict[str, dict[str, EventSchema]]) -> Iterator[Finding]:
    """Named events that have no schema in any of the apps, or a deprecated one."""
    seen: set[tuple[str, str]] = set()
    for use in _named(plan):
        checked = [schemas[app] for app in use.apps if schemas.get(app)]
        if (use.where, use.event) in seen or not checked:
            continue
        seen.add((use.where, use.event))
        found = [events[use.event] for events in checked if use.event in events]
        if not found and use.event[:1] != "$":
            yield error(use.where, f'names the event "{use.event}", which has no events entry in {_listed(use.apps)}')
        for schema in found[:1]:
            if schema.deprecated:
                instead = f': use "{schema.instead}" too' if schema.instead else ""
                yield warning(use.where, f'names the event "{use.event}", which is deprecated{instead}')


def _steps(plan: Plan, schemas: dict[str, dict[str, EventSchema]]) -> Iterator[Finding]:
    """Conditions of funnels on properties that the schema does not have, or on values that it does not allow."""
    groups = {group.id: group.apps for group in plan.groups}
    for funnel in plan.funnels:
        for app in groups.get(funnel.app, [funnel.app]):
            for step in (*funnel.steps, *funnel.exclude):
                schema = schemas.get(app, {}).get(step.event)
                if schema is not None:
                    yield from _step(f'funnels "{funnel.id}", event "{step.event}"', step, schema)


def _step(where: str, step: FunnelStep, schema: EventSchema) -> Iterator[Finding]:
    for name, value in step.where.items():
        one = schema.properties.get(name)
        if one is None:
            yield (error if schema.closed else warning)(where, f'asks for the property "{name}", which its schema does not list')
        elif not _possible(one, value if isinstance(value, str) else str(value).lower()):
            yield error(where, f"asks for {name} = {value!r}, which its schema does not allow")


def _possible(one: PropertySchema, text: str) -> bool:
    """Whether a property can have a value that is written so."""
    if one.values:
        return text in {str(value) for value in one.values}
    return text in ("true", "false") if one.type == "boolean" else one.type not in ("list", "object")


def _segments(plan: Plan, schemas: dict[str, dict[str, EventSchema]]) -> Iterator[Finding]:
    """Facets that are never set: of a property that no event has, or of values that it cannot have."""
    for segment in plan.segments:
        if not segment.source.startswith("props."):
            continue
        name = segment.source.removeprefix("props.")
        checked = [schemas[app.id] for app in plan.apps if applies(segment.apps, app.id) and schemas[app.id]]
        having = [event.properties[name] for events in checked for event in events.values() if name in event.properties]
        where = f'segments "{segment.id}"'
        if checked and not having:
            yield warning(where, f'is made of the property "{name}", which no events entry lists: its facets may never be set')
            continue
        for value in segment.values:
            if having and not any(_possible(one, value) for one in having):
                yield error(where, f'has the value "{value}", which no events entry allows for "{name}": its facet is never set')


def _replaced(plan: Plan, schemas: dict[str, dict[str, EventSchema]]) -> Iterator[Finding]:
    """Deprecated events whose successor has no schema."""
    for one in plan.events:
        if one.instead and not any(one.instead in schemas[app.id] for app in plan.apps if applies(one.apps, app.id)):
            yield warning(f'events "{one.name}"', f'is to be replaced by "{one.instead}", which has no events entry')


def _types(plan: Plan) -> Iterator[Finding]:
    """A property that has another type in another event."""
    first: dict[str, tuple[str, str]] = {}
    for event in plan.events:
        for name, one in event.properties.items():
            kind = "number" if one.type == "integer" else one.type
            other, where = first.setdefault(name, (kind, event.name))
            if other != kind:
                yield warning(f'events "{event.name}"', f'"{name}" is a {one.type} here, and another type in "{where}"')


def _near(names: list[str], where: str) -> Iterator[Finding]:
    """Names that are nearly the same: probably one tracking point written in two ways."""
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            if near(one, other):
                yield warning(where, f'"{one}" and "{other}" are nearly the same name: is one of them a slip?')


def near(one: str, other: str) -> bool:
    """Whether two names are the same but for case and punctuation, or but for one letter of many."""
    plain, plain_other = _plain(one), _plain(other)
    if plain == plain_other:
        return bool(plain)
    if min(len(plain), len(plain_other)) < _LEAST_NEAR or abs(len(plain) - len(plain_other)) > 1:
        return False
    start = next((at for at, (a, b) in enumerate(zip(plain, plain_other, strict=False)) if a != b), None)
    if start is None:
        return not (plain + plain_other)[-1:].isdigit()
    short, long = sorted((plain, plain_other), key=len)
    tail = short[start:] if len(short) < len(long) else short[start + 1 :]
    differing = long[start] + (short[start : start + 1] if len(short) == len(long) else "")
    # step_1 and step_2 are meant so
    return tail == long[start + 1 :] and not any(char.isdigit() for char in differing)


def _plain(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _listed(apps: Iterable[str]) -> str:
    return ", ".join(apps)
