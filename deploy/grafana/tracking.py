"""The row Tracking plan of the dashboard Tracking quality: what is not as the plan says, and since which app version."""

from __future__ import annotations

from deploy.grafana.explain import explain
from deploy.grafana.model import Panel, grid, lines, override, promql, series, table, unit
from deploy.grafana.sql import DAYS, MIDNIGHT, ZONE

_APP = "app = ${app:sqlstring}"

_BY_VERSION = f"""{ZONE}
SELECT {MIDNIGHT}, concat(event, ' ', if(version = '', '(none)', version)) AS point, sum(events) AS violations
FROM plan_violations
WHERE {_APP} AND {DAYS}
GROUP BY day, point
ORDER BY time, point
LIMIT 5000"""

_BROKEN = f"""SELECT event AS "Event", rule AS "Rule", property AS "Property",
    if(since_version = '', '(none)', since_version) AS "Since version", share_before AS "Before", share_after AS "Since then",
    events_since AS "Events", toString(first_day) AS "First day", toString(last_day) AS "Last day"
FROM broken_tracking_points
WHERE {_APP}
ORDER BY "Since then" - ifNull("Before", 0) DESC
LIMIT 200"""


def tracking_plan() -> tuple[str, list[Panel]]:
    """The row of the tracking plan."""
    weeks = "Of events received in the last five weeks."
    return (
        "Tracking plan",
        [
            lines(
                "Violations by event and version",
                explain(
                    f"埋点违规: events of a day that are not as the plan's schemas say, each violation by itself. {weeks} View "
                    "`plan_violations`. What an app rejects is among the rejected lines, reason plan."
                ),
                [series(_BY_VERSION)],
                "short",
                decimals=0,
                style="bars",
                stacked=True,
                label="point",
            ),
            lines(
                "Violations, live",
                explain(
                    "Straight from the collector, all apps. `footfall_collector_plan_violations_total`: violations of events "
                    "kept or rejected; what the plan does not name is other."
                ),
                [
                    promql(
                        "sum by (app, event, rule) (rate(footfall_collector_plan_violations_total[$__rate_interval]))",
                        "{{app}}: {{event}}, {{rule}}",
                    )
                ],
                "cps",
                decimals=2,
            ),
            grid(
                "Tracking points that broke",
                explain(
                    "The app version since which a violation is there: the one at which its share of the events of that name "
                    f"grows the most. Before is empty where no earlier version was seen. {weeks} View `broken_tracking_points`."
                ),
                table(_BROKEN),
                "short",
                size=(24, 8),
                overrides=[unit("percentunit", "Before|Since then"), override("First day|Last day", unit="string")],
            ),
        ],
    )
