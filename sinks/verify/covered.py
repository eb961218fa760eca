"""Which windows can be compared at all: raw events leave after a time, and what is new in a plan is not counted before. Pure.

Where the beginning is missing on one side (raw events: their time to live; the stream: a new group), it cannot be told there who
was new. But whoever was active and had not been for 30 days is new or resurrected: these two are compared added up then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from ingest.contract.plan import Plan
from sinks.verify.report import Bounds, Difference
from streams.contract.catalogue import (
    ACTIVE_USERS,
    DORMANT_USERS,
    FUNNEL_CONVERSIONS,
    FUNNEL_USERS,
    NEW_USERS,
    RESURRECTED_USERS,
    RETAINED_USERS,
    RETURNING_USERS,
)
from streams.contract.total import TotalKey

_DAY_MS = 86_400_000
_FUNNELS = (FUNNEL_USERS, FUNNEL_CONVERSIONS)
_FIRST = (NEW_USERS, RESURRECTED_USERS)
#: As which these two are compared added up.
NEW_OR_BACK = "new+resurrected"
#: How far lives look back.
_LIFE_MS = 31 * _DAY_MS


class Family(NamedTuple):
    """Numbers that begin to be counted together: of an app or group, an activity, a scene, a segment, or a funnel.

    what: "" for the app or group itself, else the activity's or scene's facet, the segment's or funnel's id with a word before it
    """

    scope: str
    what: str


def family(key: TotalKey) -> Family:
    """Where a number belongs."""
    if key.metric in _FUNNELS:
        return Family(key.app, f"funnel {key.facet.split(':')[0]}")
    if key.metric != ACTIVE_USERS:
        return Family(key.app, "")
    kind = key.facet.split(":")[0]
    return Family(key.app, key.facet if kind in ("", "activity", "scene") else f"segment {kind}")


def first_window(numbers: Mapping[TotalKey, int]) -> int | None:
    """When the first hour or day that has a number begins (ms)."""
    return min((key.start for key, value in numbers.items() if value and key.window in ("hour", "day")), default=None)


def first_windows(numbers: Mapping[TotalKey, int]) -> dict[Family, int]:
    """When (ms) the first hour of each family that has a number begins; of a funnel, which has none of hours, the first day."""
    found: dict[Family, int] = {}
    for key, value in numbers.items():
        if value and key.window == ("day" if key.metric in _FUNNELS else "hour"):
            one = family(key)
            found[one] = min(key.start, found.get(one, key.start))
    return found


def within(key: TotalKey, since: int) -> TotalKey | None:
    """The key as which a number is compared where one side knows nothing of what was before `since` (ms); None: not at all."""
    if key.metric == RETAINED_USERS:
        return None
    if key.metric in _FIRST:
        return key._replace(metric=NEW_OR_BACK) if key.start >= since + _LIFE_MS else None
    if key.metric in (RETURNING_USERS, DORMANT_USERS):
        return key if key.start >= since + _LIFE_MS else None
    return key if key.start >= since + _DAY_MS else None  # a session may have begun on the day before


class Cut(NamedTuple):
    """From when on (ms) there is something to compare: `everywhere` (0: from the beginning), and of families that began later."""

    everywhere: int = 0
    later: Mapping[Family, int] = {}

    def key(self, key: TotalKey) -> TotalKey | None:
        """The key as which a number is compared, None: not at all."""
        one = family(key)
        since = max(self.everywhere, self.later.get(Family(one.scope, ""), 0))
        if one.what and key.start < self.later.get(one, 0):
            return None
        return within(key, since) if since else key

    def numbers(self, numbers: Mapping[TotalKey, int]) -> dict[TotalKey, int]:
        """What of the numbers is compared."""
        found: dict[TotalKey, int] = {}
        for key, value in numbers.items():
            as_key = self.key(key)
            if as_key is not None:
                found[as_key] = found.get(as_key, 0) + value
        return found

    def bounds(self, truth: Mapping[TotalKey, Bounds]) -> dict[TotalKey, Bounds]:
        """The same of a truth."""
        low = self.numbers({key: bounds.low for key, bounds in truth.items()})
        high = self.numbers({key: bounds.high for key, bounds in truth.items()})
        return {key: Bounds(low[key], high[key]) for key in low}


def begun_later(
    plan: Plan, stream: Mapping[TotalKey, int], sql: Mapping[TotalKey, int], told: Mapping[Family, int], now: int
) -> dict[Family, int]:
    """Families that SQL finds in windows before the first that the stream has, and since when (ms) the stream counts them.

    told: when the oldest total of each family was told; one that has none is counted from `now` (ms) on. Only where the stream
    had counted the app, or one of the group's, by then: what an app itself lacks is a loss, as nothing comes before it is in the
    plan.
    """
    members = {app.id: [app.id] for app in plan.apps} | {group.id: group.apps for group in plan.groups}
    ours, theirs = first_windows(stream), first_windows(sql)
    found = {}
    for one, first in theirs.items():
        began = ours.get(one, now)
        own = one.what == "" and members.get(one.scope) == [one.scope]
        counted = min((ours.get(Family(app, ""), now) for app in members.get(one.scope, ())), default=now)
        if not own and first < began and counted < began:
            found[one] = told.get(one, now)
    return found


def later_note(later: Mapping[Family, int], stream: Mapping[TotalKey, int]) -> str:
    """What a reader must know of families that the stream counts for a shorter time than there are raw events."""
    counted = first_windows(stream)
    words = ", ".join(
        f"{_words(one)} ({f'since {_minute(since)} UTC' if one in counted else 'not yet'})"
        for one, since in sorted(later.items())
    )
    return (
        f"the stream counts only lately: {words}. Earlier windows are left out, which is right after a change of the plan, and "
        "hides a loss without one; `footfall replay` counts the past by the new plan"
    )


def raw_note(since: int) -> str:
    """What a reader must know when the first raw events have left."""
    return (
        f"raw events received before {_minute(since)} UTC are gone (clickhouse.events_ttl_days): compared are windows that "
        f"begin a day later or more; returning, dormant, new and resurrected users from {_minute(since + _LIFE_MS)} UTC on, the "
        f"last two added up ({NEW_OR_BACK}) and retained users not at all, as SQL no longer knows who was new"
    )


def changed_note(differences: Iterable[Difference], compared: Iterable[TotalKey]) -> str:
    """In words, which activities, scenes and segments differ in older windows only, while their app does not differ: so does it
    look when their definition changed. "" for none."""
    last: dict[Family, int] = {}
    for one in differences:
        name = family(one.key)
        last[name] = max(one.key.start, last.get(name, one.key.start))
    agree: dict[Family, int] = {}
    for key in compared:
        name = family(key)
        if (
            name.what
            and key.metric not in _FUNNELS
            and Family(name.scope, "") not in last
            and key.start > last.get(name, key.start)
        ):
            agree[name] = agree.get(name, 0) + 1
    if not agree:
        return ""
    words = ", ".join(
        f"{_words(one)} (none of {count:,} numbers after {_minute(last[one])} UTC)" for one, count in sorted(agree.items())
    )
    return (
        f"these differ in older windows only: {words}. If the plan changed since (events of an activity, values of a segment), "
        "both are right by their own plan: `footfall replay` counts the past by the new one"
    )


def _words(one: Family) -> str:
    return f"{one.what} of {one.scope}" if one.what else one.scope


def _minute(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"
