"""The dashboard Retention and lifecycle: who is new, who comes back, who is lost."""

from __future__ import annotations

from deploy.grafana.explain import explain
from deploy.grafana.model import Dashboard, grid, lines, series, stat, table, trend, unit
from deploy.grafana.sql import APP, DAYS, MIDNIGHT, ZONE, app_variable, fill
from streams.contract.catalogue import (
    ACTIVE_USERS,
    DORMANT_USERS,
    NEW_USERS,
    RESURRECTED_USERS,
    RETAINED_USERS,
    RETURNING_USERS,
)

_LIFE = f"FROM lifecycle\nWHERE {APP} AND {DAYS}"

_COMPOSITION = f"""{ZONE}
SELECT {MIDNIGHT}, new_users AS "New", returning_users AS "Returning", resurrected_users AS "Resurrected",
    -dormant_users AS "Dormant"
{_LIFE}
ORDER BY time"""

_NET = f"""{ZONE}
SELECT {MIDNIGHT}, new_users + resurrected_users AS "Gained", dormant_users AS "Lost", "Gained" - "Lost" AS "Net"
{_LIFE} AND day < today
ORDER BY time"""

_COUNT = f"{ZONE}\nSELECT sum({{metric}}) AS users\n{_LIFE}"

# A day after the first that goes on yet is left out, as its number still grows.
_COHORTS = f"""FROM retention
WHERE {APP} AND cohort BETWEEN toDate($__fromTime, zone) AND today AND day < today AND cohort_users > 0"""

_TRIANGLE_COLUMNS = ",\n    ".join(f'anyIf(toNullable(rate), n = {age}) AS "{age}"' for age in range(1, 31))
_TRIANGLE = f"""{ZONE}
SELECT toString(cohort) AS "First day", any(cohort_users) AS "New",
    {_TRIANGLE_COLUMNS}
{_COHORTS}
GROUP BY cohort
ORDER BY cohort DESC"""

_CURVE = f"""{ZONE}
SELECT n AS days, sum(retained_users) / sum(cohort_users) AS "Retention"
{_COHORTS}
GROUP BY n
ORDER BY n"""

_BY_COHORT = f"""{ZONE}
SELECT toDateTime(cohort, zone) AS time, anyIf(toNullable(rate), n = 1) AS "D1", anyIf(toNullable(rate), n = 7) AS "D7",
    anyIf(toNullable(rate), n = 30) AS "D30"
{_COHORTS}
GROUP BY cohort
ORDER BY time"""


def dashboard() -> Dashboard:
    """The dashboard."""
    summed = "Summed over the days of the time range."
    return Dashboard(
        "footfall-retention",
        "Footfall: retention and lifecycle",
        "Who is new, who comes back, who is lost, and how many of each day's new users are still there days later.",
        [app_variable()],
        [
            (
                "Lifecycle",
                [
                    stat("New", explain(summed, NEW_USERS), table(fill(_COUNT, metric="new_users")), "short"),
                    stat(
                        "Returning",
                        explain(f"A person is counted on each such day. {summed}", RETURNING_USERS),
                        table(fill(_COUNT, metric="returning_users")),
                        "short",
                    ),
                    stat(
                        "Resurrected",
                        explain(summed, RESURRECTED_USERS),
                        table(fill(_COUNT, metric="resurrected_users")),
                        "short",
                    ),
                    stat("Became dormant", explain(summed, DORMANT_USERS), table(fill(_COUNT, metric="dormant_users")), "short"),
                    lines(
                        "Users of each day by lifecycle",
                        explain(
                            "生命周期: new + returning + resurrected = DAU; below zero those who became dormant.",
                            NEW_USERS,
                            RETURNING_USERS,
                            RESURRECTED_USERS,
                            DORMANT_USERS,
                            ACTIVE_USERS,
                        ),
                        [series(_COMPOSITION)],
                        "short",
                        decimals=0,
                        style="bars",
                        stacked=True,
                        size=(24, 9),
                        from_zero=False,
                    ),
                    lines(
                        "Gained and lost",
                        explain(
                            "净增: gained (new and resurrected) less lost (dormant), of whole days.",
                            NEW_USERS,
                            RESURRECTED_USERS,
                            DORMANT_USERS,
                        ),
                        [series(_NET)],
                        "short",
                        decimals=0,
                        size=(24, 8),
                        from_zero=False,
                    ),
                ],
            ),
            (
                "Retention",
                [
                    trend(
                        "Retention curve",
                        explain(
                            "留存率: of the new users of the days in the time range, those active again so many days after their "
                            "first day. Only cohorts whose day has passed count for it.",
                            RETAINED_USERS,
                            NEW_USERS,
                        ),
                        table(_CURVE),
                        "days",
                        "percentunit",
                        decimals=1,
                    ),
                    lines(
                        "D1, D7 and D30 by first day",
                        explain(
                            "次日, 7 日, 30 日留存率 by first day; a day that has not passed yet has none.",
                            RETAINED_USERS,
                            NEW_USERS,
                        ),
                        [series(_BY_COHORT)],
                        "percentunit",
                        decimals=1,
                        style="points",
                    ),
                    grid(
                        "Retention triangle",
                        explain("留存率 by first day (rows) and days after it (columns).", RETAINED_USERS, NEW_USERS),
                        table(_TRIANGLE),
                        "percentunit",
                        decimals=0,
                        size=(24, 14),
                        heat="\\d+",
                        overrides=[unit("short", "New")],
                    ),
                ],
            ),
        ],
        since="now-60d",
    )
