"""The plan: what is tracked and how it is counted. The part of footfall.toml that all stages agree on.

Facets are yes/no properties of a person's activity; all work alike, wherever they come from:

    ""                       any activity
    "activity:transacting"   an event of one of the activity's event names
    "scene:dining"           an event of one of the scene's event names
    "platform:ios"           a segment: one of the listed values of a field of the event or of a property; all else is "other"
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ingest.contract.errors import ConfigError
from ingest.contract.table import EventName, Id, Table
from ingest.contract.tracking import EventSchema, OnViolation, check_events, events_of
from ingest.contract.zones import Zone

WriteKey = Annotated[str, msgspec.Meta(min_length=3, max_length=128)]
SegmentValue = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

#: Apps, groups and segment values make up the totals' keys and Prometheus' labels: bounded by construction.
MAX_FACETS = 500
MAX_APPS = 64

OTHER = "other"


class Horizons(Table, frozen=True, kw_only=True):
    """How late an event may come and still correct the number it belongs to. What comes later is kept raw and counted as late.

    late_days    for days, trailing windows and months: local day of receipt minus local day of the event
    late_hours   for hours, launches, usage time and funnels: receipt minus event time, in hours
    """

    late_days: Annotated[int, msgspec.Meta(ge=2, le=400)] = 31
    late_hours: Annotated[int, msgspec.Meta(ge=1, le=9600)] = 48

    def __post_init__(self) -> None:
        if self.late_hours > 24 * (self.late_days - 1):
            raise ConfigError(
                f"horizons.late_hours is {self.late_hours}: at most 24 x (late_days - 1) = {24 * (self.late_days - 1)}, "
                "so that what counts for an hour counts for its day too"
            )


class App(Table, frozen=True, kw_only=True):
    """An app, known by its write keys. Days and hours are counted in its time zone ("" is the project's)."""

    id: Id
    name: str = ""
    write_keys: list[WriteKey] = []
    #: Keys that were write keys and are no more: what still comes with one is set aside under a reason of its own.
    revoked_keys: list[WriteKey] = []
    time_zone: str = ""
    #: Event names that are the start of the app; `launches` counts their distinct times.
    launch_events: list[EventName] = msgspec.field(default_factory=lambda: ["$AppStart", "app_launch", "Application Opened"])
    #: Event names that are no activity of the person (a push that arrived): kept raw, counted nowhere.
    passive_events: list[EventName] = []
    #: Whom the app could have at most (customers): for penetration.
    population: Annotated[int, msgspec.Meta(ge=0)] = 0
    #: Active users in an hour that the app is built for: an alert says when a peak comes near. 0: not known.
    peak_capacity: Annotated[int, msgspec.Meta(ge=0)] = 0
    #: What becomes of an event that is not as its schema says, and of a track event that has none where others have one.
    plan_violations: OnViolation = "keep"
    unknown_events: OnViolation = "keep"


class Activity(Table, frozen=True, kw_only=True):
    """A kind of activity: persons with one of these events, while logged in if that is asked for. Facet `activity:<id>`."""

    id: Id
    name: str = ""
    events: Annotated[list[EventName], msgspec.Meta(min_length=1)]
    login: bool = False
    apps: list[Id] = []


class Scene(Table, frozen=True, kw_only=True):
    """A place in life that an app serves (dining, transport): persons with one of these events. Facet `scene:<id>`."""

    id: Id
    name: str = ""
    events: Annotated[list[EventName], msgspec.Meta(min_length=1)]
    apps: list[Id] = []


class Segment(Table, frozen=True, kw_only=True):
    """A breakdown: facet `<id>:<value>` for each listed value, `<id>:other` for all else; an event without it has none.

    source is `platform`, `version`, `channel`, or `props.<name>` for a property of the event.
    """

    id: Id
    name: str = ""
    source: Annotated[str, msgspec.Meta(pattern=r"^(platform|version|channel|props\..{1,128})$")]
    values: Annotated[list[SegmentValue], msgspec.Meta(min_length=1, max_length=100)]
    apps: list[Id] = []


class Group(Table, frozen=True, kw_only=True):
    """A named set of apps counted as one population: a person in two of them counts once. The project's days and hours."""

    id: Id
    name: str = ""
    apps: Annotated[list[Id], msgspec.Meta(min_length=1)]
    population: Annotated[int, msgspec.Meta(ge=0)] = 0


class FunnelStep(Table, frozen=True, kw_only=True):
    """One step: an event name, and properties that must have these values (compared as text: 1 is "1", true is "true")."""

    event: EventName
    where: dict[str, str | int | bool] = {}


class Funnel(Table, frozen=True, kw_only=True):
    """Steps that a person takes in strictly increasing order of time, within window_hours of the first.

    Events of one millisecond have the order of a checksum of their ids, which tells the steps of SDKs that number at random as
    little as the ids themselves would, and is the same for all who look.

    app      app or group whose events count
    exclude  events that end a chain, unless they are its next step
    by       a segment by whose values it is broken down too, as the event of the first step has it
    """

    id: Id
    name: str = ""
    app: Id
    steps: Annotated[list[FunnelStep], msgspec.Meta(min_length=2, max_length=12)]
    window_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 24
    exclude: Annotated[list[FunnelStep], msgspec.Meta(max_length=12)] = []
    by: str = ""


class Project(Table, frozen=True, kw_only=True):
    """What is common to all apps. `layout` names a partitioning of the numbers: another partition count needs another layout."""

    name: str = "footfall"
    time_zone: str = "UTC"
    layout: Id = "1"
    #: A pause of the person longer than this ends a session.
    session_gap_minutes: Annotated[int, msgspec.Meta(ge=1, le=240)] = 30


class Plan(Table, frozen=True, kw_only=True):
    """The whole plan, checked: what is referred to exists, ids are unique, zones are known, facets are bounded."""

    project: Project = Project()
    horizons: Horizons = Horizons()
    apps: list[App] = []
    activities: list[Activity] = []
    scenes: list[Scene] = []
    segments: list[Segment] = []
    groups: list[Group] = []
    funnels: list[Funnel] = []
    events: list[EventSchema] = []

    def __post_init__(self) -> None:
        check_plan(self)

    def zone_name(self, scope: str) -> str:
        """The time zone's name of an app, or of a group (the project's)."""
        for app in self.apps:
            if app.id == scope:
                return app.time_zone or self.project.time_zone
        return self.project.time_zone

    def facets(self, scope: str) -> list[str]:
        """All facets that the totals of an app or group can have, in the plan's order; the first is ``.

        Of a group only activities are counted: those of any of its apps.
        """
        for group in self.groups:
            if group.id == scope:
                counted = [one for one in self.activities if any(applies(one.apps, app) for app in group.apps)]
                return ["", *(f"activity:{one.id}" for one in counted)]
        found = [""]
        found += [f"activity:{one.id}" for one in self.activities if applies(one.apps, scope)]
        found += [f"scene:{one.id}" for one in self.scenes if applies(one.apps, scope)]
        for segment in self.segments:
            if applies(segment.apps, scope):
                found += [f"{segment.id}:{value}" for value in segment.values]
                if OTHER not in segment.values:
                    found.append(f"{segment.id}:{OTHER}")
        return found


def applies(apps: list[str], app: str) -> bool:
    """Whether a rule with this list of apps holds for an app; an empty list means all."""
    return not apps or app in apps


def _unique(what: Literal["app or group", "activity", "scene", "segment", "funnel"], ids: list[str]) -> None:
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise ConfigError(f'two {what} entries have the id "{one}": rename one')
        seen.add(one)


def check_plan(plan: Plan) -> None:
    """Raises ConfigError for the first thing in the plan that does not hold together."""
    app_ids = [app.id for app in plan.apps]
    if len(app_ids) > MAX_APPS:
        raise ConfigError(f"{len(app_ids)} apps, at most {MAX_APPS} are supported")
    _unique("app or group", app_ids + [group.id for group in plan.groups])
    _unique("activity", [one.id for one in plan.activities])
    _unique("scene", [one.id for one in plan.scenes])
    _unique("segment", [one.id for one in plan.segments])
    _unique("funnel", [one.id for one in plan.funnels])
    for segment in plan.segments:
        if segment.id in ("activity", "scene"):
            raise ConfigError(f'segment id "{segment.id}" is taken by the facets of that name: rename it')
    known = set(app_ids)
    for where, rules in (
        ("activities", plan.activities),
        ("scenes", plan.scenes),
        ("segments", plan.segments),
        ("groups", plan.groups),
    ):
        for rule in rules:
            for app_id in rule.apps:
                if app_id not in known:
                    raise ConfigError(f'{where} "{rule.id}" names the app "{app_id}", which is not in the plan')
    for funnel in plan.funnels:
        if funnel.app not in known and funnel.app not in {group.id for group in plan.groups}:
            raise ConfigError(f'funnel "{funnel.id}" names the app "{funnel.app}", which is not in the plan')
        if funnel.by and funnel.by not in {segment.id for segment in plan.segments}:
            raise ConfigError(f'funnel "{funnel.id}" is broken down by "{funnel.by}", which is no segment of the plan')
    check_events(plan.events, app_ids)
    keys: dict[str, str] = {}
    for app in plan.apps:
        for key in app.write_keys:
            if key in keys:
                raise ConfigError(f'apps "{keys[key]}" and "{app.id}" have the same write key: each needs its own')
            keys[key] = app.id
        for key in app.revoked_keys:
            if key in keys:
                raise ConfigError(f'a write key of app "{app.id}" is revoked and still in use, or revoked twice: list it once')
            keys[key] = app.id
        facets = len(plan.facets(app.id))
        if facets > MAX_FACETS:
            raise ConfigError(f'app "{app.id}" has {facets} facets, at most {MAX_FACETS} are supported: list fewer values')
        Zone(plan.zone_name(app.id))
        if "reject" in (app.plan_violations, app.unknown_events) and not events_of(plan.events, app.id):
            raise ConfigError(f'app "{app.id}" rejects what is against the plan, but no events entry applies to it: add some')
    Zone(plan.project.time_zone)
