"""What an event counts for: its facets, and the steps of funnels that it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.simulator.truth.happened import Happened
from ingest.contract.plan import FunnelStep, Plan


def facets_of(plan: Plan, one: Happened) -> list[str]:
    """All facets that an activity event counts for in its app; the first is ""."""
    found = [""]
    for activity in plan.activities:
        if activity.apps and one.app not in activity.apps:
            continue
        if one.event in activity.events and (not activity.login or one.person.startswith("u:")):
            found.append(f"activity:{activity.id}")
    scenes = [scene for scene in plan.scenes if not scene.apps or one.app in scene.apps]
    found += [f"scene:{scene.id}" for scene in scenes if one.event in scene.events]
    for segment in plan.segments:
        if segment.apps and one.app not in segment.apps:
            continue
        value: Any
        if segment.source in ("platform", "version", "channel"):
            value = {"platform": one.platform, "version": one.version, "channel": one.channel}[segment.source]
            if value == "":
                continue
        else:
            value = properties(one).get(segment.source[len("props.") :])
            if value is None:
                continue
            if value is True or value is False:
                value = str(value).lower()
            elif isinstance(value, int):
                value = str(value)
        found.append(f"{segment.id}:{value if value in segment.values else 'other'}")
    return found


def properties(one: Happened) -> dict[str, Any]:
    """The event's properties by name; those in an object have its name and a dot before their own, the first of a name counts."""
    found: dict[str, Any] = {}
    for name, value in _leaves(one.props):
        found.setdefault(name, value)
    return found


def _leaves(props: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in props.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in _leaves(value))
        elif value is not None:
            yield name, value


def is_step(step: FunnelStep, one: Happened) -> bool:
    """Whether an event is a step: its name, and its properties, which are compared as text."""
    if one.event != step.event:
        return False
    for name, wanted in step.where.items():
        value = properties(one).get(name)
        if not isinstance(value, str | int) or as_text(value) != as_text(wanted):
            return False
    return True


def as_text(value: str | int) -> str:
    """A text as it is, a number in decimals, yes and no as true and false."""
    return str(value).lower() if isinstance(value, bool) else str(value)
