"""Shell: `footfall status`."""

from __future__ import annotations

import click

from deploy.entry import Source, entry, load_settings, with_broker
from ingest.contract.errors import UnavailableError


@click.command(short_help="Show brokers, topics, lag, last event, last checkpoint, processes.")
@click.pass_obj
def command(source: Source) -> None:
    """Shows the state of Kafka, and of the processes on this machine.

    Exit code 1 when a topic is not what the plan needs, a running process is not ready, or Kafka does not answer.
    """
    settings = with_broker(load_settings(source.or_demo(True)))
    try:
        status = entry("deploy.status.gather:gather")(settings)
    except UnavailableError:
        processes = entry("deploy.status.gather:processes")(settings)
        click.echo("\n".join(entry("deploy.status.report:process_lines")(processes)))
        raise
    click.echo(entry("deploy.status.report:text")(status, settings))
    if not status.ok:
        raise SystemExit(1)
