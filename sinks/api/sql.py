"""The API's queries: text and parameters. Only names of ours are in the text; what a caller says is a parameter."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec

from ingest.contract.zones import DAY_MS, day_of_date
from sinks.api.errors import bad_parameter
from sinks.api.routes import MAX_EXPORT_ROWS, MAX_ROWS
from sinks.api.shapes import Page, Row
from streams.contract.catalogue import CATALOGUE

_PAGE = 1000
_MAX_DAYS = {"hour": 100}
_MOST_DAYS = 1100
_NOW_WINDOWS = ("5m", "30m")
_WINDOWS = {metric.name: metric.windows for metric in CATALOGUE}


class Query(NamedTuple):
    """A SELECT; limit is how many rows were asked for (one more is fetched, to know whether there are more)."""

    sql: str
    parameters: dict[str, Any]
    limit: int = 0


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """Where the page before ended."""

    start: int
    app: str
    facet: str


def metrics_query(asked: Mapping[str, Any], today: date) -> Query:
    """The query of /metrics for checked parameters. today: the default of `to`. Raises ApiError where they don't fit together."""
    metric, export = asked["metric"], asked.get("export", "")
    windows: Sequence[str] = _WINDOWS[metric]
    window = asked.get("window") or ("day" if "day" in windows else windows[0])
    if window not in windows:
        raise bad_parameter(f"{metric} has the windows {', '.join(windows)}")
    limit = asked.get("limit") or (MAX_EXPORT_ROWS if export else _PAGE)
    if not export and limit > MAX_ROWS:
        raise bad_parameter(f"limit is at most {MAX_ROWS} (an export: {MAX_EXPORT_ROWS})")
    where = ["totals.metric = {metric:String}", "totals.window = {window:String}"]
    parameters: dict[str, Any] = {"metric": metric, "window": window, "limit": limit if export else limit + 1}
    if "app" in asked:
        where.append("totals.app IN {apps:Array(String)}")
        parameters["apps"] = asked["app"]
    if "facet" in asked:
        facet = asked["facet"]
        starts = facet.endswith("*")
        where.append("startsWith(totals.facet, {facet:String})" if starts else "totals.facet = {facet:String}")
        parameters["facet"] = facet[:-1] if starts else facet
    if window in _NOW_WINDOWS:
        if "from" in asked or "to" in asked:
            raise bad_parameter(f"the window {window} is now: it has no days")
    else:
        _span(asked, window, today, where, parameters)
    if "cursor" in asked:
        cursor = decode_cursor(asked["cursor"])
        where.append("(totals.start, totals.app, totals.facet) > ({c_start:Int64}, {c_app:String}, {c_facet:String})")
        parameters |= {"c_start": cursor.start, "c_app": cursor.app, "c_facet": cursor.facet}
    day = "CAST(NULL, 'Nullable(String)')" if window in _NOW_WINDOWS else "toString(totals.day)"
    sql = (
        f"SELECT metric, app, facet, window, start, {day} AS local_day, hour, value,"
        " toUnixTimestamp64Milli(totals.at) AS computed"
        f" FROM totals WHERE {' AND '.join(where)} ORDER BY start, app, facet LIMIT {{limit:UInt32}}"
    )
    if export:
        sql = (
            "SELECT metric, app, facet, window, local_day AS day, if(hour < 0, NULL, hour) AS hour, start, value, computed AS at"
            f" FROM ({sql})"
        )
    return Query(sql, parameters, limit)


def _span(asked: Mapping[str, Any], window: str, today: date, where: list[str], parameters: dict[str, Any]) -> None:
    last: date = asked.get("to", today)
    days = 7 if window == "hour" else 30
    first: date = asked.get("from") or max(date(1970, 1, 1), last - timedelta(days=days - 1))
    if first > last:
        raise bad_parameter("from is after to")
    most = _MAX_DAYS.get(window, _MOST_DAYS)
    if (last - first).days >= most:
        raise bad_parameter(f"at most {most} days at once for the window {window}")
    if window == "month" and "from" not in asked:
        first = last
    if window == "month":
        first = first.replace(day=1)  # a month is named by its first day: ask for any of its days
    # `start` is on the sorting key: generously, a window may start 29 days before the day that names it, in any zone.
    where += [
        "totals.day BETWEEN {first:Date} AND {last:Date}",
        "totals.start BETWEEN {least:Int64} AND {most:Int64}",
    ]
    parameters |= {
        "first": first,
        "last": last,
        "least": (day_of_date(first) - 31) * DAY_MS,
        "most": (day_of_date(last) + 2) * DAY_MS,
    }


def page_of(rows: Sequence[Sequence[Any]], limit: int) -> Page:
    """The answer for rows of `metrics_query`, of which there may be one more than asked for."""
    found = [
        Row(
            str(row[0]),
            str(row[1]),
            str(row[2]),
            str(row[3]),
            int(row[4]),
            row[5],
            hour_of(row[6]),
            int(row[7]),
            int(row[8]),
        )
        for row in rows[:limit]
    ]
    more = len(rows) > limit
    return Page(found, encode_cursor(Cursor(found[-1].start, found[-1].app, found[-1].facet)) if more else None)


def beyond(query: Query) -> Query:
    """The last row of a full export of `metrics_query` and the one after it, if there is one: start, app, facet."""
    return Query(
        f"SELECT start, app, facet FROM ({query.sql}) ORDER BY start, app, facet LIMIT 2 OFFSET {{before:UInt32}}",
        query.parameters | {"limit": query.limit + 1, "before": query.limit - 1},
    )


def next_of(rows: Sequence[Sequence[Any]]) -> str | None:
    """The cursor after an export, for the rows of `beyond`; None where it was not cut."""
    return encode_cursor(Cursor(int(rows[0][0]), str(rows[0][1]), str(rows[0][2]))) if len(rows) > 1 else None


def hour_of(value: int) -> int | None:
    """A clock hour, or null where there is none."""
    return None if value < 0 else int(value)


def encode_cursor(cursor: Cursor) -> str:
    """Text that is safe in a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Raises ApiError for what is none."""
    try:
        cursor = msgspec.json.decode(base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)), type=Cursor)
    except (ValueError, msgspec.DecodeError, UnicodeEncodeError):
        raise bad_parameter("cursor is not one that a page gave") from None
    if not -(2**63) <= cursor.start < 2**63:
        raise bad_parameter("cursor is not one that a page gave")
    return cursor


def recent_queries(apps: Sequence[str], now: int, minutes: int, limit: int) -> tuple[Query, Query]:
    """Top names (event, app, how often, newest time, how many in all), and the latest events, of the last minutes by their time.

    Not FINAL, which would read whole days: the index on time leaves out what is older, and what was sent twice counts once here.
    """
    since = now - minutes * 60_000
    base = "app IN {apps:Array(String)} AND toDate(at) >= {day:Date} AND time > {since:Int64} AND time <= {now:Int64}"
    parameters: dict[str, Any] = {
        "apps": list(apps),
        "since": since,
        "now": now,
        "day": date(1970, 1, 1) + timedelta(days=max(0, since // DAY_MS)),
        "limit": limit,
    }
    top = (
        "SELECT event, app, found, newest, sum(found) OVER () FROM"
        f" (SELECT event, app, uniqExact(person_hash, id, time) AS found, max(time) AS newest FROM events WHERE {base}"
        " GROUP BY event, app) ORDER BY found DESC, event, app LIMIT {limit:UInt32}"
    )
    sample = (
        f"SELECT app, event, type, time, received, platform, version, channel, protocol FROM events WHERE {base}"
        " ORDER BY time DESC, received LIMIT 1 BY app, event, person_hash, id, time LIMIT {limit:UInt32}"
    )
    return Query(top, parameters), Query(sample, parameters)


def rejected_queries(apps: Sequence[str], now: int, hours: int) -> tuple[Query, Query]:
    """Rejections by stage, reason and app; and how many events were accepted in the same span.

    The filters on app and day are for the sorting key: an event that was received now but happened two days before is left out.
    """
    since = now - hours * 3_600_000
    day = date(1970, 1, 1) + timedelta(days=max(0, since // DAY_MS - 2))
    return (
        Query(
            "SELECT stage, reason, app, count() AS found, max(at) FROM rejected FINAL WHERE at >= {since:Int64}"
            " GROUP BY stage, reason, app ORDER BY found DESC, stage, reason, app LIMIT 200",
            {"since": since},
        ),
        Query(
            "SELECT count() FROM events"
            " WHERE app IN {apps:Array(String)} AND toDate(at) >= {day:Date} AND received >= {since:Int64}",
            {"since": since, "apps": list(apps), "day": day},
        ),
    )
