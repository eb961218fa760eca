"""The dashboard Pipeline: whether the numbers are fresh, and if not, where they wait."""

from __future__ import annotations

from deploy.grafana.explain import explain
from deploy.grafana.model import AMBER, GREEN, RED, Dashboard, Panel, Query, lines, promql, stat
from sinks.contract import gauges
from sinks.contract.gauges import Family

_RATE = "[$__rate_interval]"
_BEHIND = " or ".join(
    f'label_replace(sum(min_over_time(footfall_sink_lag_records{{topic=~"(.+[.])?{topic}"}}[5m])) '
    f'/ clamp_min(sum(rate({counter}[5m])), 0.01), "topic", "{topic}", "", "")'
    for topic, counter in (("events", "footfall_worker_frames_total"), ("metrics", "footfall_worker_totals_total"))
)
_BEHIND = f"max({_BEHIND})"


def _quantiles(histogram: str, matching: str = "") -> list[Query]:
    return [
        promql(f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{matching}{_RATE})))", name)
        for share, name in ((0.5, "Median"), (0.95, "p95"), (0.99, "p99"))
    ]


def _series(title: str, note: str, queries: list[Query], unit: str, *families: Family, decimals: int = 0) -> Panel:
    return lines(title, explain(note, families=families), queries, unit, decimals=decimals, size=(8, 8))


def _spool() -> list[Panel]:
    return [
        _series(
            "Waiting in the spool",
            "`footfall_collector_spool_bytes`, of `footfall_collector_spool_limit_bytes` at most: on disk while Kafka is away.",
            [
                promql("sum(footfall_collector_spool_bytes)", "in the spool"),
                promql("sum(footfall_collector_spool_limit_bytes)", "limit"),
            ],
            "bytes",
        ),
        _series(
            "Frames in the spool",
            "`footfall_collector_spool_frames`, by collector.",
            [promql("sum by (instance) (footfall_collector_spool_frames)", "{{instance}}")],
            "short",
        ),
        _series(
            "Age of the spool",
            "`footfall_collector_spool_age_seconds`: how long the oldest frame has been waiting. Beyond a day, draining it can "
            "change closed windows.",
            [promql("max(footfall_collector_spool_age_seconds)", "oldest frame")],
            "s",
        ),
        _series(
            "Into the spool, out of it",
            "`footfall_collector_spooled_frames_total`: made safe on disk; `footfall_collector_spool_drained_frames_total`: in "
            "Kafka since.",
            [
                promql(f"sum(rate(footfall_collector_spooled_frames_total{_RATE}))", "in"),
                promql(f"sum(rate(footfall_collector_spool_drained_frames_total{_RATE}))", "out"),
            ],
            "cps",
            decimals=1,
        ),
        _series(
            "Time of an fsync",
            "`footfall_collector_spool_fsync_seconds`; many requests share one.",
            _quantiles("footfall_collector_spool_fsync_seconds"),
            "s",
            decimals=3,
        ),
        _series(
            "Refused, damaged",
            "`footfall_collector_spool_refused_total`: frames without room; `footfall_collector_spool_damaged_total`: pieces "
            "that were set aside (a tail is a write that a kill cut short).",
            [
                promql(f"sum(increase(footfall_collector_spool_refused_total{_RATE}))", "refused"),
                promql(f"sum by (kind) (increase(footfall_collector_spool_damaged_total{_RATE}))", "{{kind}}"),
            ],
            "short",
        ),
    ]


def dashboard() -> Dashboard:
    """The dashboard."""
    seconds = ((None, GREEN), (10, AMBER), (60, RED))
    any_is_bad = ((None, GREEN), (1, RED))
    glance = [
        stat(
            "Numbers are old",
            explain(
                "Time since the newest total that was read was computed: how fresh the gauges are.", families=(gauges.LAST_TOTAL,)
            ),
            promql("time() - max(footfall_last_total_timestamp_seconds)", instant=True),
            "s",
            1,
            seconds,
        ),
        stat(
            "Raw events are old",
            explain(
                "Time since the newest event in ClickHouse was received, whatever its app; it grows at night too.",
                families=(gauges.LAST_EVENT,),
            ),
            promql("time() - max(footfall_last_event_timestamp_seconds)", instant=True),
            "s",
            1,
            seconds,
        ),
        stat(
            "ClickHouse is behind",
            explain(
                "Lag of the sinks as time: records that ClickHouse does not have yet (the least of five minutes: a batch that "
                "gathers is no lag) by how many come in a second. The larger of the topics events "
                "(`footfall_worker_frames_total`) and metrics (`footfall_worker_totals_total`).",
                families=(gauges.LAG,),
            ),
            promql(_BEHIND, instant=True),
            "s",
            0,
            seconds,
        ),
        stat(
            "Kafka takes frames",
            explain("1 if all collectors reach Kafka (`footfall_collector_kafka_up`); 0: events go to their spools."),
            promql("min(footfall_collector_kafka_up)", instant=True),
            "bool_yes_no",
            0,
            ((None, RED), (1, GREEN)),
        ),
        stat(
            "Exporter caught up",
            explain("1 if the exporter's numbers are whole.", families=(gauges.CAUGHT_UP,)),
            promql("min(footfall_exporter_caught_up)", instant=True),
            "bool_yes_no",
            0,
            ((None, RED), (1, GREEN)),
        ),
        stat(
            "Records lost",
            explain("Anything but 0 is a loss in ClickHouse, not in the gauges.", families=(gauges.RECORDS_LOST,)),
            promql("sum(footfall_sink_records_lost_total) or vector(0)", instant=True),
            "short",
            0,
            any_is_bad,
        ),
    ]
    return Dashboard(
        "footfall-pipeline",
        "Footfall: pipeline",
        "Whether the numbers are fresh, and if not, where they wait: collector, Kafka, worker, sinks.",
        [],
        [
            ("At a glance", glance),
            (
                "Freshness",
                [
                    _series(
                        "Received until in the gauges",
                        "The aim is a p95 of 2 s. It takes in frames, worker, checkpoint and exporter.",
                        _quantiles(gauges.GAUGE_FRESHNESS.name),
                        "s",
                        gauges.GAUGE_FRESHNESS,
                        decimals=2,
                    ),
                    _series(
                        "Received until in the views",
                        "The aim is a p95 of 5 s: as the gauges, and the insert into ClickHouse besides.",
                        _quantiles(gauges.ROW_FRESHNESS.name, '{table="metrics"}'),
                        "s",
                        gauges.ROW_FRESHNESS,
                        decimals=2,
                    ),
                    _series(
                        "Received until a raw event is readable",
                        "Of every event; the worker is not in it.",
                        _quantiles(gauges.ROW_FRESHNESS.name, '{table="events"}'),
                        "s",
                        gauges.ROW_FRESHNESS,
                        decimals=2,
                    ),
                    _series(
                        "Age of what is there",
                        "Receipt of the newest event that was joined (`footfall_worker_newest_receipt_timestamp_seconds`), "
                        "newest total, newest event in ClickHouse: time since then. All three grow while nobody sends.",
                        [
                            promql("time() - max(footfall_worker_newest_receipt_timestamp_seconds)", "joined by the worker"),
                            promql("time() - max(footfall_last_total_timestamp_seconds)", "total"),
                            promql("time() - max(footfall_last_event_timestamp_seconds)", "in ClickHouse"),
                        ],
                        "s",
                        gauges.LAST_TOTAL,
                        gauges.LAST_EVENT,
                        decimals=1,
                    ),
                    _series(
                        "Lag of the sinks",
                        "By topic.",
                        [promql("sum by (topic) (footfall_sink_lag_records)", "{{topic}}")],
                        "short",
                        gauges.LAG,
                    ),
                    _series(
                        "Last insert",
                        "Time since then, by table.",
                        [promql("time() - max by (table) (footfall_sink_last_insert_timestamp_seconds)", "{{table}}")],
                        "s",
                        gauges.LAST_INSERT,
                        decimals=1,
                    ),
                ],
            ),
            (
                "Rates",
                [
                    _series(
                        "Events",
                        "`footfall_collector_events_total`: acknowledged; `footfall_worker_events_total`: activity "
                        "joined by the worker; and those in ClickHouse.",
                        [
                            promql(f"sum(rate(footfall_collector_events_total{_RATE}))", "collector"),
                            promql(f"sum(rate(footfall_worker_events_total{_RATE}))", "worker"),
                            promql(f"sum(rate(footfall_events_total{_RATE}))", "ClickHouse"),
                        ],
                        "cps",
                        gauges.EVENTS_STORED,
                        decimals=1,
                    ),
                    _series(
                        "Events by app",
                        "`footfall_collector_events_total`, by app.",
                        [promql(f"sum by (app) (rate(footfall_collector_events_total{_RATE}))", "{{app}}")],
                        "cps",
                        decimals=1,
                    ),
                    _series(
                        "Rows inserted",
                        "By table.",
                        [promql(f"sum by (table) (rate(footfall_sink_rows_inserted_total{_RATE}))", "{{table}}")],
                        "cps",
                        gauges.ROWS_INSERTED,
                        decimals=1,
                    ),
                ],
            ),
            (
                "Collector",
                [
                    _series(
                        "Answers",
                        "`footfall_collector_requests_total` by status: 503 while neither Kafka nor the spool takes events, 401 "
                        "for an unknown write key.",
                        [promql(f"sum by (status) (rate(footfall_collector_requests_total{_RATE}))", "{{status}}")],
                        "reqps",
                        decimals=1,
                    ),
                    _series(
                        "Time to acknowledge",
                        "`footfall_collector_ack_seconds`: from a request's events being read to all of them being safe, in "
                        "Kafka or in the spool.",
                        _quantiles("footfall_collector_ack_seconds"),
                        "s",
                        decimals=3,
                    ),
                    _series(
                        "Waiting for Kafka",
                        "`footfall_collector_in_flight_bytes`: requests and frames that are not safe yet.",
                        [promql("sum(footfall_collector_in_flight_bytes)", "in flight")],
                        "bytes",
                    ),
                    _series(
                        "Bytes in",
                        "`footfall_collector_request_bytes_total`: bodies, as they came.",
                        [promql(f"sum(rate(footfall_collector_request_bytes_total{_RATE}))", "bodies")],
                        "Bps",
                    ),
                    _series(
                        "Size of frames",
                        "`footfall_collector_frame_bytes`: the larger, the less work for each event.",
                        _quantiles("footfall_collector_frame_bytes"),
                        "bytes",
                    ),
                    _series(
                        "Frames failed",
                        "`footfall_collector_frames_failed_total`: safe nowhere; their senders were told.",
                        [promql(f"sum(increase(footfall_collector_frames_failed_total{_RATE}))", "failed")],
                        "short",
                    ),
                ],
            ),
            ("Spool", _spool()),
            (
                "Worker",
                [
                    _series(
                        "Checkpoints",
                        "`footfall_worker_checkpoint_seconds_count`: transactions committed.",
                        [promql(f"sum(rate(footfall_worker_checkpoint_seconds_count{_RATE}))", "checkpoints")],
                        "cps",
                        decimals=1,
                    ),
                    _series(
                        "Time of a checkpoint",
                        "`footfall_worker_checkpoint_seconds`: from snapshot to committed transaction.",
                        _quantiles("footfall_worker_checkpoint_seconds"),
                        "s",
                        decimals=3,
                    ),
                    _series(
                        "Last checkpoint",
                        "`footfall_worker_last_checkpoint_timestamp_seconds`: time since then, of the partition that "
                        "waits longest and of the one that waits least. A partition without traffic has none.",
                        [
                            promql("time() - min(footfall_worker_last_checkpoint_timestamp_seconds)", "oldest"),
                            promql("time() - max(footfall_worker_last_checkpoint_timestamp_seconds)", "newest"),
                        ],
                        "s",
                        decimals=1,
                    ),
                    _series(
                        "Written",
                        "`footfall_worker_checkpoint_records_total`: person records; `footfall_worker_totals_total`: totals.",
                        [
                            promql(f"sum(rate(footfall_worker_checkpoint_records_total{_RATE}))", "records"),
                            promql(f"sum(rate(footfall_worker_totals_total{_RATE}))", "totals"),
                        ],
                        "cps",
                        decimals=1,
                    ),
                    _series(
                        "Persons on record",
                        "`footfall_worker_persons`, by partition: they should be much alike.",
                        [promql("sum by (partition) (footfall_worker_persons)", "{{partition}}")],
                        "short",
                    ),
                    _series(
                        "Frames, passive events, closed windows",
                        "`footfall_worker_frames_total`: joined; "
                        "`footfall_worker_passive_events_total`: no activity; `footfall_worker_closed_changes_total`: changes of "
                        "windows already closed, not counted.",
                        [
                            promql(f"sum(rate(footfall_worker_frames_total{_RATE}))", "frames"),
                            promql(f"sum(rate(footfall_worker_passive_events_total{_RATE}))", "passive events"),
                            promql(f"sum(rate(footfall_worker_closed_changes_total{_RATE}))", "closed windows"),
                        ],
                        "cps",
                        decimals=1,
                    ),
                ],
            ),
            (
                "Sinks",
                [
                    _series(
                        "Inserts that failed",
                        "By what was done then.",
                        [
                            promql(
                                f"sum by (table, kind) (increase(footfall_sink_inserts_failed_total{_RATE}))",
                                "{{table}}: {{kind}}",
                            )
                        ],
                        "short",
                        gauges.INSERTS_FAILED,
                    ),
                    _series(
                        "Rows refused, lines skipped",
                        "By table.",
                        [
                            promql(f"sum by (table) (increase(footfall_sink_rows_refused_total{_RATE}))", "refused: {{table}}"),
                            promql(f"sum by (table) (increase(footfall_sink_lines_skipped_total{_RATE}))", "skipped: {{table}}"),
                        ],
                        "short",
                        gauges.ROWS_REFUSED,
                        gauges.LINES_SKIPPED,
                    ),
                    _series(
                        "Records lost",
                        "By topic: Kafka's retention was shorter than the sink was away.",
                        [promql("sum by (topic) (footfall_sink_records_lost_total)", "{{topic}}")],
                        "short",
                        gauges.RECORDS_LOST,
                    ),
                ],
            ),
        ],
        since="now-3h",
        refresh="10s",
    )
