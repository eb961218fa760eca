"""What `footfall up` runs, in which order, and how often it starts again what ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ingest.contract.settings import LOOPBACK, Settings

#: A part that ends by itself is started again that often within the span below; then `up` gives up.
MAX_RESTARTS = 5
#: The same for a part that was never ready yet: what is wrong at the start is seldom gone a minute later.
MAX_RESTARTS_AT_START = 1
RESTART_SPAN_S = 600.0
MAX_DELAY_S = 30.0

#: The demo's traffic: enough to look like something, little enough to be there in half a minute.
DEMO_PERSONS = 4000
DEMO_DAYS = 5


class Part(NamedTuple):
    """One child process: its name, the arguments of `footfall` for it, and where it says that it is ready ("": at once)."""

    name: str
    arguments: tuple[str, ...]
    ready_url: str


class Door(NamedTuple):
    """A port that a part will listen on, and the key of footfall.toml that holds it."""

    key: str
    host: str
    port: int


def reachable(host: str) -> str:
    """The host to ask on this machine, for a process that is bound to `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, f"[{host}]" if ":" in host else host)


def url(host: str, port: int, path: str = "") -> str:
    """The address of a process on this machine."""
    return f"http://{reachable(host)}:{port}{path}"


def stage_parts(settings: Settings) -> list[Part]:
    """The three stages, in the order they start in; they stop in the reverse."""
    ready = "/health/ready"
    return [
        Part("sinks", ("sinks",), url(settings.sinks.host, settings.sinks.port, ready)),
        Part("worker", ("worker",), url(settings.worker.host, settings.worker.port, ready) if settings.worker.port else ""),
        Part("collector", ("collector",), url(settings.collector.host, settings.collector.metrics_port, ready)),
    ]


def simulator_part(rate: float, with_past: bool) -> Part:
    """Demo traffic; the first time with some days before now, so that days, months and peak hours have something to show."""
    arguments = ("simulate", "--live", "--rate", f"{rate:g}", "--persons", str(DEMO_PERSONS))
    return Part("simulator", (*arguments, "--days", str(DEMO_DAYS)) if with_past else arguments, "")


def doors(settings: Settings) -> list[Door]:
    """Every port that must be free before anything is started."""
    found = [
        Door("collector.port", settings.collector.host, settings.collector.port),
        Door("collector.metrics_port", settings.collector.host, settings.collector.metrics_port),
        Door("worker.port", settings.worker.host, settings.worker.port),
        Door("sinks.port", settings.sinks.host, settings.sinks.port),
        Door("sinks.console_port", settings.sinks.console_host, settings.sinks.console_port),
    ]
    if not settings.clickhouse.url:
        found.append(Door("sinks.clickhouse_port", settings.sinks.host, settings.sinks.clickhouse_port))
    return [door for door in found if door.port]


def twice(found: Sequence[Door]) -> str:
    """The error for two keys with one port; empty if there is none."""
    seen: dict[int, str] = {}
    for door in found:
        if door.port in seen:
            return f"{seen[door.port]} and {door.key} are both {door.port}: each needs its own"
        seen[door.port] = door.key
    return ""


def restart_delay(ends: Sequence[float], now: float, limit: int = MAX_RESTARTS) -> float | None:
    """How long to wait before a part that just ended starts again, given when it ended before (seconds); None to give up."""
    recent = sum(now - end < RESTART_SPAN_S for end in ends)
    if recent > limit:
        return None
    return float(min(MAX_DELAY_S, 2 ** max(0, recent - 1)))


def where_to_look(settings: Settings, key: str, log_dir: str) -> list[tuple[str, str]]:
    """What `up` prints once all is running: a title and an address or a command, each."""
    collector = url(settings.collector.host, settings.collector.port)
    clickhouse = settings.clickhouse.url or url(settings.sinks.host, settings.sinks.clickhouse_port)
    curl = (
        f"curl -sS -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' "
        f'-d \'{{"event": "login", "user_id": "42"}}\' {collector}/v1/events'
    )
    console = url(settings.sinks.console_host, settings.sinks.console_port)
    found = [
        *([("console, API", f"{console} (API: {console}/docs)")] if settings.sinks.console_port else []),
        ("collector", collector),
        ("try it", curl),
        ("numbers, Prometheus", url(settings.sinks.host, settings.sinks.port, "/metrics")),
        ("numbers, ClickHouse", f"{clickhouse} (database {settings.clickhouse.database})"),
        ("logs", log_dir),
    ]
    if settings.collector.host not in LOOPBACK:
        found.append(("note", f"collector.host {settings.collector.host} is open to the network: put TLS in front of it"))
    return found
