"""Folds the metrics topic: the last total of each key and partition, for windows that are current or were a short while ago.

The log may be read in any order of its partitions, again and again, from anywhere: a total counts by its offset, so the outcome
is the same.
"""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.zones import DAY_MS, HOUR_MS, date_of_day
from streams.contract.total import Total

#: How long a window is kept after it started. 7d and 30d are named by their last day, a month by its first.
_KEPT_MS = {
    "hour": 50 * HOUR_MS,
    "day": 3 * DAY_MS,
    "7d": 3 * DAY_MS,
    "30d": 3 * DAY_MS,
    "month": 34 * DAY_MS,
}
_NOW_WINDOWS = ("5m", "30m")


class Slot(NamedTuple):
    """Which number: `place` is the window's local date, for hours its start (ms) as text, for 5m and 30m ""."""

    metric: str
    app: str
    facet: str
    window: str
    place: str


class Fold:
    """Totals of one layout, by slot and partition."""

    def __init__(self, layout: str) -> None:
        self._layout = layout
        #: slot -> partition -> (offset, value)
        self._totals: dict[Slot, dict[int, tuple[int, int]]] = {}
        #: app -> when its newest total was computed (ms)
        self._newest: dict[str, int] = {}

    def apply(self, total: Total, offset: int, now: int) -> None:
        """Takes a total that lies at that offset of its partition. now (ms) decides only what is too old to be kept."""
        if total.layout != self._layout or _is_past(total.window, total.start, total.day, now):
            return
        slot = slot_of(total)
        partitions = self._totals.setdefault(slot, {})
        known = partitions.get(total.partition)
        if known is None or offset > known[0]:
            partitions[total.partition] = (offset, total.value)
        if total.at > self._newest.get(total.app, 0):
            self._newest[total.app] = total.at

    def value(self, slot: Slot) -> int | None:
        """The sum over partitions; None when no partition has said anything."""
        partitions = self._totals.get(slot)
        return None if partitions is None else sum(value for _, value in partitions.values())

    def newest(self, app: str) -> int:
        """When the newest total of an app was computed (ms); 0 if there is none."""
        return self._newest.get(app, 0)

    def prune(self, now: int) -> None:
        """Forgets the windows that are long past."""
        past = [slot for slot in self._totals if _is_past(slot.window, _start_of(slot), slot.place, now)]
        for slot in past:
            del self._totals[slot]

    def __len__(self) -> int:
        return len(self._totals)

    def state(self) -> dict[Slot, int]:
        """Every number that is kept."""
        return {slot: sum(value for _, value in partitions.values()) for slot, partitions in self._totals.items()}


def slot_of(total: Total) -> Slot:
    """Which number a total is a part of."""
    if total.window in _NOW_WINDOWS:
        place = ""
    elif total.window == "hour":
        place = str(total.start)
    else:
        place = total.day
    return Slot(total.metric, total.app, total.facet, total.window, place)


def _start_of(slot: Slot) -> int:
    return int(slot.place) if slot.window == "hour" else 0


def _is_past(window: str, start: int, day: str, now: int) -> bool:
    """Whether a window is past for good, in any time zone (they differ by up to a day, which the spans kept allow for)."""
    if window in _NOW_WINDOWS:
        return False
    oldest = now - _KEPT_MS.get(window, 0)
    if window == "hour":
        return start < oldest
    return day < date_of_day(oldest // DAY_MS).isoformat()
