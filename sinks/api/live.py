"""Live numbers and the pipeline's health: from the exporter's gauges and the process's counters to the API's answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ingest.contract.zones import date_of_day
from sinks.api.shapes import Now, NowRow, Pipeline
from sinks.contract import gauges as names
from sinks.prometheus.gauges import Gauge, Scope
from sinks.snapshot import Snapshot


def now_rows(
    gauges: Sequence[Gauge] | None, scopes: Sequence[Scope], at: int, wanted: Collection[str], facet: str, groups: Collection[str]
) -> Now:
    """The rows of the wanted apps and groups; gauges None: not caught up yet. Launches and usage are of apps, not of groups."""
    if gauges is None:
        return Now(at, False, [])
    values = {(gauge.family.name, gauge.labels): gauge.value for gauge in gauges}
    rows = []
    for scope in scopes:
        if scope.id not in wanted or facet not in scope.facets:
            continue

        def active(window: str, app: str = scope.id) -> int | None:
            return _whole(values.get((names.ACTIVE_USERS.name, (app, facet, window))))

        def of_app(family: names.Family, app: str = scope.id) -> float | None:
            return None if facet or app in groups else values.get((family.name, (app,)))

        def any_scope(family: names.Family, app: str = scope.id) -> float | None:
            return None if facet else values.get((family.name, (app,)))

        zone = scope.zone
        rows.append(
            NowRow(
                app=scope.id,
                facet=facet,
                today=date_of_day(zone.day(at)).isoformat(),
                hour=zone.clock_hour(zone.hour(at)),
                active_5m=active("5m"),
                active_30m=active("30m"),
                active_hour=active("hour"),
                active_day=active("day"),
                active_7d=active("7d"),
                active_30d=active("30d"),
                active_month=active("month"),
                launches=_whole(of_app(names.LAUNCHES)),
                usage_seconds=of_app(names.USAGE_SECONDS),
                sessions=_whole(of_app(names.SESSIONS)),
                peak_hour=_whole(any_scope(names.PEAK_HOUR)),
                peak_hour_users=_whole(any_scope(names.PEAK_HOUR_USERS)),
            )
        )
    return Now(at, True, rows)


def pipeline(counters: Snapshot, at: int) -> Pipeline:
    """The process's counters at `at` (ms)."""
    return Pipeline(
        at=at,
        caught_up=counters.caught_up,
        freshness_ms=max(0, at - counters.last_total) if counters.last_total else None,
        last_total=counters.last_total,
        last_event=counters.last_event,
        events=counters.events,
        lag=counters.lag,
        rows_inserted=counters.rows_inserted,
        last_insert=counters.last_insert,
        inserts_failed={f"{table} {kind}": count for (table, kind), count in counters.inserts_failed.items()},
        rows_refused=counters.rows_refused,
        lines_skipped=counters.lines_skipped,
        records_lost=counters.records_lost,
        waiting=counters.waiting,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
