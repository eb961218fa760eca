"""The plan made ready for the worker: decoder, facets, horizon, zones. The same for all partitions."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ingest.contract.plan import Funnel as PlannedFunnel
from ingest.contract.plan import Plan
from ingest.contract.zones import HOUR_MS, Zone
from streams.facets import FacetRules, event_decoder, properties_reader
from streams.funnel import FunnelRule
from streams.horizon import horizon_of


class Funnel(NamedTuple):
    """A funnel of an app or group."""

    scope: str
    rule: FunnelRule


class Rules:
    """Everything that the plan says about counting.

    apps         app ids
    scopes       app and group ids -> Zone (the same object for the same zone)
    funnels      funnel ids -> where they are counted, and how
    definitions  what records already written depend on
    fingerprint  the definitions, and what else decides what records contribute to totals
    """

    def __init__(self, plan: Plan) -> None:
        self.decoder = event_decoder(plan)
        self.facets = FacetRules(plan)
        self.horizon = horizon_of(plan.horizons, max((funnel.window_hours for funnel in plan.funnels), default=0))
        self.gap_ms = plan.project.session_gap_minutes * 60_000
        self.layout = plan.project.layout
        zones: dict[str, Zone] = {}
        self.scopes: dict[str, Zone] = {}
        self.apps = [app.id for app in plan.apps]
        self.facet_names: dict[str, list[str]] = {}
        for app in plan.apps:
            name = plan.zone_name(app.id)
            self.scopes[app.id] = zones.setdefault(name, Zone(name))
            self.facet_names[app.id] = plan.facets(app.id)
        for group in plan.groups:
            name = plan.project.time_zone
            self.scopes[group.id] = zones.setdefault(name, Zone(name))
            self.facet_names[group.id] = plan.facets(group.id)
        self.funnels = {
            funnel.id: Funnel(
                funnel.app,
                FunnelRule(len(funnel.steps), funnel.window_hours * HOUR_MS, self.horizon.keep_funnel_days),
            )
            for funnel in plan.funnels
        }
        self.definitions = {f"zone of {scope}": zone.name for scope, zone in self.scopes.items()} | {
            "horizons.late_days": str(plan.horizons.late_days),
            "horizons.late_hours": str(plan.horizons.late_hours),
            "project.session_gap_minutes": str(plan.project.session_gap_minutes),
            **{f"funnel {funnel.id}": _definition(funnel) for funnel in plan.funnels},
        }
        self.fingerprint = msgspec.json.encode((self.apps, self.definitions), order="sorted").decode()
        self._props = properties_reader(plan)

    def traits_key(self, event: Any) -> tuple[Any, ...]:
        """What decides the traits of an event, and which steps it can be. May be unhashable, if a property is."""
        if self._props is None:
            return event.app, event.platform, event.version, event.channel
        values = self._props(event)
        # the types, because 1 and True are equal keys
        return (event.app, event.platform, event.version, event.channel, *map(type, values), *values)


def _definition(funnel: PlannedFunnel) -> str:
    """What the stored events of a funnel depend on: records keep numbers of steps, not the steps themselves."""
    return msgspec.json.encode(msgspec.structs.replace(funnel, id="", name=""), order="sorted").decode()
