"""What changed in the schemas since a version before, and whether apps that are out there may send what they send. Pure.

Compatible is a change after which every event that was as the old plan had it, is so by the new one. docs/tracking-plan.md has
the rules as a table.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.plan.finding import Finding, error, note
from ingest.contract.plan import App, Plan
from ingest.contract.tracking import EventSchema, PropertySchema, events_of

#: Old type -> new types that take all of its values.
_WIDER = {"integer": ("number",)}


def changes(old: Plan, new: Plan) -> list[Finding]:
    """Incompatible changes are errors, the others notes. Each is told once, with the apps that it holds for."""
    found: dict[Finding, list[str]] = {}
    before = {app.id: events_of(old.events, app.id) for app in old.apps}
    apps = {app.id: app for app in old.apps}
    for app in new.apps:
        if app.id not in apps:
            continue
        after = events_of(new.events, app.id)
        told = list(_of_handling(apps[app.id], app)) if before[app.id] and after else []
        if before[app.id]:
            told += _of_app(before[app.id], after)
        elif after:
            told.append(_first(app))
        for one in told:
            found.setdefault(one, []).append(app.id)
    return [one._replace(where=f"{one.where} ({', '.join(apps)})") for one, apps in found.items()]


def _of_handling(old: App, new: App) -> Iterator[Finding]:
    """What becomes of events that are not as the plan says."""
    for name, what, before, after in (
        ("plan_violations", "events that are not as their schema says", old.plan_violations, new.plan_violations),
        ("unknown_events", "events that have no schema", old.unknown_events, new.unknown_events),
    ):
        where = f"apps, {name}"
        if before == "keep" and after == "reject":
            yield error(where, f"was keep and is reject now: {what} were kept and counted, and will be rejected")
        elif before != after:
            yield note(where, f"was {before} and is {after} now: {what} will be kept and counted")


def _first(app: App) -> Finding:
    """An app whose events nothing was asked of."""
    where, what = "events", "are the first schemas of the app: all its other track events are unknown from now on"
    refused = [name for name in ("plan_violations", "unknown_events") if getattr(app, name) == "reject"]
    if refused:
        return error(where, f"{what}, and {' and '.join(refused)} say reject: look at what is sent first, with keep")
    return note(where, what)


def _of_app(old: dict[str, EventSchema], new: dict[str, EventSchema]) -> Iterator[Finding]:
    for name in sorted(new.keys() - old.keys()):
        yield note(f'events "{name}"', "is new")
    for name, schema in old.items():
        where = f'events "{name}"'
        if name in new:
            yield from _of_event(where, schema, new[name])
        elif schema.deprecated:
            yield note(where, "was deprecated, and is gone")
        else:
            yield error(where, "is gone: apps that still send it would be unknown; deprecate it first")


def _of_event(where: str, old: EventSchema, new: EventSchema) -> Iterator[Finding]:
    if new.closed and not old.closed:
        yield error(where, "is closed now: properties that were allowed are violations")
    if new.deprecated and not old.deprecated:
        yield note(where, "is deprecated now")
    for name in sorted(new.properties.keys() - old.properties.keys()):
        yield _added(f'{where}, property "{name}"', new.properties[name])
    for name, one in old.properties.items():
        at = f'{where}, property "{name}"'
        if name in new.properties:
            yield from _of_property(at, one, new.properties[name])
        elif new.closed:
            yield error(at, "is gone from a closed schema: events that have it would be violations")
        elif not old.deprecated:
            yield error(at, "is gone: what reads it would find nothing checked; make it optional, or deprecate the event first")


def _added(where: str, one: PropertySchema) -> Finding:
    if one.required:
        return error(where, "is new and required: apps that are out there do not send it; make it optional")
    return note(where, "is new and optional")


def _of_property(where: str, old: PropertySchema, new: PropertySchema) -> Iterator[Finding]:
    if new.type != old.type:
        if new.type in _WIDER.get(old.type, ()):
            yield note(where, f"is of type {new.type} now, which takes every {old.type}")
        else:
            yield error(where, f"was of type {old.type} and is of type {new.type} now: make a new property of it")
            return
    if new.required and not old.required:
        yield error(where, "is required now: apps that are out there may leave it out")
    elif old.required and not new.required:
        yield note(where, "is optional now")
    if new.values and (gone := [value for value in old.values if value not in new.values]):
        yield error(where, f"no longer allows {', '.join(map(repr, gone[:10]))}")
    elif new.values and not old.values:
        yield error(where, "allows certain values only now")
    elif new.values != old.values:
        yield note(where, "allows more values")
    if _narrower(old.min, new.min, lower=True) or _narrower(old.max, new.max, lower=False):
        yield error(where, f"has narrower bounds: min {old.min} -> {new.min}, max {old.max} -> {new.max}")
    elif (old.min, old.max) != (new.min, new.max):
        yield note(where, "has wider bounds")
    if new.pattern and new.pattern != old.pattern:
        yield error(where, "has another pattern: what matched before may not match now")
    elif old.pattern and not new.pattern:
        yield note(where, "has no pattern any more")


def _narrower(old: float | None, new: float | None, lower: bool) -> bool:
    """Whether a bound excludes values that were allowed."""
    if new is None:
        return False
    return old is None or (new > old if lower else new < old)
