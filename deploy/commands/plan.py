"""Shell: `footfall plan`: lints of a plan, what changed since another version, and a proposal made of traffic."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from deploy.entry import Source, entry, load_settings
from deploy.plan.evolution import changes
from deploy.plan.infer import VARIABLE, Seen, propose, toml
from deploy.plan.lint import lint
from ingest.contract.errors import ConfigError
from ingest.contract.settings import Settings, read_settings
from ingest.contract.tracking import MAX_EVENTS

_RECENT = "type IN ('track', 'page', 'screen') AND received >= {since:Int64} AND event NOT LIKE '$%'"
_NAMES = f"""SELECT event, groupUniqArray(app) AS apps, count() AS events
FROM events FINAL WHERE {_RECENT} GROUP BY event ORDER BY events DESC, event LIMIT {{most:UInt32}}"""
#: An even choice of events, the same each time.
_PROPS = f"""SELECT toJSONString(props) FROM events FINAL WHERE {_RECENT} AND event = {{event:String}}
ORDER BY cityHash64(id) LIMIT {{sample:UInt32}}"""


class _Unset(dict[str, str]):
    """The environment; a variable that is not set has a value of its own: a plan is checked where its secrets are not."""

    def __missing__(self, name: str) -> str:
        return f"not-set-{name}".ljust(24, "-")


@click.group(
    short_help="Check the tracking plan, or propose one from traffic.",
    epilog="\b\nExamples:\n  footfall plan check --against old.toml\n  footfall plan infer >> footfall.toml\n",
)
def command() -> None:
    """The tracking plan: `[[events]]` in footfall.toml, against which events are checked when they come in."""


@command.command(short_help="Find what does not fit together in the plan.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A version before: also say what changed, and what apps that are out there would stumble over.",
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.pass_obj
def check(source: Source, against: Path | None, strict: bool) -> None:
    """Checks that activities, scenes, segments and funnels agree with the schemas of events.

    Exit code 0: nothing to mend; 1: there are errors, or incompatible changes; 2: it is no plan at all.
    """
    source = source.or_demo(True)
    environment = _Unset(os.environ)
    plan = load_settings(source, environment)
    found = lint(plan)
    if against is not None:
        try:
            text = against.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{against} cannot be read: {error}") from error
        found += changes(read_settings(text, environment, against.name), plan)
    for one in found:
        click.echo(str(one))
    count = {level: sum(1 for one in found if one.level == level) for level in ("error", "warning")}
    click.echo(f"{source.path}: {len(plan.events)} events, {count['error']} errors, {count['warning']} warnings")
    if count["error"] or (strict and count["warning"]):
        raise SystemExit(1)


@command.command(short_help="Propose schemas from the traffic of the last day.")
@click.option("--hours", type=click.IntRange(1, 24 * 400), default=24, show_default=True, help="How far back to look.")
@click.option(
    "--sample", type=click.IntRange(10, 100_000), default=5000, show_default=True, help="Events of each name to look at."
)
@click.option("--least", type=click.IntRange(1), default=20, show_default=True, help="Leave out events that came less often.")
@click.option("--all", "every", is_flag=True, help="Also events that the plan has already.")
@click.pass_obj
def infer(source: Source, hours: int, sample: int, least: int, every: bool) -> None:
    """Prints `[[events]]` for what came in: types, required where nearly all events have it, values where there are few.

    It is a proposal: read it before it goes into footfall.toml. `footfall plan check` accepts it.
    """
    settings = load_settings(source.or_demo(True))
    since = time.time_ns() // 1_000_000 - hours * 3_600_000
    known = set() if every else {one.name for one in settings.events}
    room = MAX_EVENTS - (0 if every else len(settings.events))
    with entry("sinks.clickhouse.reader:connect")(settings) as client:
        shown = 0
        for seen in _seen(client, settings, since, sample, least, known):
            if shown == room:
                click.echo(f"# a plan has at most {MAX_EVENTS} events: the rest is left out")
                break
            shown += 1
            schema, left_out = propose(seen, [app.id for app in settings.apps])
            click.echo(toml(schema, [f"{seen.events:,} events in {hours} h", *left_out]))
    if not shown:
        click.echo(f"# nothing that came in within {hours} h is missing in the plan")


def _seen(client: Any, settings: Settings, since: int, sample: int, least: int, known: set[str]) -> Iterator[Seen]:
    apps = {app.id for app in settings.apps}
    for name, of_apps, count in client.query(_NAMES, parameters={"since": since, "most": 10 * MAX_EVENTS}).result_rows:
        ours = tuple(sorted(apps & set(of_apps)))
        if ours and count >= least and name not in known and 0 < len(name) <= 256 and VARIABLE not in name:
            rows = client.query(_PROPS, parameters={"since": since, "event": name, "sample": sample}).result_rows
            yield Seen(str(name), ours, int(count), [str(row[0]) for row in rows])
