"""Shell: the thread that owns the Kafka producer. Frames in, acknowledgements out; nothing in it touches the event loop's time.

kafka-python's `send` may block while it waits for metadata, and a producer may end up in a state from which it does not recover:
both are this thread's affair.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from kafka.errors import KafkaError

from ingest.collector.frames import Frame
from ingest.collector.producer import TOO_LARGE, discard, open_producer, unreachable
from ingest.contract.errors import FootfallError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_SAY_AGAIN_S = 15.0

Settled = Callable[[Frame, Exception | None], None]
#: Frames, and of how many renewals they know.
_Task = tuple[int, list[Frame]] | str | None
_RENEW = "renew"
_STOP = "stop"
#: Between two producers: what refuses one may refuse the next.
_RENEW_S = 0.5


class TooLargeError(Exception):
    """Kafka refused this very frame for its size, and always will."""


class KafkaThread:
    """Sends frames from one thread. The callbacks run in other threads than the caller's:

    settled(frame, error)   acknowledged by all in-sync replicas (None), or the error that ended it: TooLargeError, or one that
                            says nothing of the frame. After any error the producer is good for nothing: have it renewed
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
        self._renewals = 0
        self._thread = threading.Thread(target=self._run, name="kafka", daemon=True)

    def start(self) -> None:
        """Starts to connect."""
        self._thread.start()

    def send(self, frames: list[Frame]) -> None:
        """Sends frames, in this order."""
        self._tasks.put((self._renewals, frames))

    def renew(self) -> None:
        """Throws the producer away, with all that it holds, and connects anew.

        An idempotent producer that lost a batch may wait for ever, or count its batches in another way than the broker; nothing
        that a sender was told is safe hangs on it. Frames given before are not sent any more.
        """
        self._renewals += 1
        self._tasks.put(_RENEW)

    def stop(self, flush: bool, wait_s: float) -> None:
        """Sends what was given, waits for it if `flush`, and ends. Blocks for `wait_s` at most."""
        self._stopping.set()
        if not flush:
            self._renewals += 1
        self._tasks.put(None if flush else _STOP)
        self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            again = True
            while again and (producer := self._connect()) is not None:
                begun, life = time.monotonic(), _Life(producer, self._renewals)
                self._reached()
                again = self._serve(life)
                discard(producer)
                if again:
                    self._stopping.wait(begun + _RENEW_S - time.monotonic())
        except FootfallError as error:
            self._failed(error)
        except Exception as error:
            log.exception("the Kafka thread ended unforeseen")
            self._failed(FootfallError(f"the Kafka thread ended unforeseen: {type(error).__name__}"))

    def _connect(self) -> Any:
        """A producer, as soon as a broker is there; None when the collector stops before."""
        said = -_SAY_AGAIN_S
        while not self._stopping.is_set():
            why = unreachable(self._settings.kafka)
            if not why:
                try:
                    return open_producer(self._settings, "footfall-collector", self._names.events, self._names.rejected)
                except KafkaError as error:
                    why = (str(error).splitlines() or [type(error).__name__])[0]
            if time.monotonic() - said > _SAY_AGAIN_S:
                said = time.monotonic()
                log.warning("waits for Kafka at %s: %s", ", ".join(self._settings.kafka.servers()), why)
            self._stopping.wait(_RETRY_S)
        return None

    def _serve(self, life: _Life) -> bool:
        """Sends until the end (False), or until a new producer is asked for (True)."""
        while True:
            task = self._tasks.get()
            if task is None:
                with contextlib.suppress(KafkaError):
                    life.producer.flush(timeout=self._settings.collector.ack_timeout_ms / 1000)
                return False
            if task == _STOP:
                return False
            if isinstance(task, str):
                if life.renewals < self._renewals:
                    return True
                continue  # asked for before this one was made
            renewals, frames = task
            for frame in frames:
                if renewals < self._renewals:
                    break  # given up by now
                self._send(life, frame)

    def _send(self, life: _Life, frame: Frame) -> None:
        sent = time.monotonic()
        try:
            future = life.producer.send(frame.topic, value=frame.value, partition=frame.partition)
        except Exception as error:
            self._ended(life, frame, sent, error)
            return
        future.add_callback(lambda _: self._settled(frame, None))
        future.add_errback(lambda error: self._ended(life, frame, sent, error))

    def _ended(self, life: _Life, frame: Frame, sent: float, error: Exception) -> None:
        """A record that is too large ends an idempotent producer of kafka-python for good, and all that is in it, innocent or
        not, gets the same error afterwards. The first one is the culprit; it was alone in its batch, because kafka-python takes
        a batch apart that is refused for its size, unless the time for it is up.
        """
        first, life.ended = not life.ended, True
        in_time = time.monotonic() - sent < self._settings.collector.ack_timeout_ms / 2000
        if first and in_time and isinstance(error, TOO_LARGE):
            error = TooLargeError(f"{frame.topic} takes no record of {len(frame.value):,} bytes: raise its max.message.bytes")
        self._settled(frame, error)


class _Life:
    """A producer: of how many renewals it knows, and whether any of its frames has failed."""

    __slots__ = ("ended", "producer", "renewals")

    def __init__(self, producer: Any, renewals: int) -> None:
        self.producer = producer
        self.renewals = renewals
        self.ended = False
