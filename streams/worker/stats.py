"""The worker's own numbers for operators: what it did since it started, and how it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.partition import Partition, Taken


class Stats:
    """Metrics of checkpoints, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._records = Counter("footfall_worker_checkpoint_records", "Person records written", registry=self.registry)
        self._totals = Counter("footfall_worker_totals", "Totals written to the metrics topic", registry=self.registry)
        self._seconds = Histogram(
            "footfall_worker_checkpoint_seconds", "Time from snapshot to committed transaction", registry=self.registry
        )
        self._last = Gauge(
            "footfall_worker_last_checkpoint_timestamp_seconds",
            "When a checkpoint was last committed",
            ["partition"],
            registry=self.registry,
        )

    def checkpoint(self, partition: int, taken: Taken, seconds: float, at: float) -> None:
        """A checkpoint was committed at `at` (s) after `seconds`."""
        self._records.inc(len(taken.records))
        self._totals.inc(len(taken.totals))
        self._seconds.observe(seconds)
        self._last.labels(str(partition)).set(at)

    def watch_pace(self, held: Callable[[], int]) -> None:
        """Exposes how many partitions wait until others have come as far."""
        Gauge(
            "footfall_worker_waiting_partitions",
            "Partitions held back until all others have come as far: more than a moment only while catching up",
            registry=self.registry,
        ).set_function(held)

    def watch(self, partitions: Callable[[], Mapping[int, Partition]]) -> None:
        """Exposes the counters of the partitions that are owned at the time of each scrape."""
        self.registry.register(_PartitionMetrics(partitions))


class _PartitionMetrics(Collector):
    def __init__(self, partitions: Callable[[], Mapping[int, Partition]]) -> None:
        self._partitions = partitions

    def collect(self) -> Iterator[Metric]:
        """One family each; labels are partitions, apps of the plan, and reasons of a closed list."""
        events = CounterMetricFamily("footfall_worker_events", "Activity events joined", labels=["app"])
        rejected = CounterMetricFamily("footfall_worker_rejected", "Lines rejected", labels=["reason"])
        late = CounterMetricFamily("footfall_worker_late", "Events too late for days, or for hours", labels=["horizon"])
        frames = CounterMetricFamily("footfall_worker_frames", "Frames joined")
        passive = CounterMetricFamily("footfall_worker_passive_events", "Events that are no activity")
        closed = CounterMetricFamily("footfall_worker_closed_changes", "Changes of windows already closed, not counted")
        persons = GaugeMetricFamily("footfall_worker_persons", "Persons on record", labels=["partition"])
        clock = GaugeMetricFamily(
            "footfall_worker_newest_receipt_timestamp_seconds", "Receipt of the newest event joined", labels=["partition"]
        )
        by_app: dict[str, int] = {}
        by_reason: dict[str, int] = {}
        late_days = late_hours = frame_count = passive_count = closed_count = 0
        for number, partition in self._partitions().items():
            counters = partition.counters
            for app, count in list(counters.events.items()):
                by_app[app] = by_app.get(app, 0) + count
            for reason, count in list(counters.rejected.items()):
                by_reason[reason] = by_reason.get(reason, 0) + count
            late_days += partition.joiner.late_days
            late_hours += partition.joiner.late_hours
            frame_count += counters.frames
            passive_count += counters.passive
            closed_count += partition.totals.closed_changes
            persons.add_metric([str(number)], partition.persons)
            clock.add_metric([str(number)], partition.clock / 1000)
        for app, count in by_app.items():
            events.add_metric([app], count)
        for reason, count in by_reason.items():
            rejected.add_metric([reason], count)
        late.add_metric(["days"], late_days)
        late.add_metric(["hours"], late_hours)
        frames.add_metric([], frame_count)
        passive.add_metric([], passive_count)
        closed.add_metric([], closed_count)
        yield from (events, rejected, late, frames, passive, closed, persons, clock)
