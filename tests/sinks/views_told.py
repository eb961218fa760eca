"""Random totals as streams may tell them, and what they come to: for tests of the views."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from ingest.contract.zones import Zone, day_of_date

PLAN = """
[project]
name = "Views"
time_zone = "Europe/Berlin"

[[apps]]
id = "north"
write_keys = ["key-1"]
time_zone = "America/New_York"
population = 400

[[apps]]
id = "south"
write_keys = ["key-2"]
time_zone = "Asia/Kolkata"

[[apps]]
id = "west"
write_keys = ["key-3"]
time_zone = "Pacific/Auckland"
population = 90

[[groups]]
id = "all"
apps = ["north", "south", "west"]
population = 1000

[[funnels]]
id = "buy"
app = "north"
steps = [{ event = "look" }, { event = "take" }, { event = "pay" }, { event = "get" }]

[[funnels]]
id = "read"
app = "all"
steps = [{ event = "look" }, { event = "turn" }]
"""
SCOPES = {"north": "America/New_York", "south": "Asia/Kolkata", "west": "Pacific/Auckland", "all": "Europe/Berlin"}
STEPS = {("north", "buy"): 4, ("all", "read"): 2}
POPULATION = {"north": 400, "west": 90, "all": 1000}
FACETS = ("", "platform:ios", "platform:web", "version:9.1:b", "scene:dining", "activity:paying")

Key = tuple[str, str, str, str, int, date, int]


class Row(NamedTuple):
    """A number and where it stands. 5m and 30m have no day."""

    metric: str
    app: str
    facet: str
    window: str
    start: int
    day: date
    hour: int
    value: int
    at: int


class Told(NamedTuple):
    """What was written, the totals that it comes to, and when (ms)."""

    lines: list[bytes]
    rows: list[Row]
    now: int

    def of(self, metric: str, *windows: str) -> list[Row]:
        return [row for row in self.rows if row.metric == metric and row.window in windows]

    def users(self, *windows: str) -> list[Row]:
        return self.of("active_users", *windows)


def _keys(rng: random.Random, last: date) -> Iterator[Key]:
    """Numbers of the last days, some of the month before and of the year before; many are missing."""
    days = [last - timedelta(days=back) for back in range(34)]
    days += [date(last.year - 1, last.month, 1), date(last.year - 1, last.month, 3)]
    for app, zone_name in SCOPES.items():
        zone = Zone(zone_name)

        def start(day: date, zone: Zone = zone) -> int:
            return zone.day_start(day_of_date(day))

        for day in days:
            if rng.random() < 0.15:
                continue
            following = start(day + timedelta(days=1))
            hours = [zone.hour(at) for at in range(start(day), following, 3_600_000)]
            for facet in FACETS:
                if facet and rng.random() < 0.5:
                    continue
                yield ("active_users", app, facet, "day", start(day), day, -1)
                for window, back in (("7d", 6), ("30d", 29)):
                    if rng.random() < 0.4:
                        yield ("active_users", app, facet, window, start(day - timedelta(days=back)), day, -1)
                for hour in rng.sample(hours, 5) + [one for one in hours if zone.clock_hour(one) in (1, 2, 3)]:
                    yield ("active_users", app, facet, "hour", zone.hour_start(hour), day, zone.clock_hour(hour))
            names = ["new_users", "returning_users", "resurrected_users", "dormant_users"]
            names += [] if app == "all" else ["launches", "usage_ms", "sessions"]
            for metric in names:
                if rng.random() < 0.8:
                    yield (metric, app, "", "day", start(day), day, -1)
            for n in rng.sample(range(31), 8):
                yield ("retained_users", app, f"d{n}", "day", start(day), day, -1)
            for funnel in {"north": ["buy", "old"], "all": ["read"]}.get(app, []):
                for step in range(1, rng.randint(2, 6) if funnel != "read" else 2):
                    yield ("funnel_users", app, f"{funnel}:{step}", "day", start(day), day, -1)
                    yield ("funnel_users", app, f"{funnel}:{step}:platform:ios", "day", start(day), day, -1)
                for bucket in (0, 10, 63, 64, 66, 4096):
                    if rng.random() < 0.5:
                        yield ("funnel_conversions", app, f"{funnel}:{bucket}", "day", start(day), day, -1)
        for back in (0, 1, 2, 11, 12, 13):
            month = months(last.replace(day=1), -back)
            for facet in FACETS:
                if rng.random() < 0.7:
                    yield ("active_users", app, facet, "month", start(month), month, -1)
            for other in SCOPES:
                if "all" not in (app, other) and other != app and rng.random() < 0.7:
                    yield ("overlap_users", app, f"app:{other}", "month", start(month), month, -1)
        for facet in FACETS[:3]:
            for window in ("5m", "30m"):
                yield ("active_users", app, facet, window, 0, last, -1)


def months(month: date, by: int) -> date:
    count = month.year * 12 + month.month - 1 + by
    return date(count // 12, count % 12 + 1, 1)


def tell(seed: int, last: date) -> Told:
    """Random tellings, in an order in which a later one may be written before an earlier one, and what they come to."""
    rng = random.Random(seed)
    now = int(datetime.now(UTC).timestamp() * 1000)
    lines: list[bytes] = []
    sums: dict[Key, int] = defaultdict(int)
    ats: dict[Key, int] = {}
    version = 0
    for key in dict.fromkeys(_keys(rng, last)):
        for layout in ("0", "1"):
            if layout == "0" and rng.random() < 0.9:
                continue
            for partition in (0, 1, 2) if rng.random() < 0.5 else (1,):
                for again in range(rng.choice((1, 1, 1, 2, 4))):
                    value = rng.choice((0, 1, rng.randint(1, 9), rng.randint(1, 9), rng.randint(10, 60)))
                    value *= 60_000 if key[0] == "usage_ms" else 1
                    version += 1
                    told_at = now - rng.choice((0, 50_000, 500_000, 3_000_000))
                    lines.append(_line(key, layout, partition, value, told_at, version))
                    if again and rng.random() < 0.3:
                        lines.append(lines[-1])  # written twice by a sink that came back
                if layout == "1":
                    sums[key] += value
                    ats[key] = max(ats.get(key, 0), told_at)
            if layout == "1" and sums[key] > 0 and rng.random() < 0.05:
                version += 1
                lines.append(_line(key, layout, -1, -1, now - 3_000_000, version))  # a person was forgotten
                sums[key] -= 1
                ats[key] = max(ats[key], now - 3_000_000)
    rng.shuffle(lines)
    return Told(lines, [Row(*key, value, ats[key]) for key, value in sums.items()], now)


def _line(key: Key, layout: str, partition: int, value: int, at: int, version: int) -> bytes:
    metric, app, facet, window, start, day, hour = key
    row = {"metric": metric, "app": app, "facet": facet, "window": window, "start": start, "day": day.isoformat(), "hour": hour}
    row |= {"layout": layout, "partition": partition, "value": value, "at": at, "version": version}
    return json.dumps(row).encode()
