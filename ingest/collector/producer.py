"""Shell: Kafka producers: how one is made, and how one is ended whatever state it is in."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)
from kafka.net.compat import KafkaNetClient

from ingest.contract.errors import ConfigError, LayoutError
from ingest.contract.settings import KafkaSettings, Settings, kafka_options
from ingest.contract.topics import topic_names

_CONNECT_S = 2.0
_BOOTSTRAP_MS = 5_000
_BATCH_BYTES = 512 * 1024
_MAX_REQUEST_BYTES = 4_000_000
_CLOSE_S = 3.0
_METADATA_MS = 3_000

#: Errors that say of a batch that it is larger than Kafka takes.
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
#: Errors that say of a record (or of the batch that it was in) that Kafka will never take it.
UNFIT = (InvalidRecordError, *TOO_LARGE)


def unreachable(kafka: KafkaSettings) -> str:
    """Why no bootstrap server takes a connection; "" when one does. A cheap look before a client is built."""
    why = ""
    for server in kafka.servers():
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
        except ValueError as error:
            raise ConfigError(f'kafka.bootstrap_servers has "{server}": expected host:port') from error
        except OSError as error:
            why = f"{server}: {error.strerror or error}"
        else:
            return ""
    return why


def open_producer(settings: Settings, client_id: str, *topics: str) -> Any:
    """A producer that has seen these topics; raises KafkaError, or LayoutError.

    It is idempotent, acknowledges with all in-sync replicas, and sends at once: who uses it gathers by itself.
    """
    clients: list[Any] = []

    def client(**options: Any) -> Any:
        clients.append(KafkaNetClient(**options))
        return clients[-1]

    ack_ms = settings.collector.ack_timeout_ms
    producer = None
    try:
        producer = KafkaProducer(
            **kafka_options(settings.kafka),
            client_id=client_id,
            kafka_client=client,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            batch_size=_BATCH_BYTES,
            max_request_size=_MAX_REQUEST_BYTES,
            request_timeout_ms=max(500, ack_ms // 2),
            delivery_timeout_ms=ack_ms,
            max_block_ms=_METADATA_MS,
            reconnect_backoff_max_ms=1000,
            bootstrap_timeout_ms=_BOOTSTRAP_MS,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        _check(producer, settings, topics)
    except BaseException:
        if producer is not None:
            discard(producer)
        else:
            for one in clients:  # nobody else knows of it: its sockets and thread would stay
                one.close()
        raise
    return producer


def _check(producer: Any, settings: Settings, topics: Sequence[str]) -> None:
    """The topics are there, and the events topic has the partitions that persons are assigned to."""
    wanted = settings.kafka.partitions
    for name in topics:
        try:
            found = len(producer.partitions_for(name))
        except KafkaTimeoutError as error:
            raise UnknownTopicOrPartitionError(f"the topic {name} is not there: make it with `footfall topics`") from error
        if name == topic_names(settings).events and found != wanted:
            raise LayoutError(
                f"the topic {name} has {found} partitions, the settings say {wanted}: put kafka.partitions back, or choose a "
                "new kafka.topic_prefix and project.layout"
            )


def discard(producer: Any) -> None:
    """Ends a producer whatever state it is in, without waiting for what it holds.

    Its own `close` first waits for all batches and gives up closing when they do not come.
    """
    with contextlib.suppress(Exception):
        producer._sender.force_close()
        producer._sender.join(_CLOSE_S)
        producer.close(timeout=0)
