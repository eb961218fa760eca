"""Shell: `footfall up`."""

from __future__ import annotations

import logging

import click

from deploy.entry import Source, entry, load_settings


@click.command(
    short_help="Start everything on this machine and show live numbers.",
    epilog="""\b
Examples:
  footfall up --demo          three banks' apps, with simulated traffic
  footfall up                 with your footfall.toml
Run it again to go on where it was: data lies under data_dir.
""",
)
@click.option("--demo", is_flag=True, help="Send simulated traffic; without a footfall.toml, use the demo's plan.")
@click.option("--rate", type=click.FloatRange(1, 20_000), default=40, show_default=True, help="Simulated events a second.")
@click.option("--for", "seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop by itself after that time.")
@click.option("--once", is_flag=True, help="Stop by itself as soon as there are numbers, and print them.")
@click.pass_obj
def command(source: Source, demo: bool, rate: float, seconds: float | None, once: bool) -> None:
    """Starts broker (unless kafka.bootstrap_servers is set), collector, worker and sinks, and shows live numbers.

    Ctrl-C stops everything. Whatever happens to this process, nothing that it started outlives it.
    """
    logging.getLogger().setLevel(logging.ERROR)  # clients' warnings would tear the table; the parts have logs of their own
    source = source.or_demo(demo)
    settings = load_settings(source)
    entry("deploy.up.main:run")(settings, source.path, demo=demo, rate=rate, seconds=seconds, once=once)
