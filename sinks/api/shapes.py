"""The answers' types: what is encoded, what OpenAPI describes, and what tests hold answers against. Times are ms UTC."""

from __future__ import annotations

import msgspec


class Row(msgspec.Struct, frozen=True):
    """A published number. start: 0 for 5m and 30m, which have no day; day: the window's local date (7d, 30d: its last day) or
    null; hour: 0-23 or null.
    """

    metric: str
    app: str
    facet: str
    window: str
    start: int
    day: str | None
    hour: int | None
    value: int
    at: int


class Page(msgspec.Struct, frozen=True):
    """Rows ordered by start, app, facet. next_cursor gives the next page; null on the last."""

    rows: list[Row]
    next_cursor: str | None


class CatalogueMetric(msgspec.Struct, frozen=True):
    """A metric: what it counts, in which unit, over which windows."""

    name: str
    title: str
    title_zh: str
    unit: str
    windows: list[str]
    scopes: str
    facets: str
    definition: str


class Step(msgspec.Struct, frozen=True):
    """A funnel's step; facet is what metric funnel_users has it under."""

    event: str
    facet: str


class Breakdown(msgspec.Struct, frozen=True):
    """A value of the segment by which a funnel is broken down: a step's users of it have the facet `<the step's>:<id>`."""

    id: str
    title: str


class FunnelInfo(msgspec.Struct, frozen=True):
    """A funnel of the plan. by, by_title: the segment by whose values it is broken down too, "" if it is not."""

    id: str
    name: str
    app: str
    window_hours: int
    by: str
    by_title: str
    breakdowns: list[Breakdown]
    steps: list[Step]


class Catalogue(msgspec.Struct, frozen=True):
    """What can be asked for."""

    metrics: list[CatalogueMetric]
    funnels: list[FunnelInfo]


class FacetInfo(msgspec.Struct, frozen=True):
    """A facet and its name in the plan."""

    id: str
    title: str


class AppInfo(msgspec.Struct, frozen=True):
    """An app or a group of apps. today, hour: its clock now; apps: the members of a group; population 0: not given."""

    id: str
    name: str
    kind: str
    time_zone: str
    today: str
    hour: int
    population: int
    facets: list[FacetInfo]
    apps: list[str]


class Apps(msgspec.Struct, frozen=True):
    """The plan's apps and groups."""

    project: str
    apps: list[AppInfo]


class NowRow(msgspec.Struct, frozen=True):
    """Live numbers of an app or group: current windows by its own clock. null: not known (yet), or not counted for this facet."""

    app: str
    facet: str
    today: str
    hour: int
    active_5m: int | None
    active_30m: int | None
    active_hour: int | None
    active_day: int | None
    active_7d: int | None
    active_30d: int | None
    active_month: int | None
    launches: int | None
    usage_seconds: float | None
    sessions: int | None
    peak_hour: int | None
    peak_hour_users: int | None


class Now(msgspec.Struct, frozen=True):
    """caught_up is false while the totals are still read after a start: there are no rows then, because half a sum is wrong."""

    at: int
    caught_up: bool
    rows: list[NowRow]


class EventCount(msgspec.Struct, frozen=True):
    """How often an event came in the span."""

    event: str
    app: str
    count: int
    last: int


class EventSample(msgspec.Struct, frozen=True):
    """An event without what could tell whose it is: no person, no ids, no properties."""

    app: str
    event: str
    type: str
    time: int
    received: int
    platform: str
    version: str
    channel: str
    protocol: str


class RecentEvents(msgspec.Struct, frozen=True):
    """Events whose time is in the span, each counted once: the most frequent names (total: of all) and the latest."""

    at: int
    minutes: int
    total: int
    top: list[EventCount]
    sample: list[EventSample]


class RejectedCount(msgspec.Struct, frozen=True):
    """What could not be accepted, by reason."""

    stage: str
    reason: str
    app: str
    count: int
    last: int


class Rejections(msgspec.Struct, frozen=True):
    """accepted: events received in the same span."""

    at: int
    hours: int
    accepted: int
    rejected: list[RejectedCount]


class Violation(msgspec.Struct, frozen=True):
    """A violation of the tracking plan: count of total events of that name and version; property "" where none is meant."""

    app: str
    event: str
    version: str
    rule: str
    property: str
    count: int
    total: int
    last: int


class Delay(msgspec.Struct, frozen=True):
    """How long after they happened events came: over an hour; too late for numbers of hours, and of days; median and p95 (ms)."""

    app: str
    version: str
    events: int
    over_an_hour: int
    too_late_for_hours: int
    too_late_for_days: int
    median_ms: int
    p95_ms: int


class Tracking(msgspec.Struct, frozen=True):
    """Events received in the span: what is not as the plan says, and what came late. At most 500 rows each.

    checked: the apps that have schemas.
    """

    at: int
    hours: int
    checked: list[str]
    violations: list[Violation]
    delays: list[Delay]


class Pipeline(msgspec.Struct, frozen=True):
    """The sinks' process about itself; counters are since its start, marks are ms UTC (0: none yet).

    freshness_ms: age of the newest total that was read; null before the first. waiting: which sink waits, and why.
    """

    at: int
    caught_up: bool
    freshness_ms: int | None
    last_total: int
    last_event: dict[str, int]
    events: dict[str, int]
    lag: dict[str, int]
    rows_inserted: dict[str, int]
    last_insert: dict[str, int]
    inserts_failed: dict[str, int]
    rows_refused: dict[str, int]
    lines_skipped: dict[str, int]
    records_lost: dict[str, int]
    waiting: dict[str, str]


class Live(msgspec.Struct, frozen=True):
    """The data of one server-sent event."""

    now: Now
    pipeline: Pipeline
