"""The dashboard Tracking quality: what was not accepted, what came late, whose clocks are wrong."""

from __future__ import annotations

from deploy.grafana.explain import explain
from deploy.grafana.model import AMBER, GREEN, RED, Dashboard, grid, lines, override, promql, series, stat, table, unit
from deploy.grafana.sql import DAYS, RECEIVED, REJECTED, ZONE, app_variable
from deploy.grafana.tracking import tracking_plan
from sinks.contract import gauges

_APP = "app = ${app:sqlstring}"
# What could not be read has no app: it is shown whichever app is chosen.
_REJECTED_APP = "app IN (${app:sqlstring}, '')"

_REASONS = f"""SELECT toStartOfHour(rejected_at) AS time, reason, count() AS lines
FROM rejected FINAL
WHERE {REJECTED} AND {_REJECTED_APP}
GROUP BY time, reason
ORDER BY time, reason"""

_SAMPLES = f"""SELECT stage AS "Stage", reason AS "Reason", count() AS "Lines", max(rejected_at) AS "Last",
    argMax(detail, rejected.at) AS "Last one"
FROM rejected FINAL
WHERE {REJECTED} AND {_REJECTED_APP}
GROUP BY stage, reason
ORDER BY "Lines" DESC"""

_SHARE = f"""SELECT refused / (refused + taken) AS share
FROM (SELECT count() AS refused FROM rejected FINAL WHERE {REJECTED} AND {_REJECTED_APP}) AS bad
CROSS JOIN (SELECT count() AS taken FROM events WHERE {RECEIVED} AND {_APP}) AS good
WHERE refused + taken > 0"""

_EVENTS = f"SELECT count() AS events_taken FROM events WHERE {RECEIVED} AND {_APP}"
_LINES = f"SELECT count() AS lines_rejected FROM rejected FINAL WHERE {REJECTED} AND {_REJECTED_APP}"

_DELAY = f"""SELECT toStartOfHour(received_at) AS time, quantile(0.5)((received - events.time) / 1000) AS "Median",
    quantile(0.95)((received - events.time) / 1000) AS "p95", quantile(0.99)((received - events.time) / 1000) AS "p99"
FROM events
WHERE {RECEIVED} AND {_APP}
GROUP BY toStartOfHour(received_at) AS time
ORDER BY time"""

_LATE = f"""WITH (received - events.time) / 1000 AS delay,
    [0, 60, 3600, 21600, 86400, 172800, 604800] AS bounds,
    ['under a minute', 'a minute to an hour', 'an hour to six', 'six hours to a day', 'a day to two', 'two days to a week',
        'a week or more'] AS names
SELECT names[arrayLastIndex(bound -> bound <= greatest(delay, 0), bounds)] AS "Received after", count() AS "Events",
    "Events" / sum("Events") OVER () AS "Share"
FROM events
WHERE {RECEIVED} AND {_APP}
GROUP BY "Received after"
ORDER BY min(delay)"""

_SKEW = f"""SELECT toStartOfHour(received_at) AS time, quantile(0.05)((received - device_time) / 1000) AS "p5",
    quantile(0.5)((received - device_time) / 1000) AS "Median", quantile(0.95)((received - device_time) / 1000) AS "p95"
FROM events
WHERE {RECEIVED} AND {_APP} AND device_time > 0
GROUP BY toStartOfHour(received_at) AS time
ORDER BY time"""

_SKEWED = f"""WITH (received - device_time) / 1000 AS skew
SELECT if(platform = '', '(none)', platform) AS "Platform", if(version = '', '(none)', version) AS "Version",
    if(lib = '', protocol, trimRight(concat(lib, ' ', lib_version))) AS "SDK", count() AS "Events",
    countIf(skew < -60) / "Events" AS "Ahead",
    countIf(skew > 3600) / "Events" AS "Over an hour behind", quantile(0.5)(skew) AS "Median skew"
FROM events
WHERE {RECEIVED} AND {_APP} AND device_time > 0
GROUP BY "Platform", "Version", "SDK"
ORDER BY "Events" DESC
LIMIT 100"""

_NAMES = f"""SELECT event AS "Event", count() AS "Events", uniq(person) AS "Persons", max(received_at) AS "Last received",
    countIf(received - events.time > 3600000) / "Events" AS "Over an hour late"
FROM events
WHERE {RECEIVED} AND {_APP}
GROUP BY event
ORDER BY "Events" DESC
LIMIT 200"""

_VIOLATIONS = f"""SELECT countIf(notEmpty(violations)) / count() AS share
FROM events WHERE {RECEIVED} AND {_APP} AND type IN ('track', 'page', 'screen') HAVING count() > 0"""

_LATE_BY_VERSION = f"""{ZONE}
SELECT if(version = '', '(none)', version) AS "Version", sum(events) AS "Events", sum(over_an_hour) / "Events" AS "Over an hour",
    sum(over_a_day) / "Events" AS "Over a day", sum(over_a_week) / "Events" AS "Over a week"
FROM event_delay
WHERE {_APP} AND {DAYS}
GROUP BY version
ORDER BY "Events" DESC
LIMIT 100"""


def dashboard() -> Dashboard:
    """The dashboard."""
    received = "Of raw events received in the time range; copies that are not merged yet count twice."
    return Dashboard(
        "footfall-quality",
        "Footfall: tracking quality",
        "What could not be accepted and why, what came late, and how far devices' clocks are off. By time of receipt.",
        [app_variable(groups=False)],
        [
            (
                "At a glance",
                [
                    stat("Events taken", explain(f"接收事件数. {received}"), table(_EVENTS), "short"),
                    stat(
                        "Lines rejected",
                        explain("拒绝数: lines in the table rejected, of the app or of none that could be told."),
                        table(_LINES),
                        "short",
                        0,
                        ((None, GREEN), (1, AMBER)),
                    ),
                    stat(
                        "Rejected",
                        explain("拒绝率: rejected / (rejected + taken)."),
                        table(_SHARE),
                        "percentunit",
                        2,
                        ((None, GREEN), (0.001, AMBER), (0.01, RED)),
                    ),
                    stat(
                        "Against the plan",
                        explain(f"埋点违规率: events kept although they are not as the tracking plan says, of all. {received}"),
                        table(_VIOLATIONS),
                        "percentunit",
                        2,
                        ((None, GREEN), (0.001, AMBER), (0.05, RED)),
                    ),
                ],
            ),
            tracking_plan(),
            (
                "Rejected",
                [
                    lines(
                        "Rejected by reason",
                        explain(
                            "Lines that could not be accepted, an hour each: kept verbatim in the table rejected, for 30 days."
                        ),
                        [series(_REASONS)],
                        "short",
                        decimals=0,
                        style="bars",
                        stacked=True,
                        label="reason",
                    ),
                    lines(
                        "Rejected, live",
                        explain(
                            "Straight from collector and worker, all apps. `footfall_collector_rejected_total`: events and "
                            "requests that were not accepted; `footfall_worker_rejected_total`: lines of frames."
                        ),
                        [
                            promql(
                                "sum by (reason) (rate(footfall_collector_rejected_total[$__rate_interval]))",
                                "collector: {{reason}}",
                            ),
                            promql(
                                "sum by (reason) (rate(footfall_worker_rejected_total[$__rate_interval]))", "worker: {{reason}}"
                            ),
                        ],
                        "cps",
                        decimals=2,
                    ),
                    grid(
                        "Reasons",
                        explain("By stage and reason, with what was said of the last one."),
                        table(_SAMPLES),
                        "short",
                        size=(24, 8),
                        overrides=[unit("dateTimeAsIso", "Last"), override("Last one", {"width": 700})],
                    ),
                ],
            ),
            (
                "Late",
                [
                    lines(
                        "Delay",
                        explain(f"延迟: received - time, where time is corrected for wrong clocks. {received}"),
                        [series(_DELAY)],
                        "s",
                        decimals=1,
                    ),
                    grid(
                        "Delay of events",
                        explain(
                            "Beyond `horizons.late_hours` (two days, unless the plan says otherwise) an event no "
                            "longer counts for hours, launches, usage time and funnels; beyond `late_days` for days neither. All "
                            f"are kept raw. {received}"
                        ),
                        table(_LATE),
                        "short",
                        overrides=[unit("percentunit", "Share")],
                    ),
                    grid(
                        "Late events by version",
                        explain(
                            "迟到: the part of a version's events that came so long after they happened. View `event_delay`."
                        ),
                        table(_LATE_BY_VERSION),
                        "short",
                        overrides=[unit("percentunit", "Over an hour|Over a day|Over a week")],
                    ),
                    lines(
                        "Too late to count, live",
                        explain("`footfall_worker_late_total`: events beyond the horizon of hours, or of days. All apps."),
                        [promql("sum by (horizon) (rate(footfall_worker_late_total[$__rate_interval]))", "for {{horizon}}")],
                        "cps",
                        decimals=2,
                        size=(24, 7),
                    ),
                ],
            ),
            (
                "Clocks",
                [
                    lines(
                        "Skew",
                        explain(
                            f"时钟偏差: received - device_time, as the device told it. Below zero: its clock is ahead. {received}"
                        ),
                        [series(_SKEW)],
                        "s",
                        decimals=1,
                        from_zero=False,
                    ),
                    grid(
                        "Skew by platform, version and SDK",
                        explain(
                            "时钟偏差: the part of events whose device's clock is more than a minute "
                            f"ahead, or that came more than an hour after it. {received}"
                        ),
                        table(_SKEWED),
                        "short",
                        overrides=[
                            unit("percentunit", "Ahead|Over an hour behind"),
                            override("Median skew", unit="s", decimals=1),
                        ],
                    ),
                    lines(
                        "Events by name, live",
                        explain(
                            "埋点: straight from the sinks; a tracking point that broke is a line that falls to zero.",
                            families=(gauges.EVENTS_BY_NAME,),
                        ),
                        [
                            promql(
                                'sum by (event) (rate(footfall_events_by_name_total{app="$app"}[$__rate_interval]))',
                                "{{event}}",
                            )
                        ],
                        "cps",
                        decimals=2,
                        size=(24, 8),
                    ),
                    grid(
                        "Tracking points",
                        explain(f"埋点: events by name; a point that broke is one whose last event is long ago. {received}"),
                        table(_NAMES),
                        "short",
                        size=(24, 10),
                        overrides=[
                            unit("dateTimeAsIso", "Last received"),
                            override("Over an hour late", unit="percentunit", decimals=1),
                        ],
                    ),
                ],
            ),
        ],
        since="now-7d",
    )
