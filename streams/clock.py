"""How far time has come in a partition, by receipts, and so which windows are open: can still change, and change rightly."""

from __future__ import annotations

from ingest.contract.zones import Zone
from streams.horizon import Horizon


class ScopeClock:
    """The newest local day and hour of the scopes of one zone. Both never go back.

    oldest_day, oldest_hour   the first of which every record still knows; windows that begin earlier are closed
    oldest_span_day           the first day whose launches, usage and sessions are still open
    oldest_funnel_day         the first entry day of which every record still knows the chains
    """

    __slots__ = ("day", "horizon", "hour", "oldest_day", "oldest_funnel_day", "oldest_hour", "oldest_span_day", "zone")

    def __init__(self, zone: Zone, horizon: Horizon) -> None:
        self.zone = zone
        self.horizon = horizon
        self._move(0, 0)

    def advance(self, received: int) -> None:
        """Moves on to a receipt (ms, UTC)."""
        hour = self.zone.hour(received)
        if hour > self.hour:
            self._move(hour, max(self.day, self.zone.day_of_hour[hour]))

    def _move(self, hour: int, day: int) -> None:
        horizon = self.horizon
        self.hour = hour
        self.day = day
        self.oldest_hour = hour - horizon.keep_hours + 1
        self.oldest_day = day - horizon.keep_days + 1
        self.oldest_span_day = day - horizon.open_span_days + 1
        self.oldest_funnel_day = day - horizon.keep_funnel_days + 1
