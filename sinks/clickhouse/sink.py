"""Shell: one topic into one table: a consumer of its own, a ClickHouse client of its own, one thread.

Insert, then commit. Ends by an exception when something can't be waited out; its thread's owner then ends the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import threading
import time
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError, FencedInstanceIdError, KafkaError

from ingest.contract.errors import FencedError, FootfallError, UnavailableError, WriteError
from ingest.contract.settings import Settings
from sinks.clickhouse.erase import Eraser
from sinks.clickhouse.errors import Remedy, backoff
from sinks.clickhouse.inserter import Inserter
from sinks.clickhouse.kinds import Kind
from sinks.clickhouse.landing import land
from sinks.clickhouse.positions import claim_topic, seek_all
from sinks.clickhouse.rows import MAX_BATCH_BYTES, Batch, EventsBatch, together
from sinks.clickhouse.store import Store, first_line, judge
from sinks.kafka import group_consumer
from sinks.stats import Stats

log = logging.getLogger(__name__)

#: For the test of what a kill -9 does at the worst moment.
_FAILPOINT = "FOOTFALL_FAILPOINT"
_IDLE_POLL_MS = 1000
_KAFKA_TIMEOUT_MS = 15_000


class _Stopped(Exception):
    """The process is to stop while a batch waits: it is read again at the next start."""


class _Rebalanced(Exception):
    """Partitions changed hands while a batch waited: all is read again from where ClickHouse is."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes that partitions changed. Called on the consumer's own thread, so it does nothing else."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.joined = False

    def on_partitions_revoked(self, revoked: Any) -> None:
        self.changed.set()

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.joined = True
        self.changed.set()


class Sink:
    """Moves one topic into one table until `stop` is set. `run` is the thread's whole life."""

    def __init__(self, kind: Kind, topic_id: str, settings: Settings, store: Store, stats: Stats, stop: threading.Event) -> None:
        self._kind = kind
        self._topic_id = topic_id
        self._settings = settings
        self._store = store
        self._stats = stats
        self._stop = stop
        self._batch_rows = settings.sinks.batch_events
        self._batch_s = settings.sinks.batch_ms / 1000
        self._batches: dict[int, Batch] = {}
        self._since: dict[int, float] = {}
        #: Next offset to take of each partition: what comes again after a rebalance is dropped by it.
        self._next: dict[int, int] = {}
        #: Where each partition ended when it was assigned.
        self._ends: dict[int, int] = {}
        self._listener = _Listener()
        self._consumer: Any = None
        self._client: Client
        self._inserter: Inserter
        self._eraser: Eraser

    def run(self) -> None:
        """Blocks until stop; what is not inserted by then stays in Kafka. Raises FootfallError for what can't be waited out."""
        try:
            self._run()
        except FencedInstanceIdError as error:
            raise FencedError(
                f"another sinks' process with an embedded ClickHouse reads {self._kind.topic}: there can be only one"
            ) from error
        except KafkaError as error:
            raise UnavailableError(f"Kafka refuses to go on with {self._kind.topic}: {type(error).__name__}") from error
        except ClickHouseError as error:
            raise WriteError(f"ClickHouse: {first_line(error)}") from error

    def _run(self) -> None:
        kind = self._kind
        self._stats.waiting(kind.role, "joining its consumer group")
        self._client = self._store.client()
        self._inserter = Inserter(kind, self._settings, self._client, self._stats, self._pause, self._stay)
        self._eraser = Eraser(self._client, self._settings, self._wait)
        try:
            claim_topic(self._client, kind, self._topic_id)
            self._consumer = group_consumer(self._settings, kind.role, kind.isolation)
            self._consumer.subscribe([kind.topic], listener=self._listener)
            with contextlib.suppress(_Stopped, _Rebalanced):
                while not self._stop.is_set():
                    try:
                        self._turn()
                    except KafkaError as error:
                        if not error.retriable:
                            raise
                        self._wait_for_kafka(type(error).__name__)
                self._flush(everything=True)
        finally:
            self._inserter.close()
            if self._consumer is not None:
                self._consumer.close(autocommit=False, timeout_ms=5000)
            self._client.close()

    def _turn(self) -> None:
        records = self._consumer.poll(timeout_ms=self._poll_ms())
        if self._listener.changed.is_set():
            self._start_over()
            return
        now = time.monotonic()
        try:
            for one, found in records.items():
                self._take(one.partition, found, now)
            self._flush()
        except _Rebalanced:
            self._start_over()  # what is left of these records is read again
        self._measure_lag()

    def _wait_for_kafka(self, why: str) -> None:
        """A call that Kafka's absence cut short may have left records untaken: goes on after what ClickHouse holds."""
        self._stats.waiting(self._kind.role, f"Kafka: {why}")
        log.warning("%s waits for Kafka: %s", self._kind.table, why)
        self._listener.changed.set()
        self._stop.wait(1.0)

    def _take(self, partition: int, records: list[Any], now: float) -> None:
        for record in records:
            # Of a partition that is not ours yet, nothing: it is read again from the right place.
            if record.offset < self._next.get(partition, record.offset + 1):
                continue
            batch = self._batches.get(partition)
            if batch is None:
                batch = self._batches[partition] = self._kind.batch(partition)
                self._since[partition] = now
            batch.add(record.offset, record.value or b"")
            self._next[partition] = record.offset + 1
            if self._full(batch):
                self._insert([partition])

    def _full(self, batch: Batch) -> bool:
        return batch.ends or batch.rows >= self._batch_rows or batch.size >= MAX_BATCH_BYTES

    def _poll_ms(self) -> int:
        if not self._since:
            return _IDLE_POLL_MS
        due = min(self._since.values()) + self._batch_s - time.monotonic()
        return max(1, min(_IDLE_POLL_MS, int(due * 1000) + 1))

    def _flush(self, everything: bool = False) -> None:
        limit = time.monotonic() - self._batch_s
        due = [partition for partition, since in self._since.items() if everything or since <= limit]
        if due:
            self._insert(sorted(due))

    def _insert(self, partitions: list[int]) -> None:
        """Inserts the batches of these partitions, then commits their offsets."""
        batches = [self._batches[partition] for partition in partitions]
        apart = [insert for batch in batches for insert in batch.inserts()]
        for insert in apart if self._kind.apart else together(batches):
            land(insert, self._inserter)
        for batch in batches:
            if isinstance(batch, EventsBatch):
                self._obey(batch)
        now = int(time.time() * 1000)
        for batch in batches:
            if batch.receipts:
                self._stats.readable(self._kind.table, batch.receipts, now)
            if isinstance(batch, EventsBatch):
                self._stats.events(batch.apps, batch.newest)
                self._stats.names(batch.names)
            if batch.skipped:
                self._stats.skipped(self._kind.table, batch.skipped)
        if os.environ.get(_FAILPOINT) == f"after_insert:{self._kind.role}":
            os.kill(os.getpid(), signal.SIGKILL)
        done = {partition: self._batches.pop(partition).last_offset + 1 for partition in partitions}
        for partition in partitions:
            del self._since[partition]
        self._commit(done)

    def _obey(self, batch: EventsBatch) -> None:
        """Does what the control lines of a batch say, before its offsets are committed: a crash in between does it again."""
        for control in batch.controls:
            if control.erase:
                self._eraser.erase(self._kind.topic, batch.partition, control.erase)

    def _commit(self, done: dict[int, int]) -> None:
        """Tells Kafka. ClickHouse itself says where to go on: a commit that fails costs only a longer look at the table."""
        topic = self._kind.topic
        offsets = {TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1) for partition, offset in done.items()}
        try:
            self._consumer.commit(offsets, timeout_ms=_KAFKA_TIMEOUT_MS)
        except CommitFailedError:
            self._listener.changed.set()
        except KafkaError as error:
            log.warning("%s: offsets not committed (%s); the next commit makes up for it", self._kind.topic, type(error).__name__)

    def _start_over(self) -> None:
        """After a rebalance: forgets what is gathered, and goes on after what ClickHouse holds of the partitions assigned now."""
        self._listener.changed.clear()
        self._batches.clear()
        self._since.clear()
        self._next.clear()
        for attempt in range(1, 1_000_000):
            try:
                self._next, self._ends = seek_all(self._client, self._consumer, self._kind, self._stats)
                if self._listener.joined:
                    self._stats.waiting(self._kind.role, "")
                return
            except FootfallError:
                raise
            except (ClickHouseError, OSError) as error:
                if judge(error) is Remedy.FATAL:
                    raise WriteError(f"ClickHouse can't say what {self._kind.table} holds: {first_line(error)}") from error
                why = first_line(error)
            except KafkaError as error:
                why = f"Kafka: {type(error).__name__}"
            try:
                self._pause(attempt, why)
            except _Rebalanced:
                return

    def _pause(self, attempt: int, why: str) -> None:
        """Waits before the next attempt, while staying a member of the consumer group."""
        self._stats.waiting(self._kind.role, why)
        delay = backoff(attempt, random.random())
        log.warning("%s waits %.1f s: %s", self._kind.table, delay, why)
        with contextlib.suppress(KafkaError):  # what waits grows meanwhile, and nothing is fetched that would tell
            self._ends.update((one.partition, end) for one, end in self._end_offsets().items())
            self._measure_lag()
        self._wait(delay)

    def _stay(self) -> None:
        """Stays a member of the consumer group while a batch takes long; gives it up where there is reason to."""
        self._wait(0.0)

    def _wait(self, delay: float) -> None:
        """Lets time pass, while staying a member of the consumer group."""
        deadline = time.monotonic() + delay
        paused = list(self._consumer.assignment())
        self._consumer.pause(*paused)
        try:
            while True:
                left = deadline - time.monotonic()
                if self._stop.wait(max(0.0, min(left, 0.5))):
                    raise _Stopped
                self._consumer.poll(timeout_ms=0)
                if left <= 0:
                    break
        finally:
            still = set(self._consumer.assignment())
            self._consumer.resume(*[one for one in paused if one in still])
        if self._listener.changed.is_set():
            raise _Rebalanced

    def _end_offsets(self) -> dict[TopicPartition, int]:
        """Where the partitions end now that this sink has."""
        ours = [TopicPartition(self._kind.topic, partition) for partition in self._next]
        found: dict[TopicPartition, int] = self._consumer.end_offsets(ours, timeout_ms=_KAFKA_TIMEOUT_MS) if ours else {}
        return found

    def _measure_lag(self) -> None:
        """Records that are not stored yet: those gathered here, and those that are still to be read."""
        lag = {}
        for partition in self._next:
            one = TopicPartition(self._kind.topic, partition)
            end = max(self._consumer.highwater(one) or 0, self._ends.get(partition, 0))
            batch = self._batches.get(partition)
            # The position, not the next offset to take: it passes over a transaction's markers.
            following = batch.first_offset if batch else self._consumer.position(one, timeout_ms=_KAFKA_TIMEOUT_MS)
            lag[partition] = max(0, end - following)
        self._stats.lag(self._kind.topic, lag)
