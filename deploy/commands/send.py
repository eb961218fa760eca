"""Shell: `footfall send`: one event by hand, to see that it arrives."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

import click

from deploy.entry import Source, load_settings
from ingest.contract.errors import UnavailableError

TIMEOUT_S = 15


def prop_value(text: str) -> Any:
    """A property's value: JSON where it is a number or a boolean, else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def read_props(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Properties from `name=value` arguments."""
    props = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{pair!r} is not name=value", param_hint="--prop")
        props[name] = prop_value(value)
    return props


@click.command(
    short_help="Send one event by hand.",
    epilog="\b\nExample:\n  footfall send --key demo-harbor-key --event pay_bill --user 42 --prop amount=12.5\n",
)
@click.option("--key", required=True, help="A write key of the app.")
@click.option("--event", required=True, help="Name of the event.")
@click.option("--user", default="", help="User id, for somebody who is logged in.")
@click.option("--anonymous", default="", help="Anonymous or device id, for somebody who is not.")
@click.option("--prop", "props", multiple=True, metavar="NAME=VALUE", help="A property; may be given several times.")
@click.option("--url", default="", help="The collector; taken from footfall.toml if not given.")
@click.pass_obj
def command(source: Source, key: str, event: str, user: str, anonymous: str, props: tuple[str, ...], url: str) -> None:
    """Posts one event to the collector's native endpoint and prints the answer."""
    if not user and not anonymous:
        raise click.UsageError("whose event is it? Give --user or --anonymous")
    if not url:
        collector = load_settings(source.or_demo(True)).collector
        url = f"http://{collector.host}:{collector.port}"
    body: dict[str, Any] = {"id": str(uuid.uuid4()), "event": event, "time": time.time_ns() // 1_000_000}
    body |= {name: value for name, value in (("user_id", user), ("anonymous_id", anonymous)) if value}
    if props:
        body["props"] = read_props(props)
    status, answer = post(f"{url.rstrip('/')}/v1/events", key, json.dumps(body).encode())
    click.echo(f"{status} {answer}")
    if status != 200:
        raise SystemExit(1)


def post(url: str, key: str, body: bytes) -> tuple[int, str]:
    """Posts JSON with a write key; returns status and answer. Raises UnavailableError when nobody answers."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must start with http:// or https://", param_hint="--url")
    request = urllib.request.Request(  # noqa: S310 (the scheme is checked above)
        url, data=body, headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return answer.status, answer.read(10_000).decode(errors="replace").strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read(10_000).decode(errors="replace").strip()
    except OSError as error:
        why = getattr(error, "reason", error)
        raise UnavailableError(f"no collector answers at {url}: {why}; start `footfall up` or `footfall collector`") from error
