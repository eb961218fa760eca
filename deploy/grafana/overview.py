"""The dashboard Overview: how many there are, how often they come, how long they stay."""

from __future__ import annotations

from deploy.grafana.explain import explain
from deploy.grafana.model import AMBER, GREEN, RED, Dashboard, bars, grid, lines, promql, series, stat, table, unit
from deploy.grafana.sql import APP, DAYS, FACET, MIDNIGHT, ZONE, app_variable, facet_variable, fill
from sinks.contract import gauges
from streams.contract.catalogue import ACTIVE_USERS, LAUNCHES, SESSIONS, USAGE_MS

_NOW = f"SELECT active_{{window}} FROM active_now WHERE {APP} AND {FACET}"
#: Of today, 0 as long as nobody has come; of windows of days, the last one that is told.
_TODAY = f"{ZONE}\nSELECT max({{column}}) FROM {{view}} WHERE {APP} AND {FACET} AND day = today"
_LATEST = f"""{ZONE}
SELECT {{column}}
FROM {{view}}
WHERE {APP} AND {FACET} AND day BETWEEN today - 1 AND today
ORDER BY day DESC
LIMIT 1"""

_COMPARED = f"""SELECT "Number", toString(ends) AS "Day", "Users", "A month before", "Month on month",
    "A year before", "Year on year"
FROM (
{ZONE}
SELECT window,
    multiIf(window = 'day', 'DAU', window = '7d', 'WAU', window = '30d', 'MAU, 30 days', 'MAU, calendar month') AS "Number",
    if(window = 'month', addMonths(toStartOfMonth(today), -1), today - 1) AS ends,
    sumIf(value, day = ends) AS "Users",
    sumIf(value, day = addMonths(ends, -1)) AS "A month before",
    if("A month before" = 0, NULL, "Users" / "A month before" - 1) AS "Month on month",
    sumIf(value, day = addYears(ends, -1)) AS "A year before",
    if("A year before" = 0, NULL, "Users" / "A year before" - 1) AS "Year on year"
FROM totals
WHERE metric = 'active_users' AND {APP} AND {FACET} AND window IN ('day', '7d', '30d', 'month')
GROUP BY window
)
ORDER BY indexOf(['day', '7d', '30d', 'month'], window)"""

_MAU = f"""SELECT formatDateTime(month, '%Y-%m') AS "Month", mau AS "MAU"
FROM mau
WHERE {APP} AND {FACET}
ORDER BY month"""

_MONTHS = f"""{ZONE}
SELECT formatDateTime(before.month, '%Y-%m') AS "Month", before.value AS "MAU", before.change AS "Month on month",
    year.change AS "Year on year"
FROM (SELECT month, value, change FROM month_on_month WHERE metric = 'active_users' AND {APP} AND {FACET}) AS before
INNER JOIN (SELECT month, change FROM year_on_year WHERE metric = 'active_users' AND {APP} AND {FACET}) AS year
    ON year.month = before.month
WHERE before.month <= today
ORDER BY "Month" DESC"""

_ACTIVE_LINES = f"""{ZONE}
SELECT {MIDNIGHT}, sumIf(value, window = 'day') AS "DAU", sumIf(value, window = '7d') AS "WAU",
    sumIf(value, window = '30d') AS "MAU, 30 days"
FROM totals
WHERE metric = 'active_users' AND window IN ('day', '7d', '30d') AND {APP} AND {FACET} AND {DAYS}
GROUP BY day
ORDER BY time"""

_STICKINESS = f"""{ZONE}
SELECT {MIDNIGHT}, stickiness AS "DAU / MAU, calendar month", stickiness_30d AS "DAU / MAU, 30 days"
FROM stickiness
WHERE {APP} AND {FACET} AND {DAYS} AND dau > 0
ORDER BY time"""

# Groups have no launches, usage time or sessions: nothing is shown, rather than 0.
_NO_GROUP = "app IN (SELECT id FROM apps WHERE kind = 'app')"

_LAUNCHES = f"""{ZONE}
SELECT {MIDNIGHT}, launches_per_user AS "Launches per user"
FROM launches_per_user
WHERE {APP} AND {DAYS} AND {_NO_GROUP}
ORDER BY time"""

_MINUTES = f"""{ZONE}
SELECT {MIDNIGHT}, minutes_per_user AS "Minutes per user"
FROM usage_per_user
WHERE {APP} AND {DAYS} AND {_NO_GROUP}
ORDER BY time"""

_SESSIONS = f"""{ZONE}
SELECT {MIDNIGHT}, sessions_per_user AS "Sessions per user", minutes_per_session AS "Minutes per session"
FROM sessions_per_user
WHERE {APP} AND {DAYS} AND {_NO_GROUP}
ORDER BY time"""

_OF_APPS = "Groups have none: of a person in two apps, it is told of each app alone."


def dashboard() -> Dashboard:
    """The dashboard."""
    now = [
        stat("Active now", explain("Now, 5 minutes.", ACTIVE_USERS), table(fill(_NOW, window="5m")), "short"),
        stat("Active, last half hour", explain("Now, 30 minutes.", ACTIVE_USERS), table(fill(_NOW, window="30m")), "short"),
        stat(
            "DAU so far",
            explain("日活 DAU: active users of the day that the time range ends on, up to now.", ACTIVE_USERS),
            table(fill(_TODAY, column="dau", view="dau")),
            "short",
        ),
        stat(
            "WAU",
            explain("周活 WAU: active users of the seven days that end on that day.", ACTIVE_USERS),
            table(fill(_LATEST, column="wau", view="wau")),
            "short",
        ),
        stat(
            "MAU, 30 days",
            explain("月活 MAU, trailing: active users of the thirty days that end on that day.", ACTIVE_USERS),
            table(fill(_LATEST, column="mau_30d", view="mau_30d")),
            "short",
        ),
        stat(
            "Stickiness",
            explain("用户粘性: DAU so far / active users of the thirty days that end on that day.", ACTIVE_USERS),
            table(fill(_TODAY, column="stickiness_30d", view="stickiness")),
            "percentunit",
            1,
            ((None, RED), (0.1, AMBER), (0.2, GREEN)),
        ),
    ]
    live = lines(
        "Active now, live",
        explain("Any activity, straight from the stream: it goes on while ClickHouse is away.", families=(gauges.ACTIVE_USERS,)),
        [
            promql('max(footfall_active_users{app="$app", facet="", window="5m"})', "5 minutes"),
            promql('max(footfall_active_users{app="$app", facet="", window="30m"})', "30 minutes"),
        ],
        "short",
        decimals=0,
    )
    compared = grid(
        "Compared with a month and a year before",
        explain(
            "环比 month on month, 同比 year on year. DAU, WAU and 30 days: of the last whole day against the same day of "
            "the month before and the year before; calendar month: of the last whole month.",
            ACTIVE_USERS,
        ),
        table(_COMPARED),
        "short",
        overrides=[unit("percentunit", ".* on .*")],
    )
    percent = [unit("percentunit", ".* on .*")]
    return Dashboard(
        "footfall-overview",
        "Footfall: overview",
        "How many users an app or a group has, how often they come and how long they stay. Days are the app's local ones.",
        [app_variable(), facet_variable()],
        [
            ("Now", [*now, live, compared]),
            (
                "Active users",
                [
                    lines(
                        "DAU, WAU, MAU",
                        explain("Each day, and the seven and thirty days that end on it. The last day goes on.", ACTIVE_USERS),
                        [series(_ACTIVE_LINES)],
                        "short",
                        decimals=0,
                    ),
                    lines(
                        "Stickiness",
                        explain("用户粘性: DAU / MAU, of the calendar month and of the thirty days up to the day.", ACTIVE_USERS),
                        [series(_STICKINESS)],
                        "percentunit",
                        decimals=1,
                    ),
                    bars(
                        "MAU by calendar month",
                        explain(
                            "月活: calendar months of the app's zone, all that are stored. The last one goes on.", ACTIVE_USERS
                        ),
                        table(_MAU),
                        "Month",
                        "short",
                    ),
                    grid(
                        "Months compared",
                        explain("环比 month on month and 同比 year on year of MAU; the last month goes on.", ACTIVE_USERS),
                        table(_MONTHS),
                        "short",
                        overrides=percent,
                    ),
                ],
            ),
            (
                "Per active user",
                [
                    lines(
                        "Launches per user",
                        explain(f"人均启动次数: launches / DAU. {_OF_APPS}", LAUNCHES, ACTIVE_USERS),
                        [series(_LAUNCHES)],
                        "short",
                        decimals=2,
                        size=(8, 8),
                    ),
                    lines(
                        "Minutes per user",
                        explain(f"人均使用时长: usage time in minutes / DAU. {_OF_APPS}", USAGE_MS, ACTIVE_USERS),
                        [series(_MINUTES)],
                        "m",
                        decimals=2,
                        size=(8, 8),
                    ),
                    lines(
                        "Sessions",
                        explain(
                            f"人均会话数, 次均使用时长: sessions / DAU, and usage time / sessions. {_OF_APPS}",
                            SESSIONS,
                            USAGE_MS,
                            ACTIVE_USERS,
                        ),
                        [series(_SESSIONS)],
                        "short",
                        decimals=2,
                        size=(8, 8),
                        overrides=[unit("m", "Minutes per session")],
                    ),
                ],
            ),
        ],
    )
