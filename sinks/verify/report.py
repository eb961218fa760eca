"""What a verification found: how much was compared, and every difference. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from streams.contract.total import TotalKey

#: Differences that are kept in full; the rest is only counted.
MAX_SHOWN = 50


class Bounds(NamedTuple):
    """Where a number must lie, as the simulator's truth has it."""

    low: int
    high: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One number that is not the same everywhere. `truth` is "" where there is none, "3" or "3..5" otherwise."""

    key: TotalKey
    stream: int
    sql: int
    truth: str = ""


class Report(msgspec.Struct, kw_only=True):
    """The outcome. `ok` only if there was something to compare, and no difference.

    compared     numbers compared, by (metric, window)
    differences  the first of them; different: how many there are
    notes        what a reader must know (traffic went on, what was left out)
    """

    compared: dict[tuple[str, str], int] = {}
    differences: list[Difference] = []
    different: int = 0
    notes: list[str] = []
    events: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.different == 0 and sum(self.compared.values()) > 0

    def __str__(self) -> str:
        return render(self)


def compare(
    stream: Mapping[TotalKey, int], sql: Mapping[TotalKey, int], truth: Mapping[TotalKey, Bounds] | None
) -> tuple[dict[tuple[str, str], int], list[Difference]]:
    """(how many were compared, differences in order of key). A number that is absent somewhere is 0 there."""
    compared: Counter[tuple[str, str]] = Counter()
    differences: list[Difference] = []
    nothing = Bounds(0, 0)
    for key in sorted(stream.keys() | sql.keys() | (truth or {}).keys()):
        ours, theirs = stream.get(key, 0), sql.get(key, 0)
        bounds = nothing if truth is None else truth.get(key, nothing)
        if ours == theirs == 0 and bounds.high == 0:
            continue
        compared[key.metric, key.window] += 1
        if ours != theirs or (
            truth is not None and not (bounds.low <= ours <= bounds.high and bounds.low <= theirs <= bounds.high)
        ):
            differences.append(Difference(key=key, stream=ours, sql=theirs, truth="" if truth is None else _words(bounds)))
    return dict(compared), differences


def closed_only(numbers: Iterable[tuple[TotalKey, int]], before: int) -> dict[TotalKey, int]:
    """The numbers whose windows surely ended before an instant (ms): those that live traffic no longer changes."""
    return {key: value for key, value in numbers if key.start + _LENGTH_MS.get(key.window, _LENGTH_MS["month"]) <= before}


_DAY_MS = 86_400_000
#: At least as long as the window ever is: an hour more for a change of clocks, 31 days for a month.
_LENGTH_MS = {
    "hour": 3_600_000,
    "day": _DAY_MS + 3_600_000,
    "7d": 7 * _DAY_MS + 3_600_000,
    "30d": 30 * _DAY_MS + 3_600_000,
    "month": 31 * _DAY_MS + 3_600_000,
}


def _words(bounds: Bounds) -> str:
    return str(bounds.low) if bounds.low == bounds.high else f"{bounds.low}..{bounds.high}"


def render(report: Report) -> str:
    """The report as a table for a terminal."""
    lines = [f"{'metric':<18} {'window':<7} {'compared':>9} {'different':>9}"]
    different: Counter[tuple[str, str]] = Counter((one.key.metric, str(one.key.window)) for one in report.differences)
    for metric, window in sorted(report.compared):
        count = different[metric, window]
        lines.append(f"{metric:<18} {window:<7} {report.compared[metric, window]:>9,} {count or '-':>9}")
    if report.differences:
        lines += [
            "",
            f"{'metric':<18} {'app':<12} {'facet':<24} {'window':<7} {'start (UTC)':<19} {'stream':>12} {'SQL':>12} truth",
        ]
        for one in report.differences[:MAX_SHOWN]:
            key = one.key
            lines.append(
                f"{key.metric:<18} {key.app:<12} {key.facet or '(any)':<24} {key.window:<7} {_instant(key.start):<19} "
                f"{one.stream:>12,} {one.sql:>12,} {one.truth}"
            )
        if report.different > MAX_SHOWN:
            lines.append(f"... and {report.different - MAX_SHOWN:,} more")
    lines += ["", *(f"note: {note}" for note in report.notes)]
    total = sum(report.compared.values())
    if not total:
        verdict = "nothing to compare: there are no totals and no events yet"
    elif report.different:
        verdict = f"{report.different:,} of {total:,} numbers DIFFER"
    else:
        verdict = f"{total:,} numbers, no difference"
    lines.append(f"{verdict} ({report.events:,} raw rows, {report.seconds:.1f} s)")
    return "\n".join(lines)


def _instant(ms: int) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms):%Y-%m-%d %H:%M:%S}" if ms else "now"
