"""What of the plan goes into ClickHouse: apps and groups with names, zones and populations, and the lengths of funnels."""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.plan import Plan


class AppRow(NamedTuple):
    """A row of the view `apps`. kind: app or group."""

    id: str
    name: str
    time_zone: str
    population: int
    kind: str


class FunnelRow(NamedTuple):
    """A funnel, of an app or group, and how many steps it has."""

    id: str
    app: str
    steps: int


def funnel_rows(plan: Plan) -> list[FunnelRow]:
    """Funnels in the plan's order."""
    return [FunnelRow(one.id, one.app, len(one.steps)) for one in plan.funnels]


def plan_rows(plan: Plan) -> list[AppRow]:
    """Apps, then groups, in the plan's order; a name that is not given is the id."""
    apps = [AppRow(one.id, one.name or one.id, plan.zone_name(one.id), one.population, "app") for one in plan.apps]
    groups = [AppRow(one.id, one.name or one.id, plan.zone_name(one.id), one.population, "group") for one in plan.groups]
    return apps + groups
