"""Names of the Prometheus metrics that the sinks' process exposes, with type, labels and help: what alert rules may rely on."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Family(NamedTuple):
    """A metric family. A counter's name is without the `_total` that the exposition adds."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str


ACTIVE_USERS = Family(
    "footfall_active_users",
    "gauge",
    ("app", "facet", "window"),
    "Distinct active persons of the current window: now (5m, 30m), this hour, today, 7d and 30d ending today, this month.",
)
LAUNCHES = Family("footfall_launches", "gauge", ("app",), "Launches today.")
USAGE_SECONDS = Family("footfall_usage_seconds", "gauge", ("app",), "Usage time today.")
SESSIONS = Family("footfall_sessions", "gauge", ("app",), "Sessions that started today.")
PEAK_HOUR = Family("footfall_peak_hour", "gauge", ("app",), "Clock hour (0-23) with most active users so far today.")
PEAK_HOUR_USERS = Family("footfall_peak_hour_users", "gauge", ("app",), "Active users of today's peak hour.")

FUNNEL_USERS = Family(
    "footfall_funnel_users",
    "gauge",
    ("app", "funnel", "step", "event"),
    "Persons whose deepest chain that starts today reaches the step (from 1).",
)
PEAK_CAPACITY = Family(
    "footfall_peak_capacity", "gauge", ("app",), "Active users in an hour that the app is built for, where the plan says it."
)

NUMBERS = (ACTIVE_USERS, LAUNCHES, USAGE_SECONDS, SESSIONS, PEAK_HOUR, PEAK_HOUR_USERS, FUNNEL_USERS, PEAK_CAPACITY)

CAUGHT_UP = Family(
    "footfall_exporter_caught_up",
    "gauge",
    (),
    "1 once the whole metrics topic was read after start. The numbers are absent until then.",
)
EVENTS_STORED = Family("footfall_events", "counter", ("app",), "Events put into ClickHouse since start.")
EVENTS_BY_NAME = Family(
    "footfall_events_by_name",
    "counter",
    ("app", "event"),
    'Events put into ClickHouse since start, by the names that the plan uses; all else is "other".',
)
LAST_EVENT = Family(
    "footfall_last_event_timestamp_seconds", "gauge", ("app",), "Receipt of the newest event put into ClickHouse since start."
)
LAST_TOTAL = Family("footfall_last_total_timestamp_seconds", "gauge", (), "When the newest total that was read was computed.")
LAG = Family("footfall_sink_lag_records", "gauge", ("topic",), "Kafka records that ClickHouse does not have yet.")
ROWS_INSERTED = Family("footfall_sink_rows_inserted", "counter", ("table",), "Rows inserted since start.")
INSERTS_FAILED = Family(
    "footfall_sink_inserts_failed",
    "counter",
    ("table", "kind"),
    "Inserts that failed, by what was done then: retry, too_large (halved), bad_row (searched out).",
)
ROWS_REFUSED = Family(
    "footfall_sink_rows_refused", "counter", ("table",), "Rows that ClickHouse refused; they are in the rejected topic."
)
LINES_SKIPPED = Family(
    "footfall_sink_lines_skipped",
    "counter",
    ("table",),
    "Lines that are not valid (the worker rejects those of events) and were passed over.",
)
RECORDS_LOST = Family(
    "footfall_sink_records_lost", "counter", ("topic",), "Records that Kafka deleted (retention) before the sink had read them."
)
LAST_INSERT = Family(
    "footfall_sink_last_insert_timestamp_seconds",
    "gauge",
    ("table",),
    "Last insert that succeeded; until then, the start of the process.",
)
GAUGE_FRESHNESS = Family(
    "footfall_gauge_freshness_seconds",
    "histogram",
    (),
    "From an event's receipt until the gauges count it: of the oldest event of each checkpoint of a partition, the slowest.",
)
ROW_FRESHNESS = Family(
    "footfall_row_freshness_seconds",
    "histogram",
    ("table",),
    "From an event's receipt until ClickHouse can be asked for it: events (every event), metrics (the views' numbers; the oldest "
    "event of each checkpoint of a partition).",
)
VERIFY_DIFFERENT = Family(
    "footfall_verify_different", "gauge", (), "Numbers that differed when `footfall verify` last ran with this data directory."
)
VERIFY_COMPARED = Family("footfall_verify_compared", "gauge", (), "Numbers that it compared.")
VERIFY_AT = Family("footfall_verify_timestamp_seconds", "gauge", (), "When it ended.")

PIPELINE = (
    CAUGHT_UP,
    EVENTS_STORED,
    EVENTS_BY_NAME,
    LAST_EVENT,
    LAST_TOTAL,
    LAG,
    ROWS_INSERTED,
    INSERTS_FAILED,
    ROWS_REFUSED,
    LINES_SKIPPED,
    RECORDS_LOST,
    LAST_INSERT,
    GAUGE_FRESHNESS,
    ROW_FRESHNESS,
    VERIFY_DIFFERENT,
    VERIFY_COMPARED,
    VERIFY_AT,
)
