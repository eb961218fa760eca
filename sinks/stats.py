"""Shell: what the sinks' process knows of itself, for gauges and health: shared by its threads. Times come in as arguments."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping

from ingest.contract.plan import OTHER
from sinks.ages import Ages
from sinks.contract import tables
from sinks.snapshot import Snapshot


class Stats:
    """Counters and marks of the threads. Every method may be called from any thread.

    started: when the process began (ms): what it has not inserted since then is that old, at the most.
    apps: what may stand in the label `app`; tracked: and in the label `event` of each app. All else counts as "other", so that
    nobody outside decides how many series there are. What may come is there from the start, with 0: a counter that begins with
    its first event hides that event from `rate`.
    """

    def __init__(self, apps: frozenset[str], tracked: Mapping[str, Iterable[str]] | None = None, started: int = 0) -> None:
        self._apps = apps
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter(dict.fromkeys(sorted(apps), 0))
        names = {(app, event) for app, events in (tracked or {}).items() for event in (*events, OTHER)}
        self._names: Counter[tuple[str, str]] = Counter(dict.fromkeys(sorted(names), 0))
        self._last_event: dict[str, int] = {}
        self._last_total = 0
        self._lag: dict[str, dict[int, int]] = {}
        self._rows: Counter[str] = Counter()
        self._failed: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._last_insert: dict[str, int] = dict.fromkeys((tables.EVENTS, tables.METRICS), started) if started else {}
        self._caught_up = False
        self._waiting: dict[str, str] = {}
        self._gauge_freshness = Ages()
        self._row_freshness = {table: Ages() for table in (tables.EVENTS, tables.METRICS)}

    def events(self, by_app: Counter[str], newest: dict[str, int]) -> None:
        """Events that are in ClickHouse now, and the newest receipt of each app."""
        with self._lock:
            for app, count in by_app.items():
                self._events[self._label(app)] += count
            for app, received in newest.items():
                label = self._label(app)
                self._last_event[label] = max(received, self._last_event.get(label, 0))

    def names(self, by_name: Counter[tuple[str, str]]) -> None:
        """Events that are in ClickHouse now, by app and event name."""
        with self._lock:
            for (app, event), count in by_name.items():
                self._names[(app, event) if (app, event) in self._names else (self._label(app), OTHER)] += count

    def inserted(self, table: str, rows: int, now: int) -> None:
        """An insert that succeeded."""
        with self._lock:
            self._rows[table] += rows
            self._last_insert[table] = now

    def readable(self, table: str, receipts: Mapping[int, int], now: int) -> None:
        """What was received then (ms -> how many) can be asked for in a table."""
        with self._lock:
            for received, times in receipts.items():
                self._row_freshness[table].add(now - received, times)

    def failed(self, table: str, kind: str) -> None:
        """An insert that failed, and what was done then."""
        with self._lock:
            self._failed[table, kind] += 1

    def refused(self, table: str) -> None:
        """A row that ClickHouse would not take."""
        with self._lock:
            self._refused[table] += 1

    def skipped(self, table: str, lines: int) -> None:
        """Lines that are not valid."""
        with self._lock:
            self._skipped[table] += lines

    def lost(self, topic: str, records: int) -> None:
        """Records that were gone before they were read."""
        with self._lock:
            self._lost[topic] += records

    def lag(self, topic: str, by_partition: dict[int, int]) -> None:
        """Records between the log's end and what is stored, for the partitions that this process has."""
        with self._lock:
            self._lag[topic] = dict(by_partition)

    def total_seen(self, at: int) -> None:
        """A total that was computed at `at` was read."""
        with self._lock:
            self._last_total = max(self._last_total, at)

    def counted(self, receipts: Iterable[int], now: int) -> None:
        """The gauges count what was received then (ms)."""
        with self._lock:
            for received in receipts:
                self._gauge_freshness.add(now - received)

    def caught_up(self) -> None:
        """The exporter has read the metrics topic to its end."""
        with self._lock:
            self._caught_up = True

    def waiting(self, who: str, why: str) -> None:
        """`who` can't go on at the moment, because of `why`; "" when it goes on."""
        with self._lock:
            if why:
                self._waiting[who] = why
            else:
                self._waiting.pop(who, None)

    def snapshot(self) -> Snapshot:
        """All of it at this moment."""
        with self._lock:
            return Snapshot(
                events=dict(self._events),
                names=dict(self._names),
                last_event=dict(self._last_event),
                last_total=self._last_total,
                lag={topic: sum(lags.values()) for topic, lags in self._lag.items()},
                rows_inserted=dict(self._rows),
                inserts_failed=dict(self._failed),
                rows_refused=dict(self._refused),
                lines_skipped=dict(self._skipped),
                records_lost=dict(self._lost),
                last_insert=dict(self._last_insert),
                caught_up=self._caught_up,
                waiting=dict(self._waiting),
                gauge_freshness=self._gauge_freshness.distribution(),
                row_freshness={table: ages.distribution() for table, ages in self._row_freshness.items()},
            )

    def _label(self, app: str) -> str:
        return app if app in self._apps else OTHER
