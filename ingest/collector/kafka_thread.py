"""Shell: the thread that owns the Kafka producer. Frames in, acknowledgements out; nothing in it touches the event loop's time.

kafka-python's `send` may block while it waits for metadata, and a producer may end up in a state from which it does not recover:
both are this thread's affair.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)
from kafka.net.compat import KafkaNetClient

from ingest.collector.frames import Frame
from ingest.contract.errors import ConfigError, FootfallError, LayoutError
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import topic_names

log = logging.getLogger(__name__)

_CONNECT_S = 2.0
_BOOTSTRAP_MS = 5_000
_RETRY_S = 1.0
_SAY_AGAIN_S = 15.0
_BATCH_BYTES = 512 * 1024
_MAX_REQUEST_BYTES = 4_000_000
_CLOSE_S = 3.0
_METADATA_MS = 3_000

#: Errors that say of a record (or of the batch that it was in) that Kafka will never take it.
UNFIT = (InvalidRecordError, MessageSizeTooLargeError, RecordListTooLargeError)

Settled = Callable[[Frame, Exception | None], None]
_Task = list[Frame] | str | None
_RENEW = "renew"


class KafkaThread:
    """Sends frames from one thread. The callbacks run in other threads than the caller's:

    settled(frame, error)   acknowledged by all in-sync replicas (None), or the error that ended it
    reached()               connected, at first or anew: frames can be sent
    failed(error)           going on would be wrong (a topic is not what the plan says): the process must end
    """

    def __init__(
        self, settings: Settings, settled: Settled, reached: Callable[[], None], failed: Callable[[FootfallError], None]
    ) -> None:
        self._settings = settings
        self._names = topic_names(settings)
        self._settled = settled
        self._reached = reached
        self._failed = failed
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._renewing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka", daemon=True)

    def start(self) -> None:
        """Starts to connect."""
        self._thread.start()

    def send(self, frames: list[Frame]) -> None:
        """Sends frames, in this order."""
        self._tasks.put(frames)

    def renew(self) -> None:
        """Throws the producer away, with all that it holds, and connects anew.

        An idempotent producer that lost a batch may wait for ever, or count its batches in another way than the broker; nothing
        that a sender was told is safe hangs on it. Frames given before are not sent any more.
        """
        self._renewing.set()
        self._tasks.put(_RENEW)

    def stop(self, flush: bool, wait_s: float) -> None:
        """Sends what was given, waits for it if `flush`, and ends. Blocks for `wait_s` at most."""
        self._stopping.set()
        self._tasks.put(None if flush else _RENEW)
        self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            again = True
            while again and (producer := self._connect()) is not None:
                self._reached()
                again = self._serve(producer)
                discard(producer)
        except FootfallError as error:
            self._failed(error)
        except Exception as error:
            log.exception("the Kafka thread ended unforeseen")
            self._failed(FootfallError(f"the Kafka thread ended unforeseen: {type(error).__name__}"))

    def _connect(self) -> Any:
        """A producer, as soon as a broker is there; None when the collector stops before."""
        said = -_SAY_AGAIN_S
        while not self._stopping.is_set():
            why = self._unreachable()
            if not why:
                try:
                    return self._open()
                except KafkaError as error:
                    why = (str(error).splitlines() or [type(error).__name__])[0]
            if time.monotonic() - said > _SAY_AGAIN_S:
                said = time.monotonic()
                log.warning("waits for Kafka at %s: %s", ", ".join(self._settings.kafka.servers()), why)
            self._stopping.wait(_RETRY_S)
        return None

    def _unreachable(self) -> str:
        """Why no bootstrap server takes a connection; "" when one does. A cheap look before a client is built."""
        why = ""
        for server in self._settings.kafka.servers():
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

    def _open(self) -> Any:
        """A producer that has seen the topics; raises KafkaError, or LayoutError."""
        clients: list[Any] = []

        def client(**options: Any) -> Any:
            clients.append(KafkaNetClient(**options))
            return clients[-1]

        ack_ms = self._settings.collector.ack_timeout_ms
        producer = None
        try:
            producer = KafkaProducer(
                **kafka_options(self._settings.kafka),
                client_id="footfall-collector",
                kafka_client=client,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,  # the collector gathers by itself
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
            self._check(producer)
        except BaseException:
            if producer is not None:
                discard(producer)
            else:
                for one in clients:  # nobody else knows of it: its sockets and thread would stay
                    one.close()
            raise
        return producer

    def _check(self, producer: Any) -> None:
        """The topics are there, and the events topic has the partitions that persons are assigned to."""
        wanted = self._settings.kafka.partitions
        for name in (self._names.events, self._names.rejected):
            try:
                found = len(producer.partitions_for(name))
            except KafkaTimeoutError as error:
                raise UnknownTopicOrPartitionError(f"the topic {name} is not there: make it with `footfall topics`") from error
            if name == self._names.events and found != wanted:
                raise LayoutError(
                    f"the topic {name} has {found} partitions, the settings say {wanted}: put kafka.partitions back, or choose a "
                    "new kafka.topic_prefix and project.layout"
                )

    def _serve(self, producer: Any) -> bool:
        """Sends until the end (False), or until a new producer is asked for (True)."""
        while True:
            task = self._tasks.get()
            if task is None:
                with contextlib.suppress(KafkaError):
                    producer.flush(timeout=self._settings.collector.ack_timeout_ms / 1000)
                return False
            if isinstance(task, str):
                self._renewing.clear()
                return True
            for frame in task:
                if self._renewing.is_set():
                    break  # given up by now
                self._send(producer, frame)

    def _send(self, producer: Any, frame: Frame) -> None:
        try:
            future = producer.send(frame.topic, value=frame.value, partition=frame.partition)
        except Exception as error:
            self._settled(frame, error)
            return
        future.add_callback(lambda _: self._settled(frame, None))
        future.add_errback(lambda error: self._settled(frame, error))


def discard(producer: Any) -> None:
    """Ends a producer whatever state it is in, without waiting for what it holds.

    Its own `close` first waits for all batches and gives up closing when they do not come.
    """
    with contextlib.suppress(Exception):
        producer._sender.force_close()
        producer._sender.join(_CLOSE_S)
        producer.close(timeout=0)
