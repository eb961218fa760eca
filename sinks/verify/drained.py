"""Shell: whether the pipeline has come to rest: everything in Kafka is counted, and is in ClickHouse."""

from __future__ import annotations

import socket
import time
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError, UnknownTopicOrPartitionError

from ingest.contract.errors import LayoutError, UnavailableError
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import topic_names

#: Nothing may move for that long: totals follow the events within a second or two.
QUIET_S = 3.0
_POLL_S = 0.5
#: How long a broker may take to answer at all, whatever the caller's wait.
_PATIENCE_S = 10.0


class State(NamedTuple):
    """A look at the pipeline: ends of the topics, and in words what has not yet been read (empty: all has)."""

    ends: tuple[tuple[str, int, int], ...]
    behind: str


def wait_until_drained(settings: Settings, wait_s: float) -> str:
    """Waits at most that long until all is read and nothing moves. Returns "" then, else in words what is still under way.

    Raises UnavailableError when no broker answers, LayoutError when a topic is not there.
    """
    until = time.monotonic() + wait_s
    look = Look(settings)
    try:
        rest: State | None = None
        since = 0.0
        while True:
            try:
                state = look.state()
            except UnknownTopicOrPartitionError as error:
                names = topic_names(settings)
                raise LayoutError(
                    f"{names.events}, {names.metrics} or {names.merges} does not have {settings.kafka.partitions} partitions: "
                    "create the topics with `footfall topics --create`, or put kafka.partitions back"
                ) from error
            except KafkaError as error:
                if not error.retriable or time.monotonic() >= max(until, look.opened + _PATIENCE_S):
                    raise
                time.sleep(_POLL_S)  # a broker that has just started, or a leader on the move
                continue
            at = time.monotonic()
            if state.behind or rest is None or state.ends != rest.ends:
                rest, since = state, at
            elif at - since >= QUIET_S:
                return ""
            if at >= until:
                return state.behind or "events or totals keep coming in"
            time.sleep(_POLL_S)
    except KafkaError as error:
        raise _away(settings, error) from error
    finally:
        look.close()


def wait_until_passed(settings: Settings, wait_s: float, rounds: int = 1) -> None:
    """Waits until worker and sinks have read all that is in Kafka now, whatever comes meanwhile.

    rounds: how often that is done, for what comes of what was read: totals, what the worker's partitions tell each other.

    Raises UnavailableError when they have not within `wait_s`, or no broker answers.
    """
    until = time.monotonic() + wait_s
    look = Look(settings)
    try:
        for _ in range(rounds):
            ends = look.ends()
            while behind := look.behind(ends):
                if time.monotonic() >= until:
                    raise UnavailableError(f"after {wait_s:.0f} s {behind}: are worker and sinks running?")
                time.sleep(_POLL_S)
    except KafkaError as error:
        raise _away(settings, error) from error
    finally:
        look.close()


def _away(settings: Settings, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"no Kafka broker answers at {', '.join(settings.kafka.servers())}: start it, or correct kafka.bootstrap_servers "
        f"({type(error).__name__})"
    )


def _probe(settings: Settings) -> None:
    """A plain connection: a client of Kafka that cannot connect leaves threads and sockets behind."""
    why: OSError = OSError("no address")
    for server in settings.kafka.servers():
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]") or server, int(port) if port.isdigit() else 9092), _PATIENCE_S).close()
            return
        except OSError as error:
            why = error
    raise _away(settings, why)


class Look:
    """Asks Kafka how far its readers are."""

    def __init__(self, settings: Settings) -> None:
        names = topic_names(settings)
        prefix, layout = settings.kafka.topic_prefix, settings.project.layout
        self._groups = [
            (names.worker_app, names.events, "the worker"),
            (names.worker_app, names.merges, "the worker"),
            (f"{prefix}-sink-events-{layout}", names.events, "the sink of events"),
            (f"{prefix}-sink-metrics-{layout}", names.metrics, "the sink of metrics"),
            (f"{prefix}-sink-merges-{layout}", names.merges, "the sink of merges"),
        ]
        self._partitions = {
            topic: [TopicPartition(topic, one) for one in range(settings.kafka.partitions)]
            for topic in (names.events, names.metrics, names.merges)
        }
        self._settings = settings
        #: Partition -> (from, up to): offsets between which there are a transaction's marks and no record.
        self._only_markers: dict[Any, tuple[int, int]] = {}
        self.opened = time.monotonic()
        _probe(settings)
        try:
            self._admin: Any = KafkaAdminClient(**kafka_options(settings.kafka), client_id="footfall-verify")
        except KafkaError as error:
            raise _away(settings, error) from error

    def close(self) -> None:
        """Lets go of Kafka."""
        self._admin.close()

    def state(self) -> State:
        """How things stand."""
        ends = self.ends()
        return State(tuple(sorted((one.topic, one.partition, end) for one, end in ends.items())), self.behind(ends))

    def ends(self) -> dict[Any, int]:
        """Where all partitions of events, metrics and merges end now."""
        ends: dict[Any, int] = {}
        for partitions in self._partitions.values():
            found = self._admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
            ends |= {one: found[one].offset for one in partitions}
        return ends

    def behind(self, ends: dict[Any, int]) -> str:
        """In words what has not been read up to these ends; "" when all has."""
        behind = []
        for group, topic, who in self._groups:
            committed = self._admin.list_group_offsets({group: self._partitions[topic]}).get(group, {})
            lags = {}
            for one in self._partitions[topic]:
                offset = committed[one].offset if one in committed else -1
                known = self._only_markers.get(one, (0, 0))
                if max(offset, 0) < ends[one] and not (known[0] <= max(offset, 0) and ends[one] <= known[1]):
                    lags[one] = max(offset, 0)
            left = self._records_left(lags, ends) if lags else 0
            if left:
                behind.append(f"{who} has {left} partitions of {topic} not read to the end")
        return "; ".join(behind)

    def _records_left(self, committed: dict[Any, int], ends: dict[Any, int]) -> int:
        """Of partitions that are not read to their last offset, those where a record (not only a transaction's mark) is left."""
        consumer = KafkaConsumer(
            **kafka_options(self._settings.kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=1000,
        )
        try:
            consumer.assign(list(committed))
            for one, offset in committed.items():
                consumer.seek(one, offset)
            waiting = set(committed)
            left = 0
            until = time.monotonic() + 5.0
            while waiting and time.monotonic() < until:
                for one, records in consumer.poll(timeout_ms=200).items():
                    if records and one in waiting:
                        waiting.discard(one)
                        left += 1
                        consumer.pause(one)
                empty = {one for one in waiting if consumer.position(one) >= ends[one]}
                self._only_markers |= {one: (committed[one], ends[one]) for one in empty}
                waiting -= empty
            return left + len(waiting)
        finally:
            consumer.close()
