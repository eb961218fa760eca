"""Shell: kafka-python's clients as the sinks use them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from ingest.contract.errors import ConfigError, LayoutError, UnavailableError
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import topic_names, topic_specs

#: How long to wait for a first answer of the brokers.
BOOTSTRAP_MS = 10_000
#: How long a topic that a broker does not know is asked for again: it may have been created a moment ago, by way of another one.
_HEARD_S = 2.0
_AGAIN_S = 0.2
_FETCH_BYTES = 8 * 1024 * 1024


def check_topics(settings: Settings) -> dict[str, str]:
    """The ids that Kafka gave the topics that the sinks read (topic -> id).

    Raises UnavailableError (no broker answers) and LayoutError (a topic is missing or has another partition count).
    """
    names = topic_names(settings)
    read = [names.events, names.metrics, names.rejected, names.merges]
    wanted = {spec.name: spec.partitions for spec in topic_specs(settings)}
    admin = _open(KafkaAdminClient, settings)
    try:
        described, until = _described(admin, read), time.monotonic() + _HEARD_S
        while len(described) < len(read) and time.monotonic() < until:
            time.sleep(_AGAIN_S)
            described = _described(admin, read)
    except KafkaError as error:
        raise _away(settings, error) from error
    finally:
        admin.close()
    ids = {}
    for name in read:
        topic = described.get(name)
        if topic is None:
            raise LayoutError(f"the topic {name} does not exist: create the topics with `footfall topics`")
        if len(topic["partitions"]) != wanted[name]:
            raise LayoutError(
                f"the topic {name} has {len(topic['partitions'])} partitions, the settings say {wanted[name]}: "
                "put kafka.partitions back, or choose a new kafka.topic_prefix and project.layout"
            )
        ids[name] = str(topic.get("topic_id") or "")
    return ids


def _described(admin: Any, names: Sequence[str]) -> dict[str, Any]:
    """What the broker says of those topics that it knows."""
    return {topic["name"]: topic for topic in admin.describe_topics(names) if not topic["error_code"]}


def group_consumer(settings: Settings, role: str, isolation: str) -> Any:
    """A consumer in the group `<prefix>-sink-<role>-<layout>`; the caller subscribes, seeks and commits.

    With the embedded engine there is one sinks' process, so it is a static member: one that was killed is replaced at once, and
    a second process somewhere else fences the first rather than share the partitions with it.
    """
    return _open(
        KafkaConsumer,
        settings,
        client_id=f"footfall-sink-{role}",
        group_id=f"{settings.kafka.topic_prefix}-sink-{role}-{settings.project.layout}",
        group_instance_id=None if settings.clickhouse.url else "embedded",
        session_timeout_ms=10_000,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=isolation,
        allow_auto_create_topics=False,
        max_partition_fetch_bytes=_FETCH_BYTES,
        max_poll_records=2000,
    )


def log_reader(settings: Settings, topic: str) -> Any:
    """A consumer without a group that reads the topic's committed records; partitions are assigned by the caller."""
    return _open(
        KafkaConsumer,
        settings,
        client_id=f"footfall-reader-{topic}",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        max_partition_fetch_bytes=_FETCH_BYTES,
        max_poll_records=10_000,
    )


def safe_producer(settings: Settings) -> Any:
    """A producer whose sends count only once all in-sync replicas have them."""
    return _open(
        KafkaProducer, settings, client_id="footfall-sink-rejected", acks="all", enable_idempotence=True, max_request_size=4 << 20
    )


def _open(client: Any, settings: Settings, **options: Any) -> Any:
    if not settings.kafka.servers():
        raise ConfigError("no Kafka broker is known: set kafka.bootstrap_servers, or start one with `footfall up`")
    try:
        return client(
            **kafka_options(settings.kafka), bootstrap_timeout_ms=BOOTSTRAP_MS, reconnect_backoff_max_ms=2000, **options
        )
    except KafkaError as error:
        raise _away(settings, error) from error


def _away(settings: Settings, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"no Kafka broker answers at {', '.join(settings.kafka.servers())}: start it, or correct kafka.bootstrap_servers "
        f"({type(error).__name__})"
    )
