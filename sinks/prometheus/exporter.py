"""Shell: reads the metrics topic from its start, without a group, and keeps the fold; gives the gauges once it has caught up."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import msgspec
from kafka import TopicPartition
from kafka.errors import KafkaError

from ingest.contract.errors import LayoutError, UnavailableError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.kafka import log_reader
from sinks.prometheus.fold import Fold
from sinks.prometheus.gauges import Gauge, gauges, scopes
from sinks.stats import Stats
from streams.contract.total import decode_total

log = logging.getLogger(__name__)
_POLL_MS = 500
_PRUNE_S = 60.0
_KAFKA_TIMEOUT_MS = 30_000


class Exporter:
    """`run` is a thread's life; `numbers` may be called from any other."""

    def __init__(self, settings: Settings, stats: Stats, stop: threading.Event) -> None:
        self._settings = settings
        self._stats = stats
        self._stop = stop
        self._layout = settings.project.layout
        self._fold = Fold(self._layout)
        self._scopes = scopes(settings)
        self._lock = threading.Lock()
        self._caught_up = False

    def numbers(self, facet: str | None = None) -> list[Gauge] | None:
        """The gauges now, of one facet where one is named (a plan may have thousands, and a page asks each second).

        None until the topic was read up to where it ended at start, because half of it is a wrong number.
        """
        known = self._scopes
        if facet is not None:
            known = [scope._replace(facets=(facet,)) for scope in known if facet in scope.facets]
        with self._lock:
            return gauges(self._fold, known, _now()) if self._caught_up else None

    def run(self) -> None:
        """Blocks until stop. Raises FootfallError where the topic can't be read."""
        try:
            self._run()
        except KafkaError as error:
            raise UnavailableError(f"Kafka refuses to go on with the metrics topic: {type(error).__name__}") from error

    def _run(self) -> None:
        topic = topic_names(self._settings).metrics
        consumer = log_reader(self._settings, topic)
        try:
            partitions = sorted(consumer.partitions_for_topic(topic) or ())
            if not partitions:
                raise LayoutError(f"the topic {topic} does not exist: create the topics with `footfall topics`")
            assigned = [TopicPartition(topic, partition) for partition in partitions]
            consumer.assign(assigned)
            consumer.seek_to_beginning(*assigned)
            waiting = {one: end for one, end in consumer.end_offsets(assigned, timeout_ms=_KAFKA_TIMEOUT_MS).items() if end > 0}
            pruned = time.monotonic()
            while not self._stop.is_set():
                self._apply(consumer.poll(timeout_ms=_POLL_MS))
                if not self._caught_up:
                    waiting = {
                        one: end for one, end in waiting.items() if consumer.position(one, timeout_ms=_KAFKA_TIMEOUT_MS) < end
                    }
                    if not waiting:
                        with self._lock:
                            self._caught_up = True
                        self._stats.caught_up()
                        log.info("the exporter has read the metrics topic: %d numbers at hand", len(self._fold))
                if time.monotonic() - pruned > _PRUNE_S:
                    pruned = time.monotonic()
                    with self._lock:
                        self._fold.prune(_now())
        finally:
            consumer.close(autocommit=False, timeout_ms=5000)

    def _apply(self, records: dict[Any, list[Any]]) -> None:
        now = _now()
        newest = 0
        receipts: set[tuple[int, int, int]] = set()
        with self._lock:
            for one, found in records.items():
                for record in found:
                    try:
                        total = decode_total(record.value or b"")
                    except (msgspec.DecodeError, UnicodeDecodeError):
                        continue  # the metrics sink counts it
                    if total.partition == one.partition:
                        self._fold.apply(total, record.offset, now)
                        newest = max(newest, total.at)
                        if total.oldest and total.layout == self._layout:
                            receipts.add((total.partition, total.at, total.oldest))
        if self._caught_up:  # what was read at the start is no news
            self._stats.counted((oldest for _, _, oldest in receipts), _now())
        if newest:
            self._stats.total_seen(newest)


def _now() -> int:
    return int(time.time() * 1000)
