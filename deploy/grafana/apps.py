"""The dashboard Apps side by side: which is ahead, whom they share, whom they reach, what for."""

from __future__ import annotations

from deploy.grafana.explain import explain
from deploy.grafana.model import Dashboard, Json, bars, grid, lines, override, series, table, unit, variable
from deploy.grafana.sql import DAYS, FACET, facet_variable, fill, zone
from streams.contract.catalogue import ACTIVE_USERS, OVERLAP_USERS

# Days are named alike in all zones; which one is today is told by a group's zone, which is the project's.
_ZONE = zone("SELECT argMax(time_zone, kind = 'group') FROM apps")

_RANK = f"""{_ZONE}
SELECT row_number() OVER (PARTITION BY kind ORDER BY monthly DESC, name) AS "Rank", name AS "App", kind AS "Kind", daily AS "DAU",
    weekly AS "WAU", monthly AS "MAU, 30 days", if(before = 0, NULL, monthly / before - 1) AS "Month on month",
    if(monthly = 0, NULL, daily / monthly) AS "Stickiness"
FROM (
    SELECT app, sumIf(value, window = 'day' AND day = today - 1) AS daily,
        sumIf(value, window = '7d' AND day = today - 1) AS weekly,
        sumIf(value, window = '30d' AND day = today - 1) AS monthly,
        sumIf(value, window = '30d' AND day = addMonths(today - 1, -1)) AS before
    FROM totals
    WHERE metric = 'active_users' AND {FACET} AND window IN ('day', '7d', '30d') AND day IN (today - 1, addMonths(today - 1, -1))
    GROUP BY app
) AS counted
INNER JOIN apps ON apps.id = counted.app
ORDER BY kind, "Rank" """

_DAILY = f"""{_ZONE}
SELECT start_at AS time, names.name AS name, value AS dau
FROM totals
INNER JOIN apps AS names ON names.id = totals.app
WHERE metric = 'active_users' AND {FACET} AND window = 'day' AND {DAYS} AND names.kind = '{{kind}}'
ORDER BY time, name"""

_MONTHLY = f"""{_ZONE}
SELECT toDateTime(day, zone) AS time, names.name AS name, value AS mau
FROM totals
INNER JOIN apps AS names ON names.id = totals.app
WHERE metric = 'active_users' AND {FACET} AND window = '30d' AND {DAYS} AND names.kind = '{{kind}}'
ORDER BY time, name"""

# An app's overlap with itself is all of it: the matrix has its diagonal.
_OVERLAP = f"""{_ZONE}
SELECT mine.name AS "App", theirs.name AS other, pair.rate AS share
FROM (
    SELECT overlap.app AS app, overlap.other AS other_app, rate
    FROM overlap
    WHERE month = toStartOfMonth(today)
    UNION ALL
    SELECT id AS app, id AS other_app, 1. AS rate
    FROM apps
    WHERE kind = 'app'
) AS pair
INNER JOIN apps AS mine ON mine.id = pair.app
INNER JOIN apps AS theirs ON theirs.id = pair.other_app
ORDER BY "App", other"""

_PAIRS = f"""{_ZONE}
SELECT mine.name AS "App", theirs.name AS "Other app", overlap_users AS "Persons in both"
FROM overlap
INNER JOIN apps AS mine ON mine.id = overlap.app
INNER JOIN apps AS theirs ON theirs.id = overlap.other
WHERE month = toStartOfMonth(today) AND overlap.app < overlap.other
ORDER BY "Persons in both" DESC"""

_PENETRATION = f"""{_ZONE}
SELECT name AS "App", penetration AS "Penetration"
FROM penetration
INNER JOIN apps ON apps.id = penetration.app
WHERE {FACET} AND window = '30d' AND day = today - 1
ORDER BY kind, "Penetration" DESC"""

_SHARES = f"""{_ZONE}
SELECT apps.name AS "App", item AS value, share
FROM facet_share
INNER JOIN apps ON apps.id = facet_share.app
WHERE facet_share.kind = {{dimension}} AND window = '30d' AND day = today - 1
ORDER BY "App", value"""


def _matrix(column: str) -> list[Json]:
    return [{"id": "groupingToMatrix", "options": {"rowField": "App", "columnField": column, "valueField": "share"}}]


def _dimension_variable() -> Json:
    return variable(
        "dimension",
        "Breakdown",
        "A segment, activities, or scenes",
        "SELECT DISTINCT splitByChar(':', facet)[1] AS dimension FROM active_users WHERE window = 'month' AND facet != '' "
        "ORDER BY dimension",
    )


def dashboard() -> Dashboard:
    """The dashboard."""
    whole = "As of the last whole day."
    heat = override(
        ".*", {"cellOptions": {"type": "color-background", "mode": "basic"}}, color={"mode": "continuous-blues"}, max=1, min=0
    )
    names = override("App.*", {"cellOptions": {"type": "auto"}})
    return Dashboard(
        "footfall-apps",
        "Footfall: apps side by side",
        "All apps and groups of the plan next to each other. Each has the days of its own zone.",
        [facet_variable(of_app=False), _dimension_variable()],
        [
            (
                "Rank",
                [
                    grid(
                        "Rank",
                        explain(
                            f"排名 by active users of thirty days, apps and groups each on their own; 环比 against the same "
                            f"day of the month before; 用户粘性 DAU / MAU. {whole}",
                            ACTIVE_USERS,
                        ),
                        table(_RANK),
                        "short",
                        size=(24, 8),
                        overrides=[unit("percentunit", "Month on month|Stickiness"), override("Rank", {"width": 60})],
                    ),
                    lines(
                        "DAU of apps",
                        explain("日活 of each app.", ACTIVE_USERS),
                        [series(fill(_DAILY, kind="app"))],
                        "short",
                        decimals=0,
                        label="name",
                    ),
                    lines(
                        "MAU of apps",
                        explain("月活, thirty days that end on each day, of each app.", ACTIVE_USERS),
                        [series(fill(_MONTHLY, kind="app"))],
                        "short",
                        decimals=0,
                        label="name",
                    ),
                ],
            ),
            (
                "Groups",
                [
                    lines(
                        "DAU of groups",
                        explain("去重日活: a person in two apps of a group counts once.", ACTIVE_USERS),
                        [series(fill(_DAILY, kind="group"))],
                        "short",
                        decimals=0,
                        label="name",
                    ),
                    lines(
                        "MAU of groups",
                        explain("去重月活, thirty days: a person in two apps of a group counts once.", ACTIVE_USERS),
                        [series(fill(_MONTHLY, kind="group"))],
                        "short",
                        decimals=0,
                        label="name",
                    ),
                    bars(
                        "Penetration",
                        explain(f"渗透率: active users of thirty days / the population in the plan. {whole}", ACTIVE_USERS),
                        table(_PENETRATION),
                        "App",
                        "percentunit",
                        decimals=1,
                        size=(24, 8),
                    ),
                ],
            ),
            (
                "Overlap",
                [
                    grid(
                        "Overlap matrix",
                        explain(
                            "重合率 this month so far: of the active users of a row's app, those active in the column's.",
                            OVERLAP_USERS,
                            ACTIVE_USERS,
                        ),
                        table(_OVERLAP),
                        "percentunit",
                        decimals=1,
                        overrides=[heat, names],
                        transformations=_matrix("other"),
                    ),
                    grid(
                        "Persons in both",
                        explain("重合用户数 this month so far, by pair.", OVERLAP_USERS),
                        table(_PAIRS),
                        "short",
                    ),
                ],
            ),
            (
                "Scenes and breakdowns",
                [
                    grid(
                        "Scenes",
                        explain(
                            f"场景渗透: of an app's active users of thirty days, those active in a scene. {whole}", ACTIVE_USERS
                        ),
                        table(fill(_SHARES, dimension="'scene'")),
                        "percentunit",
                        decimals=1,
                        overrides=[heat, names],
                        transformations=_matrix("value"),
                    ),
                    grid(
                        "Breakdown",
                        explain(
                            "Of an app's active users of thirty days, those with each value of the chosen breakdown. "
                            f"A person may have several. {whole}",
                            ACTIVE_USERS,
                        ),
                        table(fill(_SHARES, dimension="${dimension:sqlstring}")),
                        "percentunit",
                        decimals=1,
                        overrides=[heat, names],
                        transformations=_matrix("value"),
                    ),
                ],
            ),
        ],
    )
