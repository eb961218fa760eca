"""Shell: `footfall backfill-baseline`: reads ClickHouse, and hands the rules' history to Prometheus as blocks (promtool)."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from deploy.entry import Source, entry, load_settings
from deploy.prometheus.history import (
    DAYS,
    EVENT_DAYS,
    EVENTS_SQL,
    FUNNELS_SQL,
    HALF_HOUR_MS,
    NAMES_SQL,
    STEP_MS,
    USERS_SQL,
    Sample,
    activity,
    funnel,
    tracking,
    users,
)
from ingest.contract.errors import ConfigError, UnavailableError, WriteError
from ingest.contract.event import ACTIVE_TYPES
from ingest.contract.settings import Settings
from ingest.contract.zones import DAY_MS, Zone
from sinks.contract.tracked import tracked_events

_DAY_S = DAY_MS // 1000


@click.command(
    short_help="Give the alert rules their baseline from ClickHouse.",
    epilog="\b\nExamples:\n  footfall backfill-baseline --tsdb var/prometheus\n  footfall backfill-baseline --out history.om\n",
)
@click.option(
    "--tsdb", type=click.Path(file_okay=False, path_type=Path), help="Prometheus' data directory: blocks are written there."
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="A file for the same in OpenMetrics, for another machine."
)
@click.option(
    "--promtool", default="promtool", show_default=True, help="The program that makes blocks; it comes with Prometheus."
)
@click.pass_obj
def command(source: Source, tsdb: Path | None, out: Path | None, promtool: str) -> None:
    """Writes four weeks of what the alert rules' baselines read, computed from the events in ClickHouse.

    Without it the alerts on users learn for two weeks, and those on tracking points and funnels for a day. Prometheus may be
    running: it finds the blocks within a minute. Its retention must be longer than its default
    (--storage.tsdb.retention.time=40d).
    """
    if (tsdb is None) == (out is None):
        raise ConfigError("say where to: --tsdb <Prometheus' data directory>, or --out <file>")
    if tsdb is not None and shutil.which(promtool) is None:
        raise ConfigError(f"{promtool} is not here: it comes with Prometheus (Debian: apt-get install prometheus), or use --out")
    settings = load_settings(source.or_demo(True))
    with contextlib.closing(entry("sinks.clickhouse.reader:connect")(settings)) as client:
        samples = history(settings, client, time.time_ns() // 1_000_000)
        count = _write_file(samples, out) if out is not None else _write_blocks(samples, tsdb or Path(), promtool)
    if not count:
        raise UnavailableError(f"ClickHouse has no events of the last {DAYS} days: there is no history to write yet")
    click.echo(f"{count:,} samples of up to {DAYS} days written to {out or tsdb}")


def history(settings: Settings, client: Any, now: int) -> Iterator[Sample]:
    """All samples up to `now` (ms), series by series; one app's counts at a time are in memory."""
    names = tracked_events(settings)
    passive = [f"{app.id} {event}" for app in settings.apps for event in app.passive_events]
    until = now // HALF_HOUR_MS * HALF_HOUR_MS
    since, week = until - DAYS * DAY_MS, until - EVENT_DAYS * DAY_MS
    times = {"step": STEP_MS, "since": since, "until": now // STEP_MS * STEP_MS}
    for app in settings.apps:
        end = times["until"] // STEP_MS
        kinds = {"types": sorted(ACTIVE_TYPES), "passive": app.passive_events}
        found = _rows(client, EVENTS_SQL, times | kinds | {"app": app.id})
        yield from activity(app.id, {int(slot): int(active) for slot, _, active in found if active}, end)
        by_name: dict[str, dict[int, int]] = {}
        for event, slot, count in _rows(client, NAMES_SQL, times | {"app": app.id, "since": week, "names": list(names[app.id])}):
            by_name.setdefault(event, {})[int(slot)] = int(count)
        recent = {int(slot): int(count) for slot, count, _ in found if slot >= week // STEP_MS}
        yield from tracking(app.id, names[app.id], by_name, recent, end)
    yield from _funnels(settings, client, now, week)
    scopes = [(app.id, [app.id]) for app in settings.apps] + [(group.id, group.apps) for group in settings.groups]
    for scope, apps in scopes:
        parameters = {"step": HALF_HOUR_MS, "since": since, "until": until, "apps": apps, "types": sorted(ACTIVE_TYPES)}
        found = _rows(client, USERS_SQL, parameters | {"passive": passive})
        yield from users(scope, {int(slot): int(count) for slot, count in found}, until // HALF_HOUR_MS)


def _funnels(settings: Settings, client: Any, now: int, since: int) -> Iterator[Sample]:
    for one in settings.funnels:
        zone = Zone(settings.zone_name(one.app))
        by_day: dict[int, dict[int, int]] = {}
        for day, step, count in _rows(client, FUNNELS_SQL, {"app": one.app, "funnel": one.id, "day": zone.day(since)}):
            by_day.setdefault(int(day), {})[int(step)] = int(count)
        yield from funnel(one.app, one.id, [step.event for step in one.steps], by_day, zone.day_start, now)


def _rows(client: Any, query: str, parameters: dict[str, Any]) -> list[Any]:
    try:
        return list(client.query(query, parameters=parameters).result_rows)
    except Exception as error:  # whatever the reader's libraries raise: nothing is written yet that could be wrong
        words = str(error).splitlines()
        raise UnavailableError(f"ClickHouse does not answer: {words[0] if words else type(error).__name__}") from error


def _write_file(samples: Iterable[Sample], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for sample in samples:
            file.write(sample.line())
            count += 1
        file.write("# EOF\n")
    return count


def _write_blocks(samples: Iterable[Sample], tsdb: Path, promtool: str) -> int:
    """A file for each day, because promtool reads a file anew for each block of two hours."""
    count = 0
    with tempfile.TemporaryDirectory(prefix="footfall-") as folder, contextlib.ExitStack() as opened:
        days: dict[int, Any] = {}
        for sample in samples:
            day = sample.at // _DAY_S
            if day not in days:
                days[day] = opened.enter_context((Path(folder) / f"{day}.om").open("w", encoding="utf-8"))
            days[day].write(sample.line())
            count += 1
        if count:
            tsdb.mkdir(parents=True, exist_ok=True)
        for day in sorted(days):
            days[day].write("# EOF\n")
            days[day].flush()
            arguments = [promtool, "tsdb", "create-blocks-from", "--quiet", "openmetrics", days[day].name, str(tsdb)]
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
            if done.returncode:
                words = (done.stderr or done.stdout).strip().splitlines()
                raise WriteError(f"{promtool} could not write blocks to {tsdb}: {words[-1] if words else done.returncode}")
    return count
