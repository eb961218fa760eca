"""Shell: `footfall replay`."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click
import msgspec

from deploy.entry import Source, entry, load_settings, with_broker
from ingest.contract.errors import ConfigError
from ingest.contract.settings import Settings
from ingest.contract.table import Id


@click.command(
    short_help="Rebuild all numbers from the raw events, under a new layout.",
    epilog="\b\nExamples:\n  footfall --config new.toml replay --layout 2\n"
    "  footfall --config new.toml replay --layout 2 --from kafka\n",
)
@click.option("--layout", required=True, help="A name for the new generation of numbers, never used before: 2, or 2026-11.")
@click.option(
    "--from",
    "origin",
    type=click.Choice(["clickhouse", "kafka"]),
    default="clickhouse",
    show_default=True,
    help="Where the raw events are read: all of them from ClickHouse, or what Kafka has not deleted yet.",
)
@click.pass_obj
def command(source: Source, layout: str, origin: str) -> None:
    """Makes a plan that has changed hold for the past, too: a new funnel, another segment, a time zone.

    Reads the raw events from ClickHouse (or from Kafka, as far back as it keeps them), counts them by the plan in footfall.toml
    (or --config), and writes records and totals of the new layout, while workers and sinks of the old one go on. At the end it
    says how to switch.
    """
    settings = _with_layout(with_broker(load_settings(source)), layout)
    entry("deploy.kafka.topics:require_crc32c")()
    entry("deploy.kafka.topics:create_topics")(settings)
    entry("deploy.kafka.topics:check_topics")(settings)
    opened = "deploy.kafka.history:open_history" if origin == "kafka" else "sinks.clickhouse.history:open_history"
    place, what = ("Kafka", "frames of events") if origin == "kafka" else ("ClickHouse", "events")
    with entry(opened)(settings) as history:
        if not history.events:
            raise ConfigError(f"{place} has no events: there is nothing to replay")
        click.echo(f"{history.events:,} {what} in {place}, to be counted anew as layout {layout}", err=True)
        if origin == "kafka":
            click.echo(_reach(history.since), err=True)
        told = time.monotonic()

        def progress(events: int) -> None:
            nonlocal told
            if time.monotonic() - told >= 2.0:
                told = time.monotonic()
                click.echo(f"{events:,} events so far", err=True)

        made = entry("streams.worker.replay:replay")(settings, history, progress)
    click.echo(f"{made.events:,} events, {made.persons:,} persons, {made.totals:,} totals written in {made.seconds:.1f} s")
    if made.refused:
        click.echo(f"{made.refused:,} events do not count under this plan (their app is not in it, or they are damaged)")
    click.echo(
        f'Layout {layout} is ready. To switch: set layout = "{layout}" under [project] in footfall.toml, then stop all workers '
        "and sinks and start them again. They go on where the replay ended, and dashboards show the new layout. "
        "Until then the old one serves."
    )


def _reach(since: int) -> str:
    """From when on the numbers will be whole."""
    if not since:
        return "Kafka still has all events from the first one on: the history is complete"
    at = datetime.fromtimestamp(since / 1000, UTC).isoformat(" ", "seconds")
    return (
        f"Kafka has deleted what came in before {at}: hours and days that began before are not complete, nor are windows that "
        "reach back beyond it, and persons count as new on the first day that is left of them. ClickHouse may have more: leave "
        "--from kafka out"
    )


def _with_layout(settings: Settings, layout: str) -> Settings:
    try:
        checked: str = msgspec.convert(layout, Id)
    except msgspec.ValidationError as error:
        raise ConfigError(f'"{layout}" cannot be the name of a layout: small letters, digits, "_", "." and "-"') from error
    return msgspec.structs.replace(settings, project=msgspec.structs.replace(settings.project, layout=checked))
