"""Shell: the exposition: gauges and the process's own statistics as prometheus_client's metric families."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sinks.ages import BOUNDS, Distribution
from sinks.contract import gauges as names
from sinks.contract.gauges import Family
from sinks.contract.verified import Verified
from sinks.prometheus.gauges import Gauge
from sinks.snapshot import Snapshot

Samples = Iterable[tuple[tuple[str, ...], float]]


class Exposition(Collector):
    """A collector for a registry: asks for the numbers and the statistics at each scrape."""

    def __init__(
        self,
        numbers: Callable[[], list[Gauge] | None],
        snapshot: Callable[[], Snapshot],
        verified: Callable[[], Verified | None] = lambda: None,
    ) -> None:
        """numbers: gauges now, None until the metrics topic was read to its end; verified: what the last verification found."""
        self._numbers = numbers
        self._snapshot = snapshot
        self._verified = verified

    def collect(self) -> Iterable[Metric]:
        numbers = self._numbers()
        if numbers is not None:
            by_family: dict[Family, list[tuple[tuple[str, ...], float]]] = {family: [] for family in names.NUMBERS}
            for one in numbers:
                by_family[one.family].append((one.labels, one.value))
            for family, samples in by_family.items():
                yield metric(family, samples)
        yield from pipeline(self._snapshot())
        yield from verification(self._verified())

    def describe(self) -> Iterable[Metric]:
        return []


def pipeline(snapshot: Snapshot) -> Iterable[Metric]:
    """The families of the pipeline's health."""
    yield metric(names.CAUGHT_UP, [((), float(snapshot.caught_up))])
    yield metric(names.EVENTS_STORED, _by_one(snapshot.events))
    yield metric(names.EVENTS_BY_NAME, [(key, float(count)) for key, count in snapshot.names.items()])
    yield metric(names.LAST_EVENT, [((app,), ms / 1000) for app, ms in snapshot.last_event.items()])
    yield metric(names.LAST_TOTAL, [((), snapshot.last_total / 1000)] if snapshot.last_total else [])
    yield metric(names.LAG, _by_one(snapshot.lag))
    yield metric(names.ROWS_INSERTED, _by_one(snapshot.rows_inserted))
    yield metric(names.INSERTS_FAILED, [(key, float(count)) for key, count in snapshot.inserts_failed.items()])
    yield metric(names.ROWS_REFUSED, _by_one(snapshot.rows_refused))
    yield metric(names.LINES_SKIPPED, _by_one(snapshot.lines_skipped))
    yield metric(names.RECORDS_LOST, _by_one(snapshot.records_lost))
    yield metric(names.LAST_INSERT, [((table,), ms / 1000) for table, ms in snapshot.last_insert.items()])
    yield histogram(names.GAUGE_FRESHNESS, {(): snapshot.gauge_freshness})
    yield histogram(names.ROW_FRESHNESS, {(table,): ages for table, ages in snapshot.row_freshness.items()})


def verification(verified: Verified | None) -> Iterable[Metric]:
    """The families of the last verification, without samples if there was none."""
    yield metric(names.VERIFY_DIFFERENT, [((), verified.different)] if verified else [])
    yield metric(names.VERIFY_COMPARED, [((), verified.compared)] if verified else [])
    yield metric(names.VERIFY_AT, [((), verified.at / 1000)] if verified else [])


def metric(family: Family, samples: Samples) -> Metric:
    """One family with its samples."""
    made: CounterMetricFamily | GaugeMetricFamily
    if family.kind == "counter":
        made = CounterMetricFamily(family.name, family.help, labels=family.labels)
    else:
        made = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in samples:
        made.add_metric(list(labels), value)
    return made


def histogram(family: Family, samples: Mapping[tuple[str, ...], Distribution]) -> Metric:
    """A family of ages."""
    made = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*(str(bound) for bound in BOUNDS), "+Inf"]
    for labels, ages in samples.items():
        made.add_metric(list(labels), list(zip(bounds, accumulate(ages.counts), strict=True)), ages.total)
    return made


def _by_one(counts: dict[str, int]) -> Samples:
    return [((label,), float(count)) for label, count in counts.items()]
