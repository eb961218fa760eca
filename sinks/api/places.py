"""The plan as the API tells it: apps, groups, facets, funnels."""

from __future__ import annotations

from ingest.contract.plan import Funnel, Plan
from ingest.contract.zones import Zone, date_of_day
from sinks.api.shapes import AppInfo, Apps, Breakdown, Catalogue, CatalogueMetric, FacetInfo, FunnelInfo, Step
from streams.contract.catalogue import CATALOGUE


def apps(plan: Plan, now: int) -> Apps:
    """Apps and groups at `now` (ms)."""

    def one(scope: str, name: str, kind: str, population: int, members: list[str]) -> AppInfo:
        zone = Zone(plan.zone_name(scope))
        return AppInfo(
            id=scope,
            name=name or scope,
            kind=kind,
            time_zone=zone.name,
            today=date_of_day(zone.day(now)).isoformat(),
            hour=zone.clock_hour(zone.hour(now)),
            population=population,
            facets=[FacetInfo(facet, facet_title(plan, facet)) for facet in plan.facets(scope)],
            apps=members,
        )

    found = [one(app.id, app.name, "app", app.population, []) for app in plan.apps]
    found += [one(group.id, group.name, "group", group.population, list(group.apps)) for group in plan.groups]
    return Apps(plan.project.name, found)


def facet_title(plan: Plan, facet: str) -> str:
    """A facet in the plan's words; "" for any activity."""
    kind, _, value = facet.partition(":")
    for name, listed in (("activity", plan.activities), ("scene", plan.scenes)):
        if kind == name:
            return next((one.name or one.id for one in listed if one.id == value), value)
    segment = next((one for one in plan.segments if one.id == kind), None)
    return f"{segment.name or kind}: {value}" if segment else facet


def catalogue(plan: Plan) -> Catalogue:
    """Metrics and funnels."""
    return Catalogue(
        metrics=[CatalogueMetric(**(metric._asdict() | {"windows": list(metric.windows)})) for metric in CATALOGUE],
        funnels=[
            FunnelInfo(
                id=funnel.id,
                name=funnel.name or funnel.id,
                app=funnel.app,
                window_hours=funnel.window_hours,
                by=funnel.by,
                by_title=next((one.name or one.id for one in plan.segments if one.id == funnel.by), ""),
                breakdowns=breakdowns(plan, funnel),
                steps=[Step(step.event, f"{funnel.id}:{number}") for number, step in enumerate(funnel.steps, 1)],
            )
            for funnel in plan.funnels
        ],
    )


def breakdowns(plan: Plan, funnel: Funnel) -> list[Breakdown]:
    """The values of the funnel's segment, in any of the apps that it is of."""
    members = next((group.apps for group in plan.groups if group.id == funnel.app), [funnel.app])
    found = dict.fromkeys(facet for app in members for facet in plan.facets(app) if facet.startswith(f"{funnel.by}:"))
    return [Breakdown(facet, facet.partition(":")[2]) for facet in found] if funnel.by else []


def latest_day(plan: Plan, now: int) -> int:
    """The day number of today in the easternmost of the plan's zones."""
    names = {plan.project.time_zone, *(app.time_zone for app in plan.apps if app.time_zone)}
    return max(Zone(name).day(now) for name in names)
