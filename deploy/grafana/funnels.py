"""The dashboard Funnels: how far users come, and how long it takes them."""

from __future__ import annotations

from deploy.grafana.explain import explain
from deploy.grafana.model import Dashboard, Json, bars, grid, lines, promql, series, stat, table, unit, variable
from deploy.grafana.sql import DAYS, MIDNIGHT, fill, zone
from sinks.contract import gauges
from streams.contract.catalogue import FUNNEL_CONVERSIONS, FUNNEL_USERS

# A funnel is of one app or group: its name says which, and so in which zone its days are.
_FUNNEL = "funnel = ${funnel:sqlstring}"
_WITH = zone("SELECT any(time_zone) FROM apps WHERE id IN (SELECT app FROM {view} " + f"WHERE {_FUNNEL})")
_ZONE = fill(_WITH, view="funnel")
_ALL = f"FROM funnel\nWHERE {_FUNNEL} AND breakdown = '' AND {DAYS}"
_LAST_STEP = f"(SELECT max(step) FROM funnel WHERE {_FUNNEL})"

_STEPS = f"""{_ZONE}
SELECT concat('Step ', toString(step)) AS "Step", sum(users) AS "Persons",
    if(sum(entered_users) = 0, NULL, "Persons" / sum(entered_users)) AS "Of the first",
    if(step = 1 OR sum(previous_users) = 0, NULL, "Persons" / sum(previous_users)) AS "Of the one before",
    if(step = 1, NULL, sum(drop_off)) AS "Lost before it"
{_ALL}
GROUP BY step
ORDER BY step"""

_BARS = f"""{_ZONE}
SELECT concat('Step ', toString(step)) AS "Step", sum(users) AS "Persons"
{_ALL}
GROUP BY step
ORDER BY step"""

_BY_DAY = f"""{_ZONE}
SELECT {MIDNIGHT}, concat('Step ', toString(step)) AS step_name, users
{_ALL}
ORDER BY time, step"""

_CONVERSION = f"""{_ZONE}
SELECT {MIDNIGHT}, conversion AS "Conversion"
{_ALL} AND step = {_LAST_STEP} AND entered_users > 0
ORDER BY time"""

_WHOLE = f"{_ZONE}\nSELECT {{what}}\n{_ALL} AND step = {_LAST_STEP}"

_BROKEN_DOWN = f"""{_ZONE}
SELECT breakdown AS "Value", sum(entered_users) AS "Entered", sum(users) AS "Completed",
    if("Entered" = 0, NULL, "Completed" / "Entered") AS "Conversion"
FROM funnel
WHERE {_FUNNEL} AND breakdown != '' AND {DAYS} AND step = {_LAST_STEP}
GROUP BY "Value"
ORDER BY "Entered" DESC"""

_TIME_BY_DAY = f"""{fill(_WITH, view="funnel_time")}
SELECT {MIDNIGHT}, median_seconds AS "Median", p90_seconds AS "p90"
FROM funnel_time
WHERE {_FUNNEL} AND {DAYS}
ORDER BY time"""

_TIME_SPREAD = f"""{fill(_WITH, view="funnel_time")},
    [0, 15, 30, 60, 120, 300, 600, 1800, 3600, 21600, 86400] AS bounds,
    ['0 s', '15 s', '30 s', '1 min', '2 min', '5 min', '10 min', '30 min', '1 h', '6 h', '1 day'] AS names
SELECT concat('from ', names[place]) AS "Time to convert", sum(value) AS "Persons"
FROM (
    SELECT arrayLastIndex(bound -> bound <= toUInt32OrZero(splitByChar(':', facet)[2]), bounds) AS place, value
    FROM totals
    WHERE metric = 'funnel_conversions' AND window = 'day' AND splitByChar(':', facet)[1] = ${{funnel:sqlstring}} AND {DAYS}
)
GROUP BY place
ORDER BY place"""


def funnel_variable() -> Json:
    """A funnel that has numbers."""
    return variable(
        "funnel",
        "Funnel",
        "A funnel of the plan",
        "SELECT DISTINCT funnel FROM funnel ORDER BY funnel",
    )


def dashboard() -> Dashboard:
    """The dashboard."""
    days = "Summed over the entry days in the time range: a person who begins on two days is two."
    return Dashboard(
        "footfall-funnels",
        "Footfall: funnels",
        "How far users come in a funnel of the plan, by the local day on which they begin, and how long it takes them.",
        [funnel_variable()],
        [
            (
                "Whole range",
                [
                    stat(
                        "Entered",
                        explain(f"进入人数: persons of step 1. {days}", FUNNEL_USERS),
                        table(fill(_WHOLE, what="sum(entered_users) AS entered")),
                        "short",
                    ),
                    stat(
                        "Completed",
                        explain(f"完成人数: persons of the last step. {days}", FUNNEL_USERS),
                        table(fill(_WHOLE, what="sum(users) AS completed")),
                        "short",
                    ),
                    stat(
                        "Conversion",
                        explain(f"转化率: persons of the last step / of the first. {days}", FUNNEL_USERS),
                        table(fill(_WHOLE, what="if(sum(entered_users) = 0, NULL, sum(users) / sum(entered_users)) AS rate")),
                        "percentunit",
                        1,
                    ),
                ],
            ),
            (
                "Steps",
                [
                    bars(
                        "Persons by step",
                        explain(f"漏斗: persons that reach each step. {days}", FUNNEL_USERS),
                        table(_BARS),
                        "Step",
                        "short",
                        horizontal=True,
                    ),
                    grid(
                        "Steps",
                        explain(f"转化率: of those of the first step, and of the step before. {days}", FUNNEL_USERS),
                        table(_STEPS),
                        "short",
                        overrides=[unit("percentunit", "Of the .*")],
                    ),
                    lines(
                        "Persons by step and entry day",
                        explain("By the local day of the first step.", FUNNEL_USERS),
                        [series(_BY_DAY)],
                        "short",
                        decimals=0,
                        label="step_name",
                    ),
                    lines(
                        "Conversion by entry day",
                        explain("转化率: persons of the last step / of the first. Recent days may still convert.", FUNNEL_USERS),
                        [series(_CONVERSION)],
                        "percentunit",
                        decimals=1,
                    ),
                    lines(
                        "Today by step, live",
                        explain("漏斗, straight from the stream: those who began today.", families=(gauges.FUNNEL_USERS,)),
                        [
                            promql(
                                'max by (step, event) (footfall_funnel_users{funnel="$funnel"})',
                                "{{step}} {{event}}",
                            )
                        ],
                        "short",
                        decimals=0,
                    ),
                    grid(
                        "Broken down",
                        explain(
                            f"By the facet of the first step's event, for funnels with `by` in the plan. {days}", FUNNEL_USERS
                        ),
                        table(_BROKEN_DOWN),
                        "short",
                        overrides=[unit("percentunit", "Conversion")],
                    ),
                ],
            ),
            (
                "Time to convert",
                [
                    lines(
                        "Time to convert by entry day",
                        explain("转化时长: median and p90 of those who complete it.", FUNNEL_CONVERSIONS),
                        [series(_TIME_BY_DAY)],
                        "s",
                        decimals=0,
                    ),
                    bars(
                        "Time to convert",
                        explain(
                            "转化时长: persons by how long it took them. Each bar goes up to where the next one begins.",
                            FUNNEL_CONVERSIONS,
                        ),
                        table(_TIME_SPREAD),
                        "Time to convert",
                        "short",
                    ),
                ],
            ),
        ],
    )
