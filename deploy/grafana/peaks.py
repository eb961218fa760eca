"""The dashboard Hourly peaks: when users come."""

from __future__ import annotations

from deploy.grafana.explain import explain
from deploy.grafana.model import Dashboard, grid, lines, override, promql, series, stat, table, trend, unit
from deploy.grafana.sql import APP, DAYS, FACET, ZONE, app_variable, facet_variable, fill
from sinks.contract import gauges
from streams.contract.catalogue import ACTIVE_USERS

_CURVE = f"""{ZONE},
    (SELECT max(hour) FROM hourly_active_users WHERE {APP} AND facet = '' AND day = today) AS latest
SELECT typical.hour AS hour, if(typical.hour > latest, NULL, seen.users) AS "Today",
    median_users AS "Typical", mean_users AS "Mean"
FROM (
    SELECT hour, median_users, mean_users
    FROM typical_hour_curve
    WHERE {APP} AND {FACET} AND day_class = if(toDayOfWeek(today) < 6, 'workday', 'weekend')
) AS typical
LEFT JOIN (
    SELECT hour, max(active_users) AS users
    FROM hourly_active_users
    WHERE {APP} AND {FACET} AND day = today
    GROUP BY hour
) AS seen ON seen.hour = typical.hour
ORDER BY hour"""

_WEEKDAYS = "['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday']"
_HEAT_COLUMNS = ",\n    ".join(f'avgOrNullIf(users, hour = {hour}) AS "{hour:02}"' for hour in range(24))
# A day has the hours that its clock shows: one that is left out is no quiet one, and one that comes twice is no double one.
_SHOWN = """arrayDistinct(arrayMap(at -> toHour(at), arrayFilter(at -> toDate(at) = day,
        arrayMap(n -> toDateTime(day, zone) + n * 3600, range(25)))))"""
_HEAT = f"""{ZONE}
SELECT {_WEEKDAYS}[toDayOfWeek(shown.day)] AS "Weekday",
    {_HEAT_COLUMNS}
FROM (
    SELECT day, hour
    FROM dau
    ARRAY JOIN {_SHOWN} AS hour
    WHERE {APP} AND facet = '' AND {DAYS} AND day < today
) AS shown
LEFT JOIN (
    SELECT day, hour, max(active_users) AS users
    FROM hourly_active_users
    WHERE {APP} AND {FACET} AND {DAYS}
    GROUP BY day, hour
) AS seen ON seen.day = shown.day AND seen.hour = shown.hour
GROUP BY toDayOfWeek(shown.day)
ORDER BY toDayOfWeek(shown.day)"""

_PEAKS = f"""{ZONE}
SELECT toDateTime(day, zone) AS time, peak_users AS "Peak"
FROM hourly_peak
WHERE {APP} AND {FACET} AND {DAYS}
ORDER BY time"""

_PEAK_HOURS = f"""{ZONE}
SELECT toDateTime(day, zone) AS time, peak_hour AS "Peak hour"
FROM hourly_peak
WHERE {APP} AND {FACET} AND {DAYS}
ORDER BY time"""

_PEAK_TABLE = f"""{ZONE}
SELECT toString(day) AS "Day", {_WEEKDAYS}[toDayOfWeek(day)] AS "Weekday", peak_hour AS "Peak hour", peak_users AS "Users in it",
    day_users AS "DAU", peak_share AS "Share of DAU"
FROM hourly_peak
WHERE {APP} AND {FACET} AND {DAYS}
ORDER BY day DESC"""

_ALL_HOURS = f"""{ZONE}
SELECT start_at AS time, active_users AS "Active users"
FROM hourly_active_users
WHERE {APP} AND {FACET} AND {DAYS}
ORDER BY time"""

_TODAY = f"{ZONE}\nSELECT {{column}} FROM hourly_peak WHERE {APP} AND {FACET} AND day = today"
_RECORD = f"{ZONE}\nSELECT {{column}} FROM hourly_peak WHERE {APP} AND {FACET} AND {DAYS} ORDER BY peak_users DESC, day LIMIT 1"


def dashboard() -> Dashboard:
    """The dashboard."""
    clock = "Clock hours of the app's zone."
    twice = "An hour that the clock shows twice, as it goes back, is the fuller of the two."
    tops = [
        stat(
            "Peak so far today",
            explain("小时峰值: users of today's hour with most of them.", ACTIVE_USERS),
            table(fill(_TODAY, column="peak_users")),
            "short",
        ),
        stat(
            "Peak hour today",
            explain(f"高峰时段: the hour with most active users, the first of equals. {clock}", ACTIVE_USERS),
            table(fill(_TODAY, column="peak_hour")),
            "suffix:h",
        ),
        stat(
            "Share of the day",
            explain("Users of today's peak hour / DAU so far.", ACTIVE_USERS),
            table(fill(_TODAY, column="peak_share")),
            "percentunit",
            1,
        ),
        stat(
            "Highest peak",
            explain("The highest hourly peak in the time range.", ACTIVE_USERS),
            table(fill(_RECORD, column="peak_users")),
            "short",
        ),
        stat(
            "Its day",
            explain("The day of the highest hourly peak in the time range.", ACTIVE_USERS),
            table(fill(_RECORD, column="toString(day)")),
            "string",
        ),
        stat(
            "Its hour",
            explain(f"The hour of the highest hourly peak in the time range. {clock}", ACTIVE_USERS),
            table(fill(_RECORD, column="peak_hour")),
            "suffix:h",
        ),
    ]
    live = lines(
        "Today's peak, live",
        explain(
            "Any activity, straight from the stream, beside the capacity that the plan gives the app (if it does).",
            families=(gauges.PEAK_HOUR_USERS, gauges.PEAK_CAPACITY),
        ),
        [
            promql('max(footfall_peak_hour_users{app="$app"})', "peak so far today"),
            promql('max(footfall_peak_capacity{app="$app"})', "capacity"),
        ],
        "short",
        decimals=0,
        size=(24, 6),
    )
    return Dashboard(
        "footfall-peaks",
        "Footfall: hourly peaks",
        "When users come: today against the usual, hours of the week, the peak of each day. Hours are the app's local ones.",
        [app_variable(), facet_variable()],
        [
            ("Peak", [*tops, live]),
            (
                "Hours",
                [
                    trend(
                        "Today against the typical curve",
                        explain(
                            "分时活跃: active users of each clock hour today; median and mean of the workdays (or weekends, as "
                            f"today is) of the four weeks before. The last hour of today goes on. {twice}",
                            ACTIVE_USERS,
                        ),
                        table(_CURVE),
                        "hour",
                        "short",
                    ),
                    lines(
                        "Active users of each hour",
                        explain("分时活跃 over the whole time range.", ACTIVE_USERS),
                        [series(_ALL_HOURS)],
                        "short",
                        decimals=0,
                    ),
                    grid(
                        "Hour by weekday",
                        explain(
                            "Heat map: mean active users of an hour, by weekday, over the whole days in the time range on which "
                            f"anybody came. {clock} {twice}",
                            ACTIVE_USERS,
                        ),
                        table(_HEAT),
                        "short",
                        size=(24, 9),
                        heat="\\d\\d",
                    ),
                ],
            ),
            (
                "Days",
                [
                    lines(
                        "Peak of each day",
                        explain("小时峰值: users of the hour with most of them.", ACTIVE_USERS),
                        [series(_PEAKS)],
                        "short",
                        decimals=0,
                        style="bars",
                    ),
                    lines(
                        "Peak hour of each day",
                        explain(f"高峰时段: the hour with most active users, the first of equals. {clock}", ACTIVE_USERS),
                        [series(_PEAK_HOURS)],
                        "suffix:h",
                        decimals=0,
                        style="points",
                    ),
                    grid(
                        "Peaks",
                        explain("小时峰值 and its share: users of the peak hour / DAU.", ACTIVE_USERS),
                        table(_PEAK_TABLE),
                        "short",
                        size=(24, 9),
                        overrides=[
                            unit("percentunit", "Share of DAU"),
                            override("Peak hour", unit="suffix:h", decimals=0),
                        ],
                    ),
                ],
            ),
        ],
    )
