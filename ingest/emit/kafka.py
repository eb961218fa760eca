"""Shell: the emitter that writes straight into Kafka, as a collector would."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from kafka.errors import KafkaError, KafkaTimeoutError

from ingest.collector.producer import UNFIT, discard, open_producer, unreachable
from ingest.collector.secret import read_key
from ingest.contract.errors import ConfigError, FootfallError, UnavailableError, WriteError
from ingest.contract.event import make_frame
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings, read_settings
from ingest.contract.topics import topic_names
from ingest.emit.base import BaseEmitter, EmitterOptions, Waiting
from ingest.emit.events import accept
from ingest.limits import MAX_FRAME_BYTES
from ingest.policy import policy_of
from ingest.protocols import Receipt

_ACK_EXTRA_S = 5.0


class Emitter(BaseEmitter):
    """Events of one app, written to the events topic: frames by the person's partition, acknowledged by all in-sync replicas.

    What the collector does to events (the tracking plan, privacy) is done here too, by the same rules; nobody after it can tell
    which way an event came. Only what is no event, or against a plan that rejects, is told to the caller instead of being kept.
    """

    def __init__(self, settings: Settings, app: str, options: EmitterOptions | None = None) -> None:
        """`settings` are those of the pipeline, with kafka.bootstrap_servers. Raises ConfigError."""
        super().__init__(options or EmitterOptions())
        if app not in {one.id for one in settings.apps}:
            raise ConfigError(f'no app of the plan has the id "{app}"')
        if not settings.kafka.servers():
            raise ConfigError("kafka.bootstrap_servers is not set: an emitter needs to know where Kafka is")
        self._settings = settings
        self._app = app
        self._topic = topic_names(settings).events
        secret = read_key(settings.privacy) if settings.privacy.in_force else b""
        policy = policy_of(settings, os.urandom(16), secret)
        self._receipt = Receipt(0, policy.keys, policy.limits, rules=policy.rules)
        self._producer: Any = None

    @classmethod
    def from_toml(cls, path: str | Path, app: str, options: EmitterOptions | None = None) -> Self:
        """An emitter with the settings of a footfall.toml. Raises ConfigError."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        return cls(read_settings(text, os.environ, str(path)), app, options)

    def _prepare(self, raw: bytes) -> tuple[str, bytes]:
        found = accept(raw, self._app, self._receipt._replace(received=time.time_ns() // 1_000_000))
        return found.person, found.line

    def _deliver(self, batch: Sequence[Waiting], until: float) -> list[FootfallError | None]:
        producer = self._connected()
        outcome: dict[int, FootfallError | None] = {}
        until = min(until, time.monotonic() + self._settings.collector.ack_timeout_ms / 1000 + _ACK_EXTRA_S)
        sent = [(frame, self._send(producer, number, frame, until)) for number, frame in self._frames(batch)]
        for frame, future in sent:
            found = _acknowledged(future, until)
            for waiting in frame:
                outcome[waiting.number] = found
        if any(outcome.values()):  # a producer that lost a batch may not recover; sent again, the ids are the same
            self._release()
        # What Kafka never takes is one event's fault; the error is told of all that went with it, and of what came behind.
        suspects = [waiting for waiting in batch if isinstance(outcome[waiting.number], WriteError)] if len(batch) > 1 else []
        for waiting in suspects:
            outcome[waiting.number] = self._alone(waiting, until)
        return [outcome[waiting.number] for waiting in batch]

    def _alone(self, waiting: Waiting, until: float) -> FootfallError | None:
        """Sends one event by itself."""
        try:
            producer = self._connected()
        except FootfallError as error:
            return error
        number = partition_of(waiting.person, self._settings.kafka.partitions)
        found = _acknowledged(self._send(producer, number, [waiting], until), until)
        if found is not None:
            self._release()
        return found

    def _frames(self, batch: Sequence[Waiting]) -> list[tuple[int, list[Waiting]]]:
        """The batch by partitions, in frames that are not too long."""
        frames: list[tuple[int, list[Waiting]]] = []
        open_frames: dict[int, tuple[list[Waiting], int]] = {}
        for waiting in batch:
            number = partition_of(waiting.person, self._settings.kafka.partitions)
            lines, size = open_frames.get(number, ([], 0))
            if not lines or size + len(waiting.body) > MAX_FRAME_BYTES:
                lines, size = [], 0
                frames.append((number, lines))
            lines.append(waiting)
            open_frames[number] = (lines, size + len(waiting.body) + 1)
        return frames

    def _send(self, producer: Any, partition: int, frame: Sequence[Waiting], until: float) -> Any:
        if time.monotonic() >= until:  # a send may wait for metadata
            return KafkaTimeoutError("no time was left to send it")
        try:
            return producer.send(self._topic, value=make_frame(one.body for one in frame), partition=partition)
        except Exception as error:
            return error

    def _connected(self) -> Any:
        """The producer. Raises UnavailableError, LayoutError, ConfigError."""
        if self._producer is None:
            why = unreachable(self._settings.kafka)
            if why:
                raise UnavailableError(f"Kafka is away: {why}")
            try:
                self._producer = open_producer(self._settings, "footfall-emitter", self._topic)
            except KafkaError as error:
                raise UnavailableError(f"Kafka is away: {_first_line(error)}") from error
            except RuntimeError as error:  # Python 3.12.0 and 3.12.1 start no thread while the process ends
                raise FootfallError(f"no Kafka client can be made: {_first_line(error)}") from error
            self._hold_exit()  # a producer closes itself at the end of the process: ours comes first
        return self._producer

    def _interrupt(self) -> None:
        producer = self._producer
        if producer is not None:
            producer._sender.force_close()  # it aborts what it holds; our thread, which waits for that, then discards it

    def _release(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            discard(producer)


def _acknowledged(future: Any, until: float) -> FootfallError | None:
    """Waits for what `_send` gave."""
    try:
        if isinstance(future, Exception):
            raise future
        future.get(timeout=max(0.0, until - time.monotonic()))
    except Exception as error:
        return _outcome(error)
    return None


def _outcome(error: Exception) -> FootfallError:
    if isinstance(error, UNFIT):
        return WriteError(f"Kafka refuses the event: {_first_line(error)}")
    return UnavailableError(f"Kafka does not acknowledge: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
