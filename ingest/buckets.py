"""Token buckets: how much a key or an address may send. Pure: the time is an argument, memory is bounded."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import islice


class Buckets:
    """A bucket for each name, all of the same rate and burst; rate 0 lets everything pass.

    A bucket is one number, the time at which it is full again, so one that is full need not be kept at all. Beyond `capacity`
    names the one that was asked for longest ago is forgotten (it starts anew, full).
    """

    def __init__(self, rate: float, burst: float = 0.0, capacity: int = 100_000) -> None:
        """`rate` a second; `burst` may come at once (0: ten seconds' worth)."""
        self._each_s = 1 / rate if rate > 0 else 0.0
        self._burst_s = (burst / rate if burst > 0 else 10.0) if rate > 0 else 0.0
        self._capacity = capacity
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def __bool__(self) -> bool:
        return self._each_s > 0

    def wait_s(self, name: Hashable, amount: float, now: float) -> float:
        """How long until `amount` may be taken; 0.0: now. More than the burst may be taken from a full bucket, and is owed."""
        full_at = self._full_at.get(name, now)
        if not self._each_s or full_at <= now:
            return 0.0
        return max(0.0, full_at - now + min(amount * self._each_s, self._burst_s) - self._burst_s)

    def take(self, name: Hashable, amount: float, now: float) -> float:
        """Takes `amount` and returns 0.0, or takes nothing and returns the seconds to wait."""
        if not self._each_s:
            return 0.0
        wait = self.wait_s(name, amount, now)
        full_at = self._full_at.pop(name, now)
        if not wait:
            full_at = max(full_at, now) + amount * self._each_s
        self._full_at[name] = full_at  # at the end: asked for last
        if len(self._full_at) > self._capacity:
            self._forget(now)
        return wait

    def take_all(self, amounts: Mapping[bytes, int], now: float) -> float:
        """Takes from several buckets, or from none of them: then the longest wait in seconds."""
        wait = max((self.wait_s(name, amount, now) for name, amount in amounts.items()), default=0.0)
        if not wait:
            for name, amount in amounts.items():
                self.take(name, amount, now)
        return wait

    def _forget(self, now: float) -> None:
        """Drops full ones among those asked for longest ago, at least one; a few at a time, so that no call takes long."""
        for name in list(islice(self._full_at, 8)):
            if self._full_at[name] <= now or len(self._full_at) > self._capacity:
                del self._full_at[name]
