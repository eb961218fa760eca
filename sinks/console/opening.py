"""Shell: opens the console's door in the sinks' process."""

from __future__ import annotations

import logging

from ingest.contract.settings import Settings
from sinks.api.readers import Readers
from sinks.api.service import Service
from sinks.clickhouse.store import Store
from sinks.console.server import Console
from sinks.prometheus.exporter import Exporter
from sinks.stats import Stats

log = logging.getLogger(__name__)


def open_console(settings: Settings, store: Store, exporter: Exporter, stats: Stats) -> tuple[Console, Readers]:
    """The console on sinks.console_host:console_port, and its ClickHouse clients, to be closed after it.

    Raises UnavailableError when the port is in use.
    """
    readers = Readers(store.client)
    service = Service(settings, readers, exporter.numbers, stats.snapshot)
    console = Console(settings.sinks.console_host, settings.sinks.console_port, service, settings.sinks.console_token)
    log.info("the console is at http://%s:%d", settings.sinks.console_host, console.port)
    return console, readers
