"""Shell: `footfall rejected`: what could not be accepted, why, and sending it again."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import click

from deploy.entry import Source, entry, load_settings
from deploy.rejected.report import explained, foreseen, listed
from deploy.rejected.rows import Wanted, found, groups
from ingest.contract.errors import UnavailableError
from ingest.contract.rejected import Prospect, payload_of
from ingest.contract.settings import Settings

TIMEOUT_S = 30
_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Span(click.ParamType):
    """A span such as 30m, 24h or 7d, as milliseconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", str(value), re.ASCII)
        if match is None:
            self.fail(f"{value!r} is no span: write 30m, 24h or 7d", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


_app = click.option("--app", default="", help="Only of this app.")
_reason = click.option("--reason", default="", help="Only with this reason: plan, unknown_key, bad_json ...")
_stage = click.option("--stage", type=click.Choice(["collector", "worker", "sink"]), default=None, help="Only of this stage.")
_since = click.option("--since", type=Span(), default="30d", show_default=True, help="How far back: 30m, 24h, 7d.")


@click.group(
    short_help="List, explain and resubmit what could not be accepted.",
    epilog="\b\nExamples:\n  footfall rejected list --since 24h\n  footfall rejected explain 0123456789abcdef\n"
    "  footfall rejected resubmit --reason plan --yes\n",
)
def command() -> None:
    """What could not be accepted is kept verbatim for 30 days, with the reason: the table rejected in ClickHouse."""


@command.command("list", short_help="Count by stage, reason and app.")
@_app
@_reason
@_stage
@_since
@click.pass_obj
def list_rows(source: Source, app: str, reason: str, stage: str | None, since: int) -> None:
    """Counts rejected rows by stage, reason and app, with an example of each."""
    wanted = Wanted(_now() - since, app, reason, stage or "")
    with _client(load_settings(source.or_demo(True))) as client:
        click.echo(listed(groups(client, wanted), wanted.since))


@command.command(short_help="All there is about one row, and how to mend it.")
@click.argument("rejection", metavar="ID")
@click.option("--payload", is_flag=True, help="Write out the payload alone, byte for byte.")
@click.pass_obj
def explain(source: Source, rejection: str, payload: bool) -> None:
    """Says of one rejected row what it was, where it came from, why it was refused, and how to mend that."""
    with _client(load_settings(source.or_demo(True))) as client:
        rows = found(client, Wanted(0, ids=(rejection,)), 1)
    if not rows:
        raise click.ClickException(
            f"no rejected row has the id {rejection!r}: `footfall rejected list` shows ids; rows live for 30 days"
        )
    if payload:
        sys.stdout.buffer.write(payload_of(rows[0].row))
        sys.stdout.buffer.flush()
    else:
        click.echo(explained(rows[0]))


@command.command(short_help="Send rows again after the plan, a key or a limit was mended.")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_app
@_reason
@_stage
@_since
@click.option("--again", is_flag=True, help="Also rows that were sent again before: it changes nothing.")
@click.option("--key", default="", help="A write key for rows whose app is not known.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="At most that many rows.")
@click.option("--url", default="", help="The collector; taken from footfall.toml if not given.")
@click.option("--yes", is_flag=True, help="Send. Without it nothing is sent, only said what would become of it.")
@click.pass_obj
def resubmit(
    source: Source,
    ids: tuple[str, ...],
    app: str,
    reason: str,
    stage: str | None,
    since: int,
    again: bool,
    key: str,
    limit: int,
    url: str,
    yes: bool,
) -> None:
    """Sends rejected rows through the collector again, those that it would take now.

    Restart the collector first, if the plan has changed. Events keep their id and their time, so that doing it twice changes
    nothing. Exit code 1 when a row was not taken.
    """
    settings = load_settings(source.or_demo(True))
    wanted = Wanted(0 if ids else _now() - since, app, reason, stage or "", ids)
    with _client(settings) as client:
        rows = found(client, wanted, limit, not_yet=not again)
    checker = entry("ingest.prospect:Checker")(settings, key)
    prospects: list[Prospect] = [checker.look(one.id, one.row, _now()) for one in rows]
    click.echo(foreseen(prospects))
    good = [one for one in prospects if one.request is not None]
    if not yes:
        if good:
            click.echo("nothing was sent: add --yes")
        return
    address = url.rstrip("/") or f"http://{settings.collector.host}:{settings.collector.port}"
    taken = sum(_send(address, one) for one in good)
    click.echo(f"{taken:,} of {len(good):,} rows were taken by {address}")
    if taken < len(prospects):
        raise SystemExit(1)


def _send(address: str, one: Prospect) -> bool:
    """Sends a row; says why, and returns False, when it was refused. Raises UnavailableError when nobody answers."""
    if not address.startswith(("http://", "https://")):
        raise click.BadParameter("must start with http:// or https://", param_hint="--url")
    assert one.request is not None  # noqa: S101 (for the type; the caller picked those)
    target = f"{address}{one.request.path}" + (f"?{one.request.query}" if one.request.query else "")
    headers = one.request.headers | ({"Authorization": f"Bearer {one.key}"} if one.key else {})
    body = None if one.request.method == "GET" else one.request.body
    request = urllib.request.Request(target, body, headers, method=one.request.method)  # noqa: S310 (the scheme is checked above)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            refused = json.loads(answer.read() or b"{}").get("rejected", [])
            if refused:
                click.echo(f"{one.id} was taken in part: {json.dumps(refused[:3], ensure_ascii=False)}", err=True)
            return True
    except urllib.error.HTTPError as error:
        with error:
            words = error.read(2000).decode(errors="replace")
        if error.code == 503:
            raise UnavailableError(f"the collector cannot take it now: {words}") from error
        click.echo(
            f"{one.id} was refused again ({error.code}): {words}; was the collector restarted with the new plan?", err=True
        )
        return False
    except OSError as error:
        why = getattr(error, "reason", error)
        raise UnavailableError(
            f"no collector answers at {address}: {why}; start `footfall up` or `footfall collector`"
        ) from error


def _client(settings: Settings) -> Any:
    return entry("sinks.clickhouse.reader:connect")(settings)


def _now() -> int:
    return time.time_ns() // 1_000_000
