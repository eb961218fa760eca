"""The route table: what is served, with which parameters and answers. The server and the OpenAPI document both come of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from ingest.contract.plan import Plan
from sinks.api import shapes
from sinks.api.parameters import Param
from streams.contract.catalogue import CATALOGUE

PREFIX = "/api/v1"
MAX_ROWS = 10_000
MAX_EXPORT_ROWS = 200_000

#: Media type of each export.
EXPORTS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


class Route(NamedTuple):
    """One path. answer is the type of its JSON; media says what else it can answer; stream: server-sent events of `answer`."""

    path: str
    name: str
    summary: str
    description: str
    params: tuple[Param, ...]
    answer: Any
    media: tuple[str, ...] = ()
    stream: bool = False


def routes(plan: Plan) -> tuple[Route, ...]:
    """All routes; the plan's apps and groups are the choices of `app`."""
    ids = tuple([app.id for app in plan.apps] + [group.id for group in plan.groups])
    windows = tuple(dict.fromkeys(window for metric in CATALOGUE for window in metric.windows))
    apps = Param("app", "choice", "Apps or groups, comma-separated; without it all of them.", choices=ids, many=True)
    return (
        Route(
            PREFIX + "/metrics",
            "metrics",
            "Published numbers, paged or exported",
            "Every number of the catalogue by app, facet, window and day. Partitions are added up; the last version counts.",
            (
                Param(
                    "metric", "choice", "Its name in the catalogue.", choices=tuple(one.name for one in CATALOGUE), required=True
                ),
                apps,
                Param(
                    "facet",
                    "text",
                    "Exactly this facet (empty: any activity); with a trailing * all that begin so; without it all of them.",
                ),
                Param(
                    "window", "choice", "One of the metric's windows; without it day, or the metric's only one.", choices=windows
                ),
                Param("from", "date", "First local day; without it 30 days before `to` (7 for hours)."),
                Param("to", "date", "Last local day, included; without it today in the easternmost of the plan's zones."),
                Param(
                    "limit",
                    "integer",
                    f"Rows of a page (at most {MAX_ROWS}, by default 1000), or of an export ({MAX_EXPORT_ROWS}; see Link).",
                    least=1,
                    most=MAX_EXPORT_ROWS,
                ),
                Param("cursor", "text", "next_cursor of the page before, with all other parameters as they were.", most=1000),
                Param("export", "choice", "A file instead of JSON.", choices=tuple(EXPORTS)),
            ),
            shapes.Page,
            media=tuple(EXPORTS.values()),
        ),
        Route(
            PREFIX + "/catalogue",
            "catalogue",
            "What can be asked for",
            "All metrics with unit, windows and exact definition, and the plan's funnels.",
            (),
            shapes.Catalogue,
        ),
        Route(
            PREFIX + "/apps", "apps", "Apps and groups", "With names, time zones, facets, and the local date.", (), shapes.Apps
        ),
        Route(
            PREFIX + "/now",
            "now",
            "Live numbers",
            "Current windows of each app and group, seconds old. They do not pass through ClickHouse.",
            (apps, Param("facet", "text", "One facet of the plan (empty: any activity).", default="")),
            shapes.Now,
        ),
        Route(
            PREFIX + "/events/recent",
            "recent",
            "Recent events",
            "The most frequent event names of the last minutes, and a sample without personal data.",
            (
                apps,
                Param("minutes", "integer", "How far back, by the events' own time.", least=1, most=60, default=5),
                Param("limit", "integer", "Names, and events of the sample.", least=1, most=100, default=10),
            ),
            shapes.RecentEvents,
        ),
        Route(
            PREFIX + "/rejected",
            "rejected",
            "What could not be accepted",
            "Counts by stage, reason and app, for the quality of tracking points.",
            (Param("hours", "integer", "How far back.", least=1, most=720, default=24),),
            shapes.Rejections,
        ),
        Route(
            PREFIX + "/tracking",
            "tracking",
            "How events keep to the plan",
            "Violations of the tracking plan by app version, and how late events came: of events received in the last hours.",
            (apps, Param("hours", "integer", "How far back.", least=1, most=720, default=24)),
            shapes.Tracking,
        ),
        Route(
            PREFIX + "/pipeline",
            "pipeline",
            "Health of the pipeline",
            "Lag, freshness, rates and failures as the sinks' process sees them.",
            (),
            shapes.Pipeline,
        ),
        Route(
            PREFIX + "/live",
            "live",
            "Live numbers, each second",
            "Server-sent events named `now`, each with the live numbers and the pipeline's health.",
            (),
            shapes.Live,
            stream=True,
        ),
    )
