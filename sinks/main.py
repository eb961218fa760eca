"""Shell: the sinks' process: the sinks into ClickHouse, the Prometheus exporter, the reader's door, console and API,
health and metrics.

Every part has a thread. A part that ends by an error ends the process: it never goes on with a part missing. Gauges do not pass
through ClickHouse: they are there while a server is waited for, at the start too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import FrameType

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ingest.contract.errors import FootfallError, UnavailableError
from ingest.contract.settings import Settings
from sinks.api.readers import Readers
from sinks.clickhouse.errors import backoff
from sinks.clickhouse.kinds import kinds
from sinks.clickhouse.migrate import migrate as migrate_schema
from sinks.clickhouse.sink import Sink
from sinks.clickhouse.store import Store, open_store
from sinks.console.opening import open_console
from sinks.console.server import Console
from sinks.contract.tracked import tracked_events
from sinks.door import Door, Reply, text
from sinks.front.opening import open_front, withdraw
from sinks.front.server import Front
from sinks.kafka import check_topics
from sinks.prometheus.exporter import Exporter
from sinks.prometheus.exposition import Exposition
from sinks.prometheus.verified import last_verified
from sinks.stats import Stats

log = logging.getLogger(__name__)

_EXIT_UNFORESEEN = 70
#: Who waits until the store is open.
_CLICKHOUSE = "clickhouse"
_STOP_S = 20.0
#: For somebody who is just reading from the embedded engine.
_PATIENCE_S = 5.0


def migrate(settings: Settings) -> list[str]:
    """Brings ClickHouse's schema up to date and returns what was applied. Raises FootfallError, in one line."""
    store = open_store(settings, _PATIENCE_S)
    try:
        return _migrate(store, settings)
    finally:
        store.close()


def run(settings: Settings) -> None:
    """Runs the sinks until SIGTERM or SIGINT.

    Raises FootfallError when it can't start (port in use, store in use, Kafka away, wrong topics or password), or when a part met
    what can't be waited out; a ClickHouse server that is away is waited for. Anything unforeseen ends the process with 70.
    """
    stop = threading.Event()
    stats = Stats(frozenset(app.id for app in settings.apps), tracked_events(settings), started=int(time.time() * 1000))
    exporter = Exporter(settings, stats, stop)
    parts = _Parts(stop)
    stats.waiting(_CLICKHOUSE, "it is being opened")
    with Door(settings.sinks.host, settings.sinks.port, routes(settings, exporter, stats, stop)) as door, _signals(stop):
        topic_ids = check_topics(settings)
        parts.start("door", door.serve_forever)
        parts.start("exporter", exporter.run)
        log.info("gauges are up: http://%s:%d/metrics", settings.sinks.host, door.port)
        store: Store | None = None
        try:
            store = _open_when_there(settings, stats, stop)
            if store is not None:
                _store_and_show(settings, store, topic_ids, door, exporter, stats, parts, stop)
        finally:
            stop.set()
            _stop(parts, [door])
            if store is not None:
                store.close()
        parts.raise_failure()


def _open_when_there(settings: Settings, stats: Stats, stop: threading.Event) -> Store | None:
    """The store with its schema up to date. A server that is away is waited for; None when the process is to stop meanwhile.

    Raises FootfallError for what waiting does not mend; an embedded engine that cannot be opened is no server that comes back.
    """
    attempt = 0
    while True:
        attempt += 1
        store: Store | None = None
        try:
            store = open_store(settings, _PATIENCE_S)
            _migrate(store, settings)
        except BaseException as error:
            if store is not None:
                store.close()
            if not settings.clickhouse.url or not isinstance(error, UnavailableError):
                raise
            log.warning("waits for ClickHouse: %s", error)
            stats.waiting(_CLICKHOUSE, str(error))
            if stop.wait(backoff(attempt, random.random())):
                return None
        else:
            return store


def _store_and_show(
    settings: Settings,
    store: Store,
    topic_ids: Mapping[str, str],
    door: Door,
    exporter: Exporter,
    stats: Stats,
    parts: _Parts,
    stop: threading.Event,
) -> None:
    """The sinks into ClickHouse and all that reads from it, until stop; when it returns, nobody uses the store any more."""
    front = open_front(settings, store) if store.embedded else None
    console: Console | None = None
    readers: Readers | None = None
    try:
        console, readers = open_console(settings, store, exporter, stats)
        if front is not None:
            parts.start("front", front.serve_forever)
        parts.start("console", console.serve_forever)
        for kind in kinds(settings):
            stats.waiting(kind.role, "starting")
            parts.start(f"sink-{kind.role}", Sink(kind, topic_ids[kind.topic], settings, store, stats, stop).run)
        stats.waiting(_CLICKHOUSE, "")
        log.info("sinks are up")
        stop.wait()
        _stop(parts, [door, console, *([front] if front is not None else [])])
    finally:
        if console is not None:
            console.server_close()
        if readers is not None:
            readers.close()
        if front is not None:
            withdraw(settings)
            front.server_close()


def routes(
    settings: Settings, exporter: Exporter, stats: Stats, stop: threading.Event
) -> dict[str, Callable[[str, Mapping[str, str]], Reply]]:
    """What the door answers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Exposition(exporter.numbers, stats.snapshot, partial(last_verified, settings)))

    def live(_query: str, _headers: Mapping[str, str]) -> Reply:
        return text(200, "live")

    def ready(_query: str, _headers: Mapping[str, str]) -> Reply:
        snapshot = stats.snapshot()
        if stop.is_set():
            return text(503, "stopping")
        if not snapshot.caught_up:
            return text(503, "the exporter has not read the metrics topic to its end yet")
        if snapshot.waiting:
            return text(503, "\n".join(f"sink {who} waits: {why}" for who, why in sorted(snapshot.waiting.items())))
        return text(200, "ready")

    def metrics(_query: str, headers: Mapping[str, str]) -> Reply:
        encoder, content_type = choose_encoder(headers.get("Accept", ""))
        return Reply(200, content_type, encoder(registry))

    return {"/health/live": live, "/health/ready": ready, "/metrics": metrics}


class _Parts:
    """The threads, and what ended them."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._threads: list[threading.Thread] = []
        self._failures: list[tuple[str, BaseException]] = []

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Starts a part; however it ends, the others are told to stop."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                log.error("%s ended: %s: %s", name, type(error).__name__, error)
                self._failures.append((name, error))
            finally:
                self._stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, seconds: float) -> list[str]:
        """Waits for all; returns the names of those that still run."""
        each = seconds / max(1, len(self._threads))
        for thread in self._threads:
            thread.join(each)
        return [thread.name for thread in self._threads if thread.is_alive()]

    def raise_failure(self) -> None:
        """Raises what ended the first part that failed; ends the process with 70 where nobody foresaw it."""
        for name, error in self._failures:
            if not isinstance(error, FootfallError):
                log.critical("%s ended unforeseen", name, exc_info=error)
                logging.shutdown()
                os._exit(_EXIT_UNFORESEEN)
        if self._failures:
            raise self._failures[0][1]


def _stop(parts: _Parts, servers: Sequence[Door | Console | Front]) -> None:
    for server in servers:
        server.shutdown()
    hanging = parts.join(_STOP_S)
    if hanging:
        # Nothing is lost: what was not committed is read again.
        log.critical("these parts do not stop: %s", ", ".join(hanging))
        logging.shutdown()
        os._exit(_EXIT_UNFORESEEN)


def _migrate(store: Store, settings: Settings) -> list[str]:
    client = store.client()
    try:
        return migrate_schema(client, settings)
    finally:
        client.close()


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set the event, in the main thread (elsewhere signals are somebody else's)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
