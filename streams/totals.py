"""The totals of a partition: what its records' contributions add up to, kept up to date change by change.

There is one definition of a contribution: the `count_*` methods take what a part of a record was and what it is now, and count
the difference. Summing afresh (streams.contributions) is the same with "was" being nothing. Both must agree, and a test says so.

A change of a closed window (streams.clock) is not counted: records have begun to forget what such a window is made of. Its
last value stays what it is, downstream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import NamedTuple

from ingest.contract.zones import month_start
from streams.bits import Tally, each
from streams.clock import ScopeClock
from streams.contract.total import Window
from streams.life import AHEAD, DORMANT_DAYS, LIFE_METRICS, NEVER, RETENTION_DAYS, life, retained
from streams.record import ANY
from streams.spans import NOTHING, SpanNumbers, Spans, numbers
from streams.windows import WINDOWS, covered

#: Minutes of the `now` windows.
NOW_MINUTES: dict[Window, int] = {"5m": 5, "30m": 30}
TRAILING: tuple[tuple[Window, int], ...] = (("7d", 7), ("30d", 30))


Facets = tuple[int, ...]

#: How far the windows that a new day is in reach back from it, and how many days ago the one before need not be told apart.
_REACH_DAYS = 30
_LONG_AGO = _REACH_DAYS + 1
#: So many hours are quicker counted one by one than bit by bit with those of others.
_FEW_HOURS = 6


class Key(NamedTuple):
    """A total's key inside the partition. `start` is the hour number for hours, else the day number that names the window:
    the day itself, the last day of a trailing window, the first day of a month."""

    metric: str
    scope: int
    facet: int
    window: Window
    start: int


class TotalsState(NamedTuple):
    """What totals hold: values, and (scope, facet) -> minute -> persons whose last event is in that minute."""

    values: dict[Key, int]
    minutes: dict[tuple[int, int], dict[int, int]]


class Totals:
    """Values by key, which of them changed since they were last taken, and how many persons were last seen in which minute.

    retained_facet   gives the facet number that stands for "n days after the first"
    """

    def __init__(self, gap_ms: int, retained_facet: Callable[[int], int]) -> None:
        self.gap_ms = gap_ms
        self.retained_facet = retained_facet
        self._values: dict[Key, int] = {}
        self._changed: set[Key] = set()
        #: (scope, facet) -> minute -> persons whose last event is in that minute
        self._minutes: dict[tuple[int, int], dict[int, int]] = {}
        #: Minutes before this one are not counted: no `now` window asks for them.
        self.oldest_minute = 0
        # Changes not yet in the above. Many persons, facets and windows change alike, so they are counted together first.
        self._newest: dict[tuple[int, Facets, int, int], int] = {}  # (scope, facets, newest day, days since the one before)
        self._newest_lives: dict[
            tuple[int, int, int, int], int
        ] = {}  # (scope, newest day, since the one before, since the first)
        self._windows: dict[tuple[int, Facets, int], tuple[Tally, ...]] = {}  # (scope, facets, anchor day)
        self._lives: dict[tuple[int, int], tuple[Tally, ...]] = {}  # (scope, anchor day)
        self._cohorts: dict[tuple[int, int], Tally] = {}  # (scope, first day)
        self._one_hour: dict[tuple[int, Facets, int], int] = {}  # (scope, facets, hour)
        self._hours: dict[tuple[int, Facets, int], Tally] = {}  # (scope, facets, anchor hour)
        self._moves: dict[tuple[int, Facets, int, int], int] = {}  # (scope, facets, from minute, to minute)
        self._sums: dict[tuple[str, int, int], int] = {}  # (metric, scope, day)
        #: Changes that came after their window had closed.
        self.closed_changes = 0

    def count_days(self, clock: ScopeClock, scope: int, facets: Facets, anchor: int, was: int, now: int) -> None:
        """Days seen, as bits before the anchor day; of facets that were and are seen on the same days."""
        if was ^ now == 1 and anchor - _REACH_DAYS >= clock.oldest_day:
            newest = scope, facets, anchor, _days_before(was & now)
            self._newest[newest] = self._newest.get(newest, 0) + (now & 1 or -1)
            return
        keep = clock.horizon.keep_days
        back = clock.day - anchor
        key = scope, facets, clock.day
        tallies = self._windows.get(key)
        if tallies is None:
            tallies = self._windows[key] = tuple(Tally() for _ in WINDOWS)
        before, after = covered(clock.day, was << back, keep), covered(clock.day, now << back, keep)
        for tally, old, new in zip(tallies, before, after, strict=True):
            tally.change(old, new)

    def count_life(self, clock: ScopeClock, scope: int, anchor: int, was: tuple[int, int], now: tuple[int, int]) -> None:
        """(days seen, first day): bits before the anchor day, and a day number."""
        (was_days, was_first), (now_days, now_first) = was, now
        first = now_first if now_days else was_first
        same_first = was_first == now_first or not was_days or not now_days
        if was_days ^ now_days == 1 and same_first and anchor - _REACH_DAYS >= clock.oldest_day:
            newest = scope, anchor, _days_before(was_days & now_days), anchor - first
            self._newest_lives[newest] = self._newest_lives.get(newest, 0) + (now_days & 1 or -1)
            return
        keep = clock.horizon.keep_days
        back = clock.day - anchor
        key = scope, clock.day
        tallies = self._lives.get(key)
        if tallies is None:
            tallies = self._lives[key] = tuple(Tally() for _ in LIFE_METRICS)
        mask = clock.horizon.day_mask
        before = life(clock.day, was_days << back & mask, was_first, keep) if was_days else NEVER
        after = life(clock.day, now_days << back & mask, now_first, keep) if now_days else NEVER
        for tally, old, new in zip(tallies, before, after, strict=True):
            tally.change(old, new)
        if was_days and was_first == now_first and now_days:
            self._count_cohort(
                clock, scope, now_first, retained(anchor, was_days, was_first), retained(anchor, now_days, now_first)
            )
        else:
            if was_days:
                self._count_cohort(clock, scope, was_first, retained(anchor, was_days, was_first), 0)
            if now_days:
                self._count_cohort(clock, scope, now_first, 0, retained(anchor, now_days, now_first))

    def _count_cohort(self, clock: ScopeClock, scope: int, first: int, was: int, now: int) -> None:
        if first < clock.oldest_day:
            return
        tally = self._cohorts.get((scope, first))
        if tally is None:
            tally = self._cohorts[scope, first] = Tally()
        tally.change(was, now)

    def count_overlap(self, clock: ScopeClock, scope: int, facet: int, month: int, difference: int) -> None:
        """A person active in two apps in a month (the number of its first day); `facet` stands for the other app."""
        if month >= clock.oldest_day:
            self.add(Key("overlap_users", scope, facet, "month", month), difference)

    def count_funnel(self, clock: ScopeClock, key: Key, difference: int) -> None:
        """A person in a funnel's total (see streams.contributions.funnel_keys)."""
        if key.start < clock.oldest_funnel_day:
            self.closed_changes += 1
        else:
            self.add(key, difference)

    def count_hour(self, clock: ScopeClock, scope: int, facets: Facets, hour: int) -> None:
        """One more hour seen."""
        if hour >= clock.oldest_hour:
            key = scope, facets, hour
            self._one_hour[key] = self._one_hour.get(key, 0) + 1
        else:
            self.closed_changes += 1

    def count_hours(self, clock: ScopeClock, scope: int, facets: Facets, anchor: int, was: int, now: int) -> None:
        """Hours seen, as bits before the anchor hour; as `count_days`."""
        changed = was ^ now
        if changed.bit_count() <= _FEW_HOURS:
            for position in each(changed):
                key = scope, facets, anchor - position
                if key[2] >= clock.oldest_hour:
                    self._one_hour[key] = self._one_hour.get(key, 0) + (1 if now >> position & 1 else -1)
            return
        back = clock.hour - anchor
        if back >= clock.horizon.keep_hours:
            return
        together = scope, facets, clock.hour
        tally = self._hours.get(together)
        if tally is None:
            tally = self._hours[together] = Tally()
        mask = clock.horizon.hour_mask
        tally.change(was << back & mask, now << back & mask)

    def count_minute(self, scope: int, facets: Facets, was: int, now: int) -> None:
        """The minute last seen (0: never) of facets that moved together."""
        move = scope, facets, was, now
        self._moves[move] = self._moves.get(move, 0) + 1

    def count_launches(self, clock: ScopeClock, scope: int, day: int, was: int, now: int) -> None:
        """The number of launches of a day."""
        if was != now:
            self._add_day(clock, "launches", scope, day, now - was)

    def count_spans(self, clock: ScopeClock, scope: int, day: int, was: SpanNumbers, now: SpanNumbers) -> None:
        """Usage and sessions of a day."""
        if was.usage_ms != now.usage_ms:
            self._add_day(clock, "usage_ms", scope, day, now.usage_ms - was.usage_ms)
        if was.sessions != now.sessions:
            self._add_day(clock, "sessions", scope, day, now.sessions - was.sessions)

    def count_span(self, clock: ScopeClock, scope: int, day: int, usage_ms: int, sessions: int) -> None:
        """Usage and sessions that a day has gained."""
        if usage_ms:
            self._add_day(clock, "usage_ms", scope, day, usage_ms)
        if sessions:
            self._add_day(clock, "sessions", scope, day, sessions)

    def day_numbers(self, clock: ScopeClock, spans: Spans, day: int) -> SpanNumbers:
        """What a day's spans come to."""
        if day not in spans:
            return NOTHING
        zone = clock.zone
        return numbers(spans, day, zone.day_start(day), zone.day_start(day + 1), self.gap_ms)

    def _add_day(self, clock: ScopeClock, metric: str, scope: int, day: int, difference: int) -> None:
        if day < clock.oldest_span_day:
            self.closed_changes += 1
        else:
            key = metric, scope, day
            self._sums[key] = self._sums.get(key, 0) + difference

    def add(self, key: Key, difference: int) -> None:
        """Changes a value."""
        if difference:
            self._values[key] = self._values.get(key, 0) + difference
            self._changed.add(key)

    def _settle(self) -> None:
        """Adds up what was counted together."""
        self._settle_days()
        self._settle_lives()
        self._settle_hours()
        for (metric, scope, day), difference in self._sums.items():
            self.add(Key(metric, scope, ANY, "day", day), difference)
        self._sums.clear()
        oldest = self.oldest_minute
        for (scope, facets, was, now), persons in self._moves.items():
            for facet in facets if was >= oldest or now >= oldest else ():
                minutes = self._minutes.setdefault((scope, facet), {})
                if was >= oldest:
                    minutes[was] = minutes.get(was, 0) - persons
                if now >= oldest:
                    minutes[now] = minutes.get(now, 0) + persons
        self._moves.clear()

    def _settle_days(self) -> None:
        newest: dict[tuple[int, int, int], list[int]] = {}
        for (scope, facets, day, since), persons in self._newest.items():
            for facet in facets:
                row = newest.get((scope, facet, day))
                if row is None:
                    row = newest[scope, facet, day] = [0] * (_LONG_AGO + 1)
                row[since] += persons
        self._newest.clear()
        for (scope, facet, day), row in newest.items():
            # at_least[n]: the person's day before was n days ago or more
            at_least = list(accumulate(reversed(row)))[::-1]
            self.add(Key("active_users", scope, facet, "day", day), at_least[1])
            first = month_start(day)
            self.add(Key("active_users", scope, facet, "month", first), at_least[day - first + 1])
            for window, length in TRAILING:  # the windows that end so many days ahead did not hold the day before
                for ahead in range(length):
                    self.add(Key("active_users", scope, facet, window, day + ahead), at_least[length - ahead])
        for (scope, facet, anchor), tallies in _by_facet(self._windows).items():
            for (window, name), tally in zip(WINDOWS, tallies, strict=True):
                for position, difference in tally.items():
                    self.add(Key("active_users", scope, facet, window, name(anchor, position)), difference)
        self._windows.clear()

    def _settle_hours(self) -> None:
        for (scope, facets, hour), persons in self._one_hour.items():
            for facet in facets:
                self.add(Key("active_users", scope, facet, "hour", hour), persons)
        self._one_hour.clear()
        one = {key: (tally,) for key, tally in self._hours.items()}
        for (scope, facet, anchor), (tally,) in _by_facet(one).items():
            for position, difference in tally.items():
                self.add(Key("active_users", scope, facet, "hour", anchor - position), difference)
        self._hours.clear()

    def _settle_lives(self) -> None:
        for (scope, day, since, since_first), persons in self._newest_lives.items():
            if not since_first:
                kind = "new_users"
            elif since <= DORMANT_DAYS:
                kind = "returning_users"
                self.add(Key("dormant_users", scope, ANY, "day", day - since + DORMANT_DAYS), -persons)
            else:
                kind = "resurrected_users"
            self.add(Key(kind, scope, ANY, "day", day), persons)
            self.add(Key("dormant_users", scope, ANY, "day", day + DORMANT_DAYS), persons)
            if since_first <= RETENTION_DAYS:
                facet = self.retained_facet(since_first)
                self.add(Key("retained_users", scope, facet, "day", day - since_first), persons)
        self._newest_lives.clear()
        for (scope, anchor), tallies in self._lives.items():
            for metric, tally in zip(LIFE_METRICS, tallies, strict=True):
                for position, difference in tally.items():
                    self.add(Key(metric, scope, ANY, "day", anchor + AHEAD - position), difference)
        self._lives.clear()
        for (scope, first), tally in self._cohorts.items():
            for position, difference in tally.items():
                facet = self.retained_facet(RETENTION_DAYS - position)
                self.add(Key("retained_users", scope, facet, "day", first), difference)
        self._cohorts.clear()

    def values(self) -> dict[Key, int]:
        """The values by key, all changes in it."""
        self._settle()
        return self._values

    def take_changed(self) -> set[Key]:
        """The keys that changed since this was last asked."""
        self._settle()
        changed, self._changed = self._changed, set()
        return changed

    def state(self) -> TotalsState:
        """All that is counted, to be given to `restore` of others."""
        return TotalsState(self.values(), self._minutes)

    def restore(self, state: TotalsState) -> None:
        """Takes over what others counted; for empty totals. Nothing counts as changed by it."""
        self._values, self._minutes = state

    def forget_changes(self) -> None:
        """From here on, nothing counts as changed."""
        self.take_changed()
        self.closed_changes = 0

    def active_now(self, scope: int, facet: int, minute: int, window: Window) -> int:
        """Persons whose last minute seen is one of the window's last whole minutes, up to and with `minute`.

        Changes since the last `values` or `take_changed` are not in it yet.
        """
        minutes = self._minutes.get((scope, facet))
        if not minutes:
            return 0
        return sum(minutes.get(one, 0) for one in range(minute - NOW_MINUTES[window] + 1, minute + 1))

    def forget_minutes(self, minute: int) -> None:
        """Drops the minutes that no `now` window which ends at `minute` or later asks for."""
        oldest = minute - max(NOW_MINUTES.values())
        if oldest == self.oldest_minute:
            return
        self.oldest_minute = oldest
        for minutes in self._minutes.values():
            for one in [one for one in minutes if one < oldest]:
                del minutes[one]

    def forget_closed(self, clocks: dict[int, ScopeClock]) -> None:
        """Drops the values of windows that have closed and are not waiting to be taken."""
        self._settle()
        for key in [key for key in self._values if key not in self._changed and _is_closed(clocks[key.scope], key)]:
            del self._values[key]


def _days_before(days: int) -> int:
    """How many days before the anchor the newest of the days is."""
    return min((days & -days).bit_length() - 1, _LONG_AGO) if days else _LONG_AGO


def _by_facet(tallies: Mapping[tuple[int, Facets, int], tuple[Tally, ...]]) -> dict[tuple[int, int, int], tuple[Tally, ...]]:
    """What was counted for facets together, facet by facet."""
    found: dict[tuple[int, int, int], tuple[Tally, ...]] = {}
    for (scope, facets, anchor), those in tallies.items():
        for facet in facets:
            mine = found.get((scope, facet, anchor))
            if mine is None:
                mine = found[scope, facet, anchor] = tuple(Tally() for _ in those)
            for tally, one in zip(mine, those, strict=True):
                tally.merge(one)
    return found


#: How far before the day that names it a window begins to look, in days, by metric and window.
_REACH_BACK = {("active_users", "7d"): 6, ("active_users", "30d"): 29} | {(metric, "day"): 30 for metric in LIFE_METRICS}
_SPAN_METRICS = frozenset({"launches", "usage_ms", "sessions"})
_FUNNEL_METRICS = frozenset({"funnel_users", "funnel_conversions"})


def _is_closed(clock: ScopeClock, key: Key) -> bool:
    if key.window == "hour":
        return key.start < clock.oldest_hour
    if key.metric in _SPAN_METRICS:
        return key.start < clock.oldest_span_day
    if key.metric in _FUNNEL_METRICS:
        return key.start < clock.oldest_funnel_day
    return key.start - _REACH_BACK.get((key.metric, key.window), 0) < clock.oldest_day
