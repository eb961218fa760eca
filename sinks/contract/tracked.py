"""Which event names have numbers of their own: those that the plan names. All others are told apart in ClickHouse only."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.contract.plan import App, Plan, applies

#: Names of an app beyond which the rest count as `other`: the plan bounds labels, but an activity may list any number of events.
MAX_NAMES = 300


def tracked_events(plan: Plan) -> dict[str, tuple[str, ...]]:
    """App id -> event names of its launches, activities, scenes and funnels, in the plan's order and without repetition."""
    return {app.id: tuple(dict.fromkeys(_names(plan, app)))[:MAX_NAMES] for app in plan.apps}


def _names(plan: Plan, app: App) -> Iterator[str]:
    yield from app.launch_events
    for funnel in plan.funnels:
        members = {funnel.app, *(one for group in plan.groups if group.id == funnel.app for one in group.apps)}
        if app.id in members:
            yield from (step.event for step in funnel.steps)
    rules = [(one.apps, one.events) for one in plan.activities] + [(one.apps, one.events) for one in plan.scenes]
    for apps, events in rules:
        if applies(apps, app.id):
            yield from events
