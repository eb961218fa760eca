"""Which totals leave the stream, and how they are written: absolute values of what changed, by names and instants."""

from __future__ import annotations

from ingest.contract.zones import date_of_day
from streams.clock import ScopeClock
from streams.contract.total import Total, Window, encode_total, record_key
from streams.names import Names
from streams.rules import Rules
from streams.totals import NOW_MINUTES, Key, Totals

#: Beginnings of lines that are remembered: those of the open windows, and a day's more.
_MOST_HEADS = 20_000


class Emission:
    """Turns changed totals of a partition into lines for the metrics topic.

    Windows that end after today are held back until their day has come. After a start hardly anything counts as changed, as
    totals leave in the same transaction as the records they sum up; but time went on, so the trailing windows, what had been
    held back, and the `now` windows are told again.
    """

    def __init__(self, rules: Rules, names: Names, clocks: dict[int, ScopeClock], partition: int, totals: Totals) -> None:
        self._layout = rules.layout
        self._names = names
        self._clocks = clocks
        self._partition = partition
        self._totals = totals
        self._later: set[Key] = {
            key
            for key in totals.values()
            if key.window in ("7d", "30d") or (key.window != "hour" and key.start >= clocks[key.scope].day)
        }
        self._tail = b""
        self._minute = 0
        self._hours: list[int] = []
        self._heads: dict[Key, tuple[bytes, bytes]] = {}
        self._now_sent: dict[tuple[int, int, Window], int | None] = {
            (names.number(scope), names.number(facet), window): None
            for scope, facets in rules.facet_names.items()
            for facet in facets
            for window in NOW_MINUTES
        }

    def take(self, now: int, oldest: int = 0) -> list[tuple[bytes, bytes]]:
        """(key, line) of every total that changed since it was last taken and that may be told by `now` (ms, UTC).

        oldest: as in Total.
        """
        self._tail = b',"at":%d,"oldest":%d}' % (now, oldest) if oldest else b',"at":%d}' % now
        totals = self._totals
        lines: list[tuple[bytes, bytes]] = []
        due = totals.take_changed()
        values = totals.values()
        minute = now // 60_000
        today = {scope: clock.zone.day(now) for scope, clock in self._clocks.items()}
        if minute != self._minute:
            self._minute = minute
            came = {key for key in self._later if key.start <= today[key.scope]}
            self._later -= came
            due |= came
        for key in due:
            if key.window != "hour" and key.start > today[key.scope]:
                self._later.add(key)
                continue
            lines.append(self._line(key, values[key]))
        hours = [clock.hour for clock in self._clocks.values()]
        if hours != self._hours:
            self._hours = hours
            totals.forget_closed(self._clocks)
        self._take_now(now, lines)
        return lines

    def _line(self, key: Key, value: int) -> tuple[bytes, bytes]:
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            head = self._heads[key] = self._head(key)
        return head[0], b"%s%d%s" % (head[1], value, self._tail)

    def _head(self, key: Key) -> tuple[bytes, bytes]:
        """A total's Kafka key, and its line up to the value: these never change."""
        zone = self._clocks[key.scope].zone
        clock_hour = -1
        match key.window:
            case "hour":
                start, day = zone.hour_start(key.start), zone.day_of_hour[key.start]
                clock_hour = zone.clock_hour(key.start)
            case "7d":
                start, day = zone.day_start(key.start - 6), key.start
            case "30d":
                start, day = zone.day_start(key.start - 29), key.start
            case "5m" | "30m":
                start, day = 0, key.start
            case _:
                start, day = zone.day_start(key.start), key.start
        total = Total(
            metric=key.metric,
            app=self._names.text(key.scope),
            facet=self._names.text(key.facet),
            window=key.window,
            start=start,
            day=date_of_day(day).isoformat(),
            hour=clock_hour,
            layout=self._layout,
            partition=self._partition,
            value=0,
            at=0,
        )
        return record_key(total), encode_total(total).removesuffix(b'0,"at":0,"oldest":0}')

    def _take_now(self, now: int, lines: list[tuple[bytes, bytes]]) -> None:
        for (scope, facet, window), sent in self._now_sent.items():
            value = self._totals.active_now(scope, facet, now // 60_000, window)
            if value != sent:
                self._now_sent[scope, facet, window] = value
                day = self._clocks[scope].zone.day(now)
                lines.append(self._line(Key("active_users", scope, facet, window, day), value))
