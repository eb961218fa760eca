"""Shell: fetches what the live table shows: numbers from the exporter, funnels from ClickHouse."""

from __future__ import annotations

import time
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from deploy.entry import entry
from deploy.up.funnel_sql import funnel_query
from deploy.up.numbers import FunnelLine, Row, Sample, funnel_line, relevant, rows
from deploy.up.parts import url
from ingest.contract.settings import Settings

FUNNELS_EVERY_S = 10.0
TIMEOUT_S = 3.0


def read_samples(page: str) -> list[Sample]:
    """The samples of an exporter's page."""
    return [Sample(one.name, one.labels, one.value) for family in text_string_to_metric_families(page) for one in family.samples]


def fetch(address: str) -> str:
    """A page of one of our own processes. Raises OSError when nobody answers."""
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310 (our own http address)
        return str(answer.read().decode())


class Source:
    """The numbers of now; the last known ones while somebody does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._page = url(settings.sinks.host, settings.sinks.port, "/metrics")
        self._rows = rows(settings, [])
        self._funnels: list[FunnelLine] = []
        self._client: Any = None
        self._funnels_at = -FUNNELS_EVERY_S
        self.problem = ""

    def rows(self) -> list[Row]:
        """One row per app and group."""
        try:
            self._rows = rows(self._settings, read_samples(relevant(fetch(self._page))))
            self.problem = ""
        except (OSError, ValueError) as error:
            self.problem = f"the exporter does not answer: {error}"
        return self._rows

    def funnels(self) -> list[FunnelLine]:
        """Every funnel of the plan, computed anew every few seconds."""
        if not self._settings.funnels or time.monotonic() - self._funnels_at < FUNNELS_EVERY_S:
            return self._funnels
        self._funnels_at = time.monotonic()
        try:
            if self._client is None:
                self._client = entry("sinks.clickhouse.reader:connect")(self._settings)
            lines = []
            for funnel in self._settings.funnels:
                query, parameters = funnel_query(self._settings, funnel, time.time_ns() // 1_000_000)
                levels = self._client.query(query, parameters=parameters).result_rows
                lines.append(funnel_line(funnel, [(int(level), int(count)) for level, count in levels]))
            self._funnels = lines
        except Exception as error:  # whatever the reader's libraries raise: the table goes on without funnels
            self._client = None
            self.problem = f"ClickHouse does not answer: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        return self._funnels
