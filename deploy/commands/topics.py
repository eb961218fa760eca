"""Shell: `footfall topics`."""

from __future__ import annotations

import click

from deploy.entry import Source, entry, load_settings, with_broker
from ingest.contract.topics import topic_specs


@click.command(short_help="Check the Kafka topics, or create them.")
@click.option("--create", is_flag=True, help="Create what is missing; what is there is never changed.")
@click.pass_obj
def command(source: Source, create: bool) -> None:
    """Checks that every topic has the partitions and the cleanup policy that the plan needs, and is as safe as it wants."""
    settings = with_broker(load_settings(source))
    if create:
        entry("deploy.kafka.topics:create_topics")(settings)
    weak = entry("deploy.kafka.topics:check_topics")(settings)
    for line in weak:
        click.echo(f"warning: {line}", err=True)
    for spec in topic_specs(settings):
        click.echo(f"{spec.name}: {spec.partitions} partitions, {spec.config['cleanup.policy']}: ok")
