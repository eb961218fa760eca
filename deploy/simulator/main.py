"""Shell: runs the simulator, and works out the truth of what it sent."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

import click
import msgspec

from deploy.entry import Source, load_settings, with_broker
from deploy.simulator.arrivals import arrivals, doubled
from deploy.simulator.journal import Journal, Sent, read_journals
from deploy.simulator.live import LiveTraffic
from deploy.simulator.options import Options, Summary
from deploy.simulator.population import Persona, make_persons
from deploy.simulator.run import Progress, Run
from deploy.simulator.senders import Arrival, HttpSender, KafkaSender, Sender, now_ms
from deploy.simulator.traffic import Script, SimEvent, day_visits, in_order, make_scripts, thinned
from deploy.simulator.truth import bounds, same_lateness
from ingest.contract.errors import ConfigError
from ingest.contract.settings import Settings

LIVE_RATE = 20.0


def simulate(
    settings: Settings,
    options: Options,
    journal_path: Path | None = None,
    *,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Sends traffic as the options say, until it is all acknowledged or `stop` is set; then returns what was sent.

    journal_path: where to write what was sent and acknowledged (see `truth_numbers`).
    settings need `kafka.bootstrap_servers` only for via="kafka".
    Raises ConfigError, UnavailableError (the collector or Kafka is away for longer than options.patience_s), WriteError.
    """
    if not settings.apps:
        raise ConfigError("the plan has no apps: there is nothing to simulate")
    stop = stop or threading.Event()
    summary = Summary()
    began = time.monotonic()
    journal = Journal(journal_path)
    try:
        sender: Sender
        if options.via == "kafka":
            sender = KafkaSender(settings, options, journal, summary)
        else:
            sender = HttpSender(settings, options, journal, summary, stop)
        try:
            _send_all(settings, options, Run(options, sender, summary, stop, progress))
        finally:
            sender.close()
    finally:
        journal.close()
        summary.seconds = time.monotonic() - began
    if progress is not None:
        progress(summary)
    return summary


def truth_numbers(settings: Settings, journals: Iterable[Path], out: Path, now: int | None = None) -> int:
    """Works out every published number of what the journals say was sent, for `sinks.verify`; returns how many there are.

    out: JSON lines; the first {"footfall_truth": 1, "at": ms}, then one number each with its key, `low` and `high` (apart
    only where it is not known whether or when an event arrived). now: ms; windows that begin later are left out.
    """
    at = now if now is not None else now_ms()
    certain: list[Sent] = []
    uncertain: list[tuple[Sent, Sent | None]] = []
    for batch in read_journals(journals):
        for one in batch.events:
            early = one if one.received else msgspec.structs.replace(one, received=batch.sent)
            late = one if one.received else msgspec.structs.replace(one, received=batch.acked or at)
            if batch.acked and (early is late or same_lateness(settings, early, late)):
                certain.append(late)
            else:
                uncertain.append((early, late if batch.acked else None))
    found = bounds(settings, certain, uncertain, at)
    with out.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"footfall_truth": 1, "at": at}) + "\n")
        for key in sorted(found):
            low, high = found[key]
            file.write(json.dumps({**key._asdict(), "low": low, "high": high}) + "\n")
    return len(found)


def _send_all(settings: Settings, options: Options, run: Run) -> None:
    scripts = make_scripts(settings, options.strangers)
    persons = make_persons(settings, options.seed, options.persons)
    past = _past(settings, options, scripts, persons)
    if not options.live or options.via == "kafka":  # who decides on receipts must send them in order
        run.past(past, 0 if options.live else options.rate)
    if options.live and run.go_on():
        traffic = LiveTraffic(
            scripts,
            persons,
            ZoneInfo(settings.project.time_zone),
            seed=options.seed,
            start=now_ms(),
            rate=options.rate or LIVE_RATE,
            floor=options.floor,
            late=options.late,
        )
        run.live(traffic, past)


def _past(settings: Settings, options: Options, scripts: dict[str, Script], persons: list[Persona]) -> Iterator[Arrival]:
    """The events of the past days in order, as they arrive."""
    zone = ZoneInfo(settings.project.time_zone)
    now = now_ms()
    today = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone).date()
    days = [today - timedelta(days=back) for back in range(options.days, 0, -1)]
    if options.live:
        days.append(today)
    if not days or not options.days:
        return
    events = (event for event in _events(options, scripts, persons, days) if event.time < now)
    if options.via == "kafka":
        for received, event in arrivals(events, options.seed, options.late, options.duplicates):
            if received <= now:
                yield received, event
    else:
        for event in doubled(events, options.seed, options.duplicates):
            yield 0, event


def _events(options: Options, scripts: dict[str, Script], persons: list[Persona], days: list[date]) -> Iterator[SimEvent]:
    """The days' events in order. A limit is spread over the days as the traffic is: each gets its part of what is left."""
    left, seen = options.events, 0
    for index, day in enumerate(days):
        visits = day_visits(scripts, persons, options.seed, day)
        if options.events:
            full = sum(map(len, visits))
            seen += full
            still_to_come = seen / (index + 1) * (len(days) - index - 1)
            visits = thinned(visits, math.ceil(left * full / max(1.0, full + still_to_come)), options.seed)
            left -= sum(map(len, visits))
        yield from in_order(visits)


@click.command(
    short_help="Send bank-like traffic with a known truth.",
    epilog="\b\nExamples:\n  footfall simulate --live --days 30 --persons 3000 --rate 50\n"
    "  footfall simulate --days 40 --persons 5000 --events 200000 --truth var/truth.jsonl\n"
    "  footfall verify --truth var/truth.jsonl\n",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same persons do the same.")
@click.option("--persons", type=click.IntRange(1, 20_000_000), default=12_000, show_default=True, help="How many persons.")
@click.option("--days", type=click.IntRange(0, 800), default=0, show_default=True, help="Past days to make up, too.")
@click.option("--events", type=click.IntRange(0), default=0, help="Stop after that many, spread over the days.")
@click.option("--rate", type=click.FloatRange(0), default=0, help="Events a second at most (live: in the busiest hour).")
@click.option("--live", is_flag=True, help="Send events that happen now, until stopped.")
@click.option("--seconds", type=click.FloatRange(0), default=0, help="With --live: stop after that long.")
@click.option("--via", type=click.Choice(["http", "kafka"]), default="http", show_default=True, help="Collector, or Kafka.")
@click.option("--strangers", type=click.FloatRange(0, 1), default=0, help="Part of past days that begin hours before the login.")
@click.option("--url", default="", help="The collector; taken from footfall.toml if not given.")
@click.option("--gzip", "compress", is_flag=True, help="Compress the requests.")
@click.option("--truth", type=click.Path(dir_okay=False, path_type=Path), help="At the end, write here what must come of it.")
@click.option(
    "--sent",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Write here what was sent and acknowledged (gzip); with --truth it is <truth>.sent.gz if not given.",
)
@click.option("--recount", is_flag=True, help="Send nothing: work out --truth from what earlier runs (--sent, repeatable) sent.")
@click.pass_obj
def command(
    source: Source,
    seed: int,
    persons: int,
    days: int,
    events: int,
    rate: float,
    live: bool,
    seconds: float,
    via: str,
    strangers: float,
    url: str,
    compress: bool,
    truth: Path | None,
    sent: tuple[Path, ...],
    recount: bool,
) -> None:
    """Sends events of simulated persons of the plan's apps, and can tell which numbers must come of them.

    Over HTTP, past days are received now: hours that are older than horizons.late_hours, and days older than
    horizons.late_days, count as late, as they would for anyone. With --via kafka they are received when they happened.
    """
    if truth is not None and not sent:
        sent = (truth.with_name(truth.name + ".sent.gz"),)
    if recount and truth is None:
        raise click.UsageError("--recount needs --truth, the file to write")
    if not recount and not days and not live:
        raise click.UsageError("what is to be sent? Give --days, --live, or both")
    if not recount and len(sent) > 1:
        raise click.UsageError("one run writes one file: give --sent once (several are for --recount)")
    settings = load_settings(source.or_demo(True))
    if via == "kafka":
        settings = with_broker(settings)
    options = Options(
        seed=seed,
        persons=persons,
        days=days,
        events=events,
        rate=rate,
        live=live,
        seconds=seconds,
        via=cast(Literal["http", "kafka"], via),
        strangers=strangers,
        url=url,
        gzip=compress,
    )
    if not recount:
        stop = threading.Event()
        with _stopping(stop):
            progress = _show if sys.stderr.isatty() else None
            summary = simulate(settings, options, sent[0] if sent else None, stop=stop, progress=progress)
        click.echo(str(summary))
    if truth is not None:
        click.echo(f"{truth_numbers(settings, sent, truth):,} numbers in {truth}")


@contextlib.contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the run, not the process: what is under way is still acknowledged and written down."""

    def handle(_signal: int, _frame: Any) -> None:
        stop.set()

    before = [(one, signal.signal(one, handle)) for one in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for one, handler in before:
            signal.signal(one, handler)


def _show(summary: Summary) -> None:
    click.echo(f"\r{summary}    ", err=True, nl=False)
