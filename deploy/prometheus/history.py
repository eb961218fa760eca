"""What the rules' baselines would have recorded, had Prometheus been there: from counts in ClickHouse to OpenMetrics. Pure.

Names and meaning are those of the recording rules beside this module; a test holds that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from ingest.contract.zones import HOUR_MS

STEP_MS = 300_000
HALF_HOUR_MS = 1_800_000
#: The baselines look back four weeks and half an hour; day and night before that fill the hour's averages.
DAYS = 29
#: Shares of events, and conversions, look back a week.
EVENT_DAYS = 8

# When they were received, as counters have it, and not when they happened.
_RECEIVED = "received >= {since:Int64} AND received < {until:Int64}"
#: All events of an app by slot, and those of them that are activity: what the sinks count, and what the worker does.
EVENTS_SQL = (
    "SELECT intDiv(received, {step:Int64}) AS slot, count(), "
    "countIf(type IN {types:Array(String)} AND event NOT IN {passive:Array(String)}) FROM events "
    f"WHERE app = {{app:String}} AND {_RECEIVED} GROUP BY slot ORDER BY slot"
)
NAMES_SQL = (
    "SELECT toString(event), intDiv(received, {step:Int64}) AS slot, count() FROM events WHERE app = {app:String} "
    f"AND event IN {{names:Array(String)}} AND {_RECEIVED} GROUP BY event, slot"
)
#: Persons by day and step, as the stream has counted them: the gauge's own numbers.
FUNNELS_SQL = (
    "SELECT dateDiff('day', toDate('1970-01-01'), day), step, users FROM funnel "
    "WHERE app = {app:String} AND funnel = {funnel:String} AND breakdown = '' AND day >= toDate('1970-01-01') + {day:Int32}"
)
USERS_SQL = (
    "SELECT intDiv(time, {step:Int64}) AS slot, uniqExact(person) FROM events WHERE app IN {apps:Array(String)} "
    "AND type IN {types:Array(String)} AND concat(app, ' ', event) NOT IN {passive:Array(String)} "
    "AND time >= {since:Int64} AND time < {until:Int64} GROUP BY slot ORDER BY slot"
)


class Sample(NamedTuple):
    """A value of a series at a time (s)."""

    series: str
    at: int
    value: float

    def line(self) -> str:
        """As OpenMetrics has it."""
        return f"{self.series} {self.value:.9g} {self.at}\n"


def series(name: str, **labels: str) -> str:
    """A series as OpenMetrics writes it."""
    return name + "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def dense(counts: Mapping[int, int], until: int) -> tuple[int, list[int]]:
    """(first slot, counts of all slots from it up to `until`): 0 where nothing was; empty without any count."""
    if not counts:
        return until, []
    first = min(counts)
    return first, [counts.get(slot, 0) for slot in range(first, until)]


def trailing(values: Sequence[float], width: int) -> list[float]:
    """Sums of the last `width` values; at the start of as many as there are."""
    sums = [0.0, *accumulate(values)]
    return [sums[end] - sums[max(0, end - width)] for end in range(1, len(sums))]


def activity(app: str, counts: Mapping[int, int], until: int) -> Iterator[Sample]:
    """Activity events of slots of five minutes -> rates of 15 minutes and their averages over an hour."""
    first, values = dense(counts, until)
    rates = [count / 900 for count in trailing(values, 3)]
    averages = [total / 12 for total in trailing(rates, 12)]
    yield from _samples(series("app:footfall_events:rate15m", app=app), first, rates)
    yield from _samples(series("app:footfall_events:avg1h", app=app), first, averages)


def users(scope: str, counts: Mapping[int, int], until: int) -> Iterator[Sample]:
    """Active users of half hours -> their average over an hour, every five minutes."""
    first, values = dense(counts, until)
    per_half_hour = HALF_HOUR_MS // STEP_MS
    averages = [total / 2 for total in trailing(values, 2)]
    steps = [value for value in averages for _ in range(per_half_hour)]
    yield from _samples(series("app:footfall_active_users:avg1h", app=scope), first * per_half_hour, steps)


def tracking(
    app: str, names: Sequence[str], by_name: Mapping[str, Mapping[int, int]], total: Mapping[int, int], until: int
) -> Iterator[Sample]:
    """Events by name, of slots of five minutes -> rates of an hour, of each name and of all, and shares."""
    first, values = dense(total, until)
    all_rates = [count / 3600 for count in trailing(values, 12)]
    yield from _samples(series("app:footfall_events_by_name:rate1h", app=app), first, all_rates)
    for name in names:
        counts = by_name.get(name, {})
        rates = [count / 3600 for count in trailing([counts.get(slot, 0) for slot in range(first, until)], 12)]
        labels = {"app": app, "event": name}
        yield from _samples(series("app_event:footfall_events:rate1h", **labels), first, rates)
        shares = [rate / whole if whole else float("nan") for rate, whole in zip(rates, all_rates, strict=True)]
        yield from _samples(series("app_event:footfall_events:share1h", **labels), first, shares)


def funnel(
    scope: str,
    name: str,
    events: Sequence[str],
    by_day: Mapping[int, Mapping[int, int]],
    day_start: Callable[[int], int],
    now: int,
) -> Iterator[Sample]:
    """Persons of a funnel by local day and step (from 1) -> those who reach a step in an hour, and the step before it.

    events: the steps'; day_start: a day's first instant (ms); now: ms, until which today's have come. A day's persons are spread
    evenly over it: of all this the rules read means over days only.
    """
    for step, event in enumerate(events, 1):
        reached = series("funnel:footfall_funnel_users:in1h", app=scope, funnel=name, step=str(step), event=event)
        before = series("funnel:footfall_funnel_users:before1h", app=scope, funnel=name, step=str(step))
        yield from _spread(reached, {day: users.get(step, 0) for day, users in by_day.items()}, day_start, now)
        if step > 1:
            yield from _spread(before, {day: users.get(step - 1, 0) for day, users in by_day.items()}, day_start, now)


def _spread(name: str, by_day: Mapping[int, int], day_start: Callable[[int], int], now: int) -> Iterator[Sample]:
    for day, users in sorted(by_day.items()):
        start, end = day_start(day), min(day_start(day + 1), now)
        first, last = -(-start // STEP_MS), end // STEP_MS
        for slot in range(first, last):
            yield Sample(name, (slot + 1) * STEP_MS // 1000, users * HOUR_MS / (end - start))


def _samples(name: str, first: int, values: Sequence[float]) -> Iterator[Sample]:
    """At the end of each slot."""
    for slot, value in enumerate(values, first):
        yield Sample(name, (slot + 1) * STEP_MS // 1000, value)
