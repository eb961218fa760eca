"""The simulator's truth as a file: JSON lines, the first {"footfall_truth": 1, "at": ms}, then a number each. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from ingest.contract.errors import ConfigError
from ingest.contract.plan import Plan
from sinks.verify.report import Bounds
from streams.contract.total import TotalKey, Window


class _Head(msgspec.Struct):
    footfall_truth: int
    at: int


class _Number(msgspec.Struct):
    metric: str
    app: str
    facet: str
    window: Window
    start: int
    low: int
    high: int


def read_truth(lines: Iterable[bytes], source: str) -> tuple[int, dict[TotalKey, Bounds]]:
    """(when it was worked out, ms; the numbers). Raises ConfigError for a file that is none."""
    decoder = msgspec.json.Decoder(_Number)
    found: dict[TotalKey, Bounds] = {}
    try:
        rest = iter(lines)
        head = msgspec.json.decode(next(rest, b""), type=_Head)
        for line in rest:
            one = decoder.decode(line)
            found[TotalKey(one.metric, one.app, one.facet, one.window, one.start)] = Bounds(one.low, one.high)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source} does not hold a simulator's numbers (`footfall simulate --truth`): {error}") from error
    return head.at, found


def begun(plan: Plan, key: TotalKey, at: int) -> bool:
    """Whether a truth worked out at an instant (ms) speaks of a window: it does not of trailing ones that ended on later days."""
    if key.window not in ("7d", "30d"):
        return True
    zone = ZoneInfo(plan.zone_name(key.app))
    today = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date()
    first = today - timedelta(days=6 if key.window == "7d" else 29)
    return key.start < datetime.combine(first + timedelta(days=1), time(), zone).timestamp() * 1000
