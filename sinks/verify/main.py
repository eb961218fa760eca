"""Shell: `footfall verify`: reads both ways' numbers from ClickHouse, compares them, and tells."""

from __future__ import annotations

import gzip
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.contract.errors import ConfigError, UnavailableError
from ingest.contract.plan import Plan
from ingest.contract.settings import Settings
from sinks.clickhouse.reader import connect
from sinks.verify import now as active_now
from sinks.verify.closed import Slack, closes, slack_checks, unexplained
from sinks.verify.covered import Cut, Family, begun_later, changed_note, family, first_window, later_note, raw_note
from sinks.verify.drained import wait_until_drained
from sinks.verify.rejections import counted, forgotten_note
from sinks.verify.report import Bounds, Difference, Report, closed_only, compare
from sinks.verify.source import Source
from sinks.verify.sql import METRICS, checks, name, text
from sinks.verify.truth_file import begun, read_truth
from streams.contract.total import TotalKey

#: With traffic under way, only windows that ended that long ago are compared.
MARGIN_MS = 15 * 60_000
#: How a report begins to say that it did not look at the truth.
TRUTH_LEFT_OUT = "the truth is left out"
_DAY_MS = 86_400_000
#: Statements look at that many events at a time at most (of whole persons): some of them sort what they look at in memory.
EVENTS_AT_ONCE = 20_000_000


def verify(settings: Settings, truth: Path | None = None, wait: float = 30.0, now: int | None = None) -> Report:
    """Compares every number that is in the stream's totals, in SQL over the raw events, or in the truth.

    truth: numbers of a simulator (JSON lines, `deploy.simulator.main:truth_numbers`), or None for a two-way comparison.
    wait: seconds to wait at most for the pipeline to come to rest; without kafka.bootstrap_servers there is no waiting. If
    traffic goes on, only windows that have ended are compared, and the report says so.
    now: ms; windows that begin later are no windows yet. Raises UnavailableError and ConfigError.
    """
    began = time.monotonic()
    notes: list[str] = []
    busy = ""
    if settings.kafka.servers():
        busy = wait_until_drained(settings, wait)
    else:
        notes.append("no Kafka to look at: compared without waiting for the pipeline to come to rest")
    client = connect(settings)
    try:
        report = verify_tables(client, settings, truth, busy, now if now is not None else time.time_ns() // 1_000_000)
    except ClickHouseError as error:
        raise UnavailableError(
            f"ClickHouse could not work out the numbers: {str(error).strip().splitlines()[0][:300]}"
        ) from error
    finally:
        client.close()
    report.notes = [*notes, *report.notes]
    report.seconds = time.monotonic() - began
    return report


def verify_tables(client: Any, settings: Settings, truth: Path | None, busy: str, now: int) -> Report:
    """The comparison alone, with a clickhouse-connect client. busy: in words what is still under way, or ""."""
    began = time.monotonic()
    report = Report()
    at = now
    expected: dict[TotalKey, Bounds] | None = None
    if truth is not None:
        at, expected = read_truth(_lines(truth), str(truth))
    database = settings.clickhouse.database
    stream = stream_numbers(client, database, settings.project.layout)
    unknown = Counter(key.metric for key in stream if key.metric not in METRICS)
    if unknown:
        stream = {key: value for key, value in stream.items() if key.metric in METRICS}
        words = ", ".join(f"{metric} ({count:,})" for metric, count in sorted(unknown.items()))
        report.notes.append(f"not compared, there is no SQL for them yet: {words}")
    sql = sql_numbers(client, settings, database, now)
    if busy:
        before = now - MARGIN_MS
        stream, sql = closed_only(stream.items(), before), closed_only(sql.items(), before)
        report.notes.append(f"{busy}: only windows that have ended are compared")
    if expected is not None:
        if busy:
            expected = None
            report.notes.append(f"{TRUTH_LEFT_OUT} for the same reason")
        else:
            stream = {key: value for key, value in stream.items() if begun(settings, key, at)}
            sql = {key: value for key, value in sql.items() if begun(settings, key, at)}
            expected = {key: value for key, value in expected.items() if begun(settings, key, now)}
    cut = Cut()
    first, left = first_window(stream), now - settings.clickhouse.events_ttl_days * _DAY_MS
    if first is not None and first < left:
        cut = Cut(everywhere=left)
        report.notes.append(raw_note(left))
    numbers = _Numbers(stream, sql, expected)
    report.compared, differences = numbers.compare(cut)
    if differences:
        later = begun_later(settings, stream, sql, _told_first(client, settings, database), now)
        if later:
            cut = cut._replace(later=later)
            report.notes.append(later_note(later, stream))
            report.compared, differences = numbers.compare(cut)
    if differences:
        differences, note = _still_open(client, settings, differences, cut, expected, now)
        report.notes += filter(None, [note])
    if differences:
        notes = changed_note(differences, numbers.keys(cut)), forgotten_note(client, settings, database, now)
        report.notes += filter(None, notes)
    if not busy:
        passed = int((time.monotonic() - began) * 1000)
        compared, more = active_now.compare_now(client, settings, database, now + passed)
        report.compared |= compared
        differences += more
    report.different = len(differences)
    report.differences = differences
    report.events = _events(client, database)
    return report


class _Numbers(NamedTuple):
    """All three ways' numbers."""

    stream: dict[TotalKey, int]
    sql: dict[TotalKey, int]
    truth: dict[TotalKey, Bounds] | None

    def compare(self, cut: Cut) -> tuple[dict[tuple[str, str], int], list[Difference]]:
        """As `sinks.verify.report.compare`, of what the cut leaves."""
        truth = None if self.truth is None else cut.bounds(self.truth)
        return compare(cut.numbers(self.stream), cut.numbers(self.sql), truth)

    def keys(self, cut: Cut) -> set[TotalKey]:
        """What is compared."""
        return cut.numbers(self.stream).keys() | cut.numbers(self.sql).keys()


def _told_first(client: Any, settings: Settings, database: str) -> dict[Family, int]:
    """When (ms) the oldest of each family's totals was told."""
    found: dict[Family, int] = {}
    sql = f"""
SELECT metric, app, facet, window, min(at) FROM {name(database)}.metrics FINAL
WHERE layout = {text(settings.project.layout)} AND window NOT IN ('5m', '30m') AND partition >= 0
GROUP BY metric, app, facet, window"""
    for metric, app, facet, window, at in _rows(client, sql):
        one = family(TotalKey(metric, app, facet, window, 0))
        found[one] = min(int(at), found.get(one, int(at)))
    return found


def _still_open(
    client: Any, plan: Settings, differences: list[Difference], cut: Cut, truth: dict[TotalKey, Bounds] | None, now: int
) -> tuple[list[Difference], str]:
    """The differences that do not come of windows that had closed before a login, and in words what of the others ("": none)."""
    database = plan.clickhouse.database
    earliest = max(0, min(closes(plan, one.key) for one in differences))
    if not _rows(client, f"SELECT 1 FROM {name(database)}.person_merges WHERE clock > {earliest} LIMIT 1"):
        return differences, ""
    source = Source(database, counted=counted(client, plan, database), late=earliest)
    slack = _slack(client, plan, source, now, cut, {one.key.app for one in differences})
    found = unexplained(differences, slack, None if truth is None else cut.bounds(truth))
    closed = {one.key for one in differences} - {one.key for one in found}
    if not closed:
        return found, ""
    first, last = (_day(pick(key.start for key in closed)) for pick in (min, max))
    return found, (
        f"{len(closed):,} numbers are of windows that had closed before a login told who is who: of at most "
        f"{max(slack[key].persons for key in closed):,} persons in each they have the ids as sent. They begin {first} to {last}; "
        f"metrics: {', '.join(sorted({key.metric for key in closed}))}"
    )


def _slack(client: Any, plan: Plan, source: Source, now: int, cut: Cut, scopes: set[str]) -> dict[TotalKey, Slack]:
    """What the source's persons, who were joined late, may make of each number of these apps and groups."""
    found: dict[TotalKey, Slack] = {}
    parts = _events(client, source.database) // EVENTS_AT_ONCE + 1
    for part in range(parts):
        for check in slack_checks(plan, source._replace(part=(part, parts)), now, scopes):
            for metric, facet, window, start, *amounts in _rows(client, check.sql):
                key = cut.key(TotalKey(metric, check.scope, facet, window, start))
                if key is not None:
                    found[key] = Slack(*map(sum, zip(found.get(key, Slack(0, 0, 0)), amounts, strict=True)))
    return found


def _day(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC).date()}"


def stream_numbers(client: Any, database: str, layout: str) -> dict[TotalKey, int]:
    """The stream's totals: the last version of each, partitions of the layout added up; "active now" aside."""
    sql = f"""
SELECT metric, app, facet, window, start, sum(value) AS total
FROM {name(database)}.metrics FINAL
WHERE layout = {text(layout)} AND window NOT IN ('5m', '30m')
GROUP BY metric, app, facet, window, start"""
    return {TotalKey(*row[:5]): int(row[5]) for row in _rows(client, sql)}


def sql_numbers(
    client: Any,
    settings: Settings,
    database: str,
    now: int,
    merged: bool = True,
    only: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> dict[TotalKey, int]:
    """The same numbers from the raw events, but for rows that the worker rejected.

    merged: whether ids that were granted to another person count as that person.
    only: of the events of these ids alone; without: of all others'.
    """
    found: Counter[TotalKey] = Counter()
    merged = merged and bool(_rows(client, f"SELECT 1 FROM {name(database)}.person_merges LIMIT 1"))
    parts = _events(client, database) // EVENTS_AT_ONCE + 1
    source = Source(database, merged, (0, 1), only, without, secrets.token_hex(16), counted(client, settings, database))
    for part in range(parts):
        for check in checks(settings, source._replace(part=(part, parts)), now):
            for metric, facet, window, start, value in _rows(client, check.sql):
                found[TotalKey(metric, check.scope, facet, window, start)] += int(value)
    return dict(found)


def _events(client: Any, database: str) -> int:
    return int(_rows(client, f"SELECT count() FROM {name(database)}.events")[0][0])


def _rows(client: Any, sql: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = client.query(sql).result_rows
    return rows


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield from file
    except OSError as error:
        raise ConfigError(f"the truth file {path} cannot be read: {error}") from error
