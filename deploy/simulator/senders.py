"""Shell: the two ways to send: HTTP to the collector as an SDK would, or frames straight into Kafka.

Both journal a batch before it is sent and after it is safe, and repeat what failed, with the same event ids.
"""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from deploy.simulator.journal import Journal, Sent, sent
from deploy.simulator.options import Options, Summary
from deploy.simulator.traffic import SimEvent, line, native
from ingest.contract.errors import ConfigError, UnavailableError, WriteError
from ingest.contract.event import make_frame
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import topic_names

#: What an event is sent with: the time of its receipt (ms; 0 where the collector decides), and the event.
Arrival = tuple[int, SimEvent]
_TIMEOUT_S = 30.0
_MAX_PAUSE_S = 2.0
_BROKER_WAIT_S = 10.0


def now_ms() -> int:
    """The clock, in ms."""
    return time.time_ns() // 1_000_000


class Sender(Protocol):
    """Takes events in order; `flush` sends what is gathered, `close` also waits until all is safe.

    A failure for good is raised by the next call.
    """

    def add(self, arrival: Arrival) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class HttpSender:
    """Posts batches of one app's events to the native endpoint over connections that stay open.

    Raises ConfigError when the collector refuses the write key or the events, UnavailableError when it does not answer for
    `patience_s`.
    """

    def __init__(self, settings: Settings, options: Options, journal: Journal, summary: Summary, stop: threading.Event) -> None:
        host = f"[{settings.collector.host}]" if ":" in settings.collector.host else settings.collector.host
        url = urlsplit(options.url or f"http://{host}:{settings.collector.port}")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError(f'"{options.url}" is no address of a collector: give one like http://127.0.0.1:8090')
        self._https = url.scheme == "https"
        self._host, self._port = url.hostname, url.port
        self._path = f"{url.path.rstrip('/')}/v1/events"
        self._keys: dict[str, str] = {}
        for app in settings.apps:
            if not app.write_keys:
                raise ConfigError(f'app "{app.id}" has no write key: the collector would refuse its events')
            self._keys[app.id] = app.write_keys[0]
        self._options = options
        self._journal = journal
        self._summary = summary
        self._stop = stop
        self._lock = threading.Lock()
        self._buffers: dict[str, list[SimEvent]] = {app.id: [] for app in settings.apps}
        self._pool = ThreadPoolExecutor(options.connections, thread_name_prefix="simulate")
        self._slots = threading.Semaphore(2 * options.connections)
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self._failure: BaseException | None = None

    def add(self, arrival: Arrival) -> None:
        """Takes an event; sends its app's batch when it is full."""
        event = arrival[1]
        buffer = self._buffers[event.app]
        buffer.append(event)
        if len(buffer) >= self._options.batch:
            self._submit(event.app)

    def flush(self) -> None:
        """Sends what there is."""
        for app, buffer in self._buffers.items():
            if buffer:
                self._submit(app)

    def close(self) -> None:
        """Sends the rest and waits for the answers."""
        try:
            if self._failure is None and not self._stop.is_set():
                self.flush()
        finally:
            self._pool.shutdown(wait=True)
            for connection in self._connections:
                connection.close()
        if self._failure is not None:
            raise self._failure

    def _submit(self, app: str) -> None:
        if self._failure is not None:
            raise self._failure
        events, self._buffers[app] = self._buffers[app], []
        self._slots.acquire()
        self._pool.submit(self._send, app, events).add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        self._slots.release()
        error = future.exception()
        if error is not None and self._failure is None:
            self._failure = error

    def _send(self, app: str, events: list[SimEvent]) -> None:
        body = orjson.dumps([native(event) for event in events])
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._keys[app]}"}
        if self._options.gzip:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        with self._lock:
            self._summary.sent += len(events)
        number = self._journal.send([sent(event, 0) for event in events], now_ms())
        self._post_until_safe(body, headers, len(events))
        self._journal.acked(number, now_ms())
        with self._lock:
            self._summary.acked += len(events)

    def _post_until_safe(self, body: bytes, headers: dict[str, str], count: int) -> None:
        """Returns when the collector has answered 200. Stops early, with UnavailableError, when the run is to end."""
        until = time.monotonic() + self._options.patience_s
        pause = 0.05
        while True:
            why = ""
            try:
                status, answer = self._post(body, headers)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                status, answer, why = 0, b"", str(error) or type(error).__name__
            if status == 200:
                _check_answer(answer, count)
                return
            if status and status not in (408, 429, 500, 502, 503, 504):
                raise ConfigError(f"the collector refuses the events: {status} {answer[:200].decode(errors='replace')}")
            if time.monotonic() >= until or self._stop.wait(pause):
                raise UnavailableError(
                    f"the collector at {self._host}:{self._port} does not take events ({why or f'status {status}'}): "
                    "start `footfall up` or `footfall collector`"
                )
            with self._lock:
                self._summary.retries += 1
            pause = min(_MAX_PAUSE_S, pause * 2)

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
            connection = self._local.connection = kind(self._host, self._port, timeout=_TIMEOUT_S)
            with self._lock:
                self._connections.append(connection)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.request("POST", self._path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _drop(self) -> None:
        """Closes this thread's connection: after a failure nobody knows what is still to come on it."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            connection.close()
            with self._lock:
                self._connections.remove(connection)


def _check_answer(answer: bytes, count: int) -> None:
    """A 200 means that all is safe, but events may have been set aside as bad: then the truth would be wrong."""
    try:
        said = json.loads(answer)
    except ValueError:
        return
    if isinstance(said, dict) and said.get("rejected"):
        raise WriteError(f"the collector set aside {said['rejected']} of {count} simulated events: look into the rejected topic")


class KafkaSender:
    """Writes frames into the events topic, each event in its person's partition.

    Raises UnavailableError, LayoutError (the topics are missing or other than the settings say), WriteError.
    """

    #: Events on their way before the sender waits for acknowledgements.
    _IN_FLIGHT = 20_000
    #: Receipts that go into Kafka side by side: it must have them before later ones, in whatever partition.
    _STRIDE_MS = 2 * 3_600_000

    def __init__(self, settings: Settings, options: Options, journal: Journal, summary: Summary) -> None:
        # Kafka's client takes half a second to import: not for those who send over HTTP.
        from kafka import KafkaProducer
        from kafka.errors import KafkaError

        from deploy.kafka.topics import check_topics

        if not settings.kafka.servers():
            raise ConfigError("kafka.bootstrap_servers is not set: start `footfall up`, or send over HTTP")
        # Also because a producer that finds no broker, or no topic, waits long and leaves its threads behind.
        check_topics(settings, min(_BROKER_WAIT_S, max(1.0, options.patience_s)))
        self._kafka_error: type[Exception] = KafkaError
        try:
            self._producer: Any = KafkaProducer(
                **kafka_options(settings.kafka),
                acks="all",
                linger_ms=5,
                max_request_size=4_000_000,
                delivery_timeout_ms=max(31_000, int(options.patience_s * 1000)),
                request_timeout_ms=30_000,
            )
        except KafkaError as error:
            raise UnavailableError(
                f"no Kafka broker answers at {settings.kafka.bootstrap_servers}: start `footfall up`, or mend [kafka]"
            ) from error
        self._topic = topic_names(settings).events
        self._partitions = settings.kafka.partitions
        self._options = options
        self._journal = journal
        self._summary = summary
        self._lines: dict[int, list[bytes]] = {}
        self._batch: list[Sent] = []
        self._waiting: list[tuple[int, int, list[Any]]] = []
        self._in_flight = 0
        self._stride = 0

    def add(self, arrival: Arrival) -> None:
        """Takes an event; sends when a batch for each partition has come together, and what belongs together."""
        received, event = arrival
        if received >= self._stride:
            self.flush()
            self._wait_for(0)
            self._stride = received + self._STRIDE_MS
        self._lines.setdefault(partition_of(event.person, self._partitions), []).append(line(event, received))
        self._batch.append(sent(event, received))
        if len(self._batch) >= self._options.batch * self._partitions:
            self.flush()

    def flush(self) -> None:
        """Sends what there is, as frames; waits while too much is on its way."""
        if self._batch:
            number = self._journal.send(self._batch, now_ms())
            count = len(self._batch)
            futures = []
            try:
                for partition, lines in self._lines.items():
                    for at in range(0, len(lines), self._options.batch):
                        frame = make_frame(lines[at : at + self._options.batch])
                        futures.append(self._producer.send(self._topic, value=frame, partition=partition))
            except self._kafka_error as error:
                raise UnavailableError(f"Kafka does not take events: {error}") from error
            self._summary.sent += count
            self._in_flight += count
            self._waiting.append((number, count, futures))
            self._batch, self._lines = [], {}
        self._wait_for(self._IN_FLIGHT)

    def close(self) -> None:
        """Sends the rest and waits until Kafka has it all."""
        try:
            self.flush()
            self._producer.flush(timeout=self._options.patience_s)
            self._wait_for(0)
        finally:
            self._producer.close(timeout=10)

    def _wait_for(self, most: int) -> None:
        """Waits until no more than that many events are on their way."""
        while self._in_flight > most:
            self._wait()

    def _wait(self) -> None:
        number, count, futures = self._waiting.pop(0)
        for future in futures:
            try:
                future.get(timeout=self._options.patience_s)
            except self._kafka_error as error:
                raise WriteError(f"Kafka refused a frame: {error}") from error
        self._in_flight -= count
        self._journal.acked(number, now_ms())
        self._summary.acked += count
