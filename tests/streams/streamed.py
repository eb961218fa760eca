"""The stream's numbers of some events, without Kafka: its partitions side by side in memory."""

from __future__ import annotations

from collections.abc import Iterable

from ingest.contract.settings import Settings
from streams.contract.total import TotalKey, decode_total
from streams.replay import Replay
from streams.rules import Rules

PARTITIONS = 3


def streamed(plan: Settings, lines: Iterable[bytes], now: int) -> dict[TotalKey, int]:
    """All that is not 0 by `now` (ms), "active now" left out, of event lines of some persons in several partitions."""
    replay = Replay(Rules(plan), "events", PARTITIONS, {}, 1000)
    last: dict[tuple[int, bytes], tuple[TotalKey, int]] = {}
    for some in lines:
        replay.feed(some, now)
        busy = True
        while busy:
            busy = False
            for step in replay.round(now):
                busy = True
                for key, line in step.taken.totals:
                    total = decode_total(line)
                    if total.window not in ("5m", "30m"):
                        named = TotalKey(total.metric, total.app, total.facet, total.window, total.start)
                        last[step.number, key] = named, total.value
                replay.wrote(step)
    found: dict[TotalKey, int] = {}
    for number, value in last.values():
        found[number] = found.get(number, 0) + value
    return {key: value for key, value in found.items() if value}
