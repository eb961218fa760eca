"""What of the plan goes into ClickHouse: its apps and groups, so that dashboards have names, zones and populations."""

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


def plan_rows(plan: Plan) -> list[AppRow]:
    """Apps, then groups, in the plan's order; a name that is not given is the id."""
    apps = [AppRow(one.id, one.name or one.id, plan.zone_name(one.id), one.population, "app") for one in plan.apps]
    groups = [AppRow(one.id, one.name or one.id, plan.zone_name(one.id), one.population, "group") for one in plan.groups]
    return apps + groups
