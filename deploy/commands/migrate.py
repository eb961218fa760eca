"""Shell: `footfall migrate`."""

from __future__ import annotations

import click

from deploy.entry import Source, entry, load_settings


@click.command(short_help="Bring the ClickHouse schema up to date.")
@click.pass_obj
def command(source: Source) -> None:
    """Applies the numbered migrations that the database does not have yet, and creates the views.

    Safe to run again. With the embedded engine it must not run while `footfall sinks` does: that process owns the engine.
    """
    entry("sinks.main:migrate")(load_settings(source))
    click.echo("schema is up to date")
