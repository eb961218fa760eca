"""Shell: `footfall forget`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from deploy.entry import Source, entry, load_settings, with_broker
from ingest.contract.settings import Settings

_MOST = 256


@click.command(
    short_help="Remove a person from records, numbers and ClickHouse, and prove it.",
    epilog="\b\nExamples:\n  footfall forget 42\n  footfall forget --anonymous 5f1c9a7e --yes\n",
)
@click.argument("user", default="")
@click.option("--anonymous", default="", help="An anonymous or device id, of somebody who never logged in.")
@click.option("--as-stored", is_flag=True, help="The id is what events have in `person`: it is not hashed, even with hash_ids.")
@click.option("--receipt", type=click.Path(dir_okay=False, path_type=Path), help="Where the receipt goes; else under data_dir.")
@click.option("--wait", type=click.FloatRange(1, 86_400), default=120, show_default=True, help="Seconds that each step may take.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(source: Source, user: str, anonymous: str, as_stored: bool, receipt: Path | None, wait: float, yes: bool) -> None:
    """Forgets a user and all ids that are one with it, while everything runs.

    The worker's records, the numbers (also those of windows long closed), events, rejected events and merges in ClickHouse. Then
    it looks whether anything is left, verifies all numbers, and writes a receipt that has no id in it. What comes from the same
    person later is a new person's. Exit code 1 if something is left: run it again.
    """
    if bool(user) == bool(anonymous) or len(user or anonymous) > _MOST:
        raise click.UsageError("who is it? Give a user id, or --anonymous and an id")
    settings = with_broker(load_settings(source.or_demo(True)))
    person = person_of(settings, user, anonymous, as_stored)
    if not yes:
        click.confirm("This cannot be undone. Go on?", abort=True)
    done = entry("sinks.forget.main:forget")(settings, person, wait, lambda words: click.echo(words, err=True))
    path = receipt or Path(settings.data_dir) / "forgotten" / f"{done.at[:19].replace(':', '')}-{done.subject[:8]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(done), indent=2) + b"\n")
    click.echo(f"{done}\n{path}")
    if not done.ok:
        raise SystemExit(1)


def person_of(settings: Settings, user: str, anonymous: str, as_stored: bool) -> str:
    """The person as events have it; with hash_ids the collector's key is needed. Raises ConfigError."""
    person = f"u:{user}" if user else f"a:{anonymous}"
    if as_stored or not settings.privacy.hash_ids:
        return person
    key = entry("ingest.collector.secret:read_key")(settings.privacy)
    hashed: str = entry("ingest.privacy.hashing:Hasher")(key).person(person)
    return hashed
