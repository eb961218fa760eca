"""Shell: runs the collector until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable

from ingest.collector import background
from ingest.collector.door import Door
from ingest.collector.outlet import Outlet
from ingest.collector.server import Server
from ingest.collector.stats import Stats
from ingest.contract.errors import ConfigError, FootfallError
from ingest.contract.settings import Settings

log = logging.getLogger(__name__)

#: Open files besides connections: spool, Kafka, log, libraries.
_OTHER_FILES = 512


class Collector:
    """Server, outlet and door, started and stopped in order. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        if not settings.kafka.servers():
            raise ConfigError("kafka.bootstrap_servers is not set: set it, or let `footfall up` start a broker of its own")
        if not any(app.write_keys for app in settings.apps):
            raise ConfigError("no app has a write key, so no event could be taken: give apps.write_keys")
        self.failure: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.stats = Stats()
        self._outlet = Outlet(settings, self.stats, self._failed)
        self.server = Server(settings, self._outlet, self.stats)
        self.door = Door(settings.collector.host, settings.collector.metrics_port, self.stats.registry, self.server.why_not_ready)

    async def start(self) -> None:
        """Opens spool and ports, and connects to Kafka; until that is done, events go to the spool.

        Raises ConfigError (the spool) and UnavailableError (a port).
        """
        background.watch(asyncio.get_running_loop(), self._failed)
        self._outlet.open()
        try:
            await self.door.start()
            await self.server.start()
        except BaseException:
            await self.door.stop()
            await self._outlet.close()
            raise
        self._outlet.start()

    async def stop(self) -> None:
        """Answers what has been asked, makes safe what is in hand, and closes everything."""
        await self.server.stop()
        await self._outlet.stop()
        await self.door.stop()

    def _failed(self, error: FootfallError) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)


#: A batch makes hundreds of objects and no cycle: to look for some after every 700 is felt in each hundredth answer.
_GC_THRESHOLD = (50_000, 20, 100)

Reread = Callable[[], Settings]


def run(settings: Settings, reread: Reread | None = None) -> None:
    """Runs the collector until SIGTERM or SIGINT. On SIGHUP it takes over what `reread` gives: keys, limits, origins, the plan.

    Raises ConfigError, UnavailableError (a port is in use) and LayoutError (the events topic has other partitions; what is in
    the spool then waits there for settings that are right). While Kafka is away it runs on, with the spool.
    """
    allow_files(settings.collector.max_connections + _OTHER_FILES)
    gc.set_threshold(*_GC_THRESHOLD)
    gc.freeze()  # modules and settings are no garbage: nobody who waits for an answer need wait while they are looked at
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(settings, reread))


async def _run(settings: Settings, reread: Reread | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    collector = Collector(settings)
    await collector.start()
    if reread is not None and threading.current_thread() is threading.main_thread() and not os.isatty(0):
        # from a terminal, SIGHUP says that it was closed
        loop.add_signal_handler(signal.SIGHUP, _adopt, collector, reread)
    log.info("the collector listens on http://%s:%d", settings.collector.host, collector.server.port)
    waiting: asyncio.Future[object] = asyncio.ensure_future(stop.wait())
    await asyncio.wait([waiting, collector.failure], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await collector.stop()
    if collector.failure.done():
        collector.failure.result()
    log.info("the collector has stopped")


def allow_files(count: int) -> None:
    """Raises the limit of open files as far as it may be: each connection is one. Says so where that is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < count:
        log.warning(
            "at most %d files may be open here: set collector.max_connections below, or raise the limit (ulimit -n)", most
        )


def _adopt(collector: Collector, reread: Reread) -> None:
    try:
        collector.server.adopt(reread())
    except FootfallError as error:
        log.error("the settings were not taken over, the old ones hold: %s", error)
    else:
        log.info("keys, limits, origins, proxies and the plan are as the settings say now; all else needs a restart")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: measured, a tenth less CPU a request."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
