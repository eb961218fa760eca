"""The worker's own numbers for operators: what it did since it started, and how it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.partition import Counters, Partition, Taken


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

        self._last_total = Gauge(
            "footfall_worker_last_total_timestamp_seconds",
            "When the newest total that was written was computed: the exporter must come to read it",
            registry=self.registry,
        )

    def checkpoint(self, partition: int, taken: Taken, seconds: float, at: float) -> None:
        """A checkpoint was committed at `at` (s) after `seconds`."""
        self._records.inc(len(taken.records))
        self._totals.inc(len(taken.totals))
        self._seconds.observe(seconds)
        self._last.labels(str(partition)).set(at)
        if taken.totals:
            self._last_total.set(at - seconds)

    def watch_pace(self, held: Callable[[], int]) -> None:
        """Exposes how many partitions wait until others have come as far."""
        Gauge(
            "footfall_worker_waiting_partitions",
            "Partitions held back until all others have come as far: more than a moment only while catching up",
            registry=self.registry,
        ).set_function(held)

    def watch(self, partitions: Callable[[], Mapping[int, Partition]]) -> None:
        """Exposes the counters of the partitions that are owned at each scrape, and of those that were."""
        self.registry.register(_PartitionMetrics(partitions))


class _PartitionMetrics(Collector):
    """Counters never fall: what was counted of a partition that went to another worker stays, or `rate` would see a restart."""

    def __init__(self, partitions: Callable[[], Mapping[int, Partition]]) -> None:
        self._partitions = partitions
        self._seen: dict[int, _Counted] = {}
        self._gone = _Counted(Counters())

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
        dirty = GaugeMetricFamily("footfall_worker_unwritten_records", "Person records changed since the last checkpoint began")
        partitions = dict(self._partitions())
        dirty.add_metric([], sum(one.dirty for one in partitions.values()))
        for number, partition in partitions.items():
            persons.add_metric([str(number)], partition.persons)
            clock.add_metric([str(number)], partition.clock / 1000)
        total = self._count(partitions)
        for app, count in total.counters.events.items():
            events.add_metric([app], count)
        for reason, count in total.counters.rejected.items():
            rejected.add_metric([reason], count)
        late.add_metric(["days"], total.late_days)
        late.add_metric(["hours"], total.late_hours)
        frames.add_metric([], total.counters.frames)
        passive.add_metric([], total.counters.passive)
        closed.add_metric([], total.closed)
        yield from (events, rejected, late, frames, passive, closed, persons, dirty, clock)

    def _count(self, partitions: Mapping[int, Partition]) -> _Counted:
        """What the process has counted in all partitions, those included that it had at an earlier scrape."""
        now = {
            number: _Counted(one.counters, one.joiner.late_days, one.joiner.late_hours, one.totals.closed_changes)
            for number, one in partitions.items()
        }
        for number, was in self._seen.items():
            if number not in now or now[number].counters is not was.counters:
                self._gone = _sum((self._gone, was))
        self._seen = now
        return _sum((self._gone, *now.values()))


class _Counted(NamedTuple):
    """Counts of a partition. Its Counters are held, not copied, for what is joined between the last scrape and its going."""

    counters: Counters
    late_days: int = 0
    late_hours: int = 0
    closed: int = 0


def _sum(counts: Iterable[_Counted]) -> _Counted:
    counters = Counters()
    late_days = late_hours = closed = 0
    for one in counts:
        counters.frames += one.counters.frames
        counters.passive += one.counters.passive
        for mine, theirs in ((counters.events, one.counters.events), (counters.rejected, one.counters.rejected)):
            for label, count in list(theirs.items()):
                mine[label] = mine.get(label, 0) + count
        late_days += one.late_days
        late_hours += one.late_hours
        closed += one.closed
    return _Counted(counters, late_days, late_hours, closed)
