"""Shell: the pace of a run: its rate, its limits, live and past events side by side."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator

from deploy.simulator.arrivals import doubled
from deploy.simulator.live import LiveTraffic
from deploy.simulator.options import Options, Summary
from deploy.simulator.senders import Arrival, Sender, now_ms

_TICK_S = 0.1
Progress = Callable[[Summary], None]


class Run:
    """One run: holds it to its rate, its limit of events and its time, and reports once a second."""

    def __init__(
        self, options: Options, sender: Sender, summary: Summary, stop: threading.Event, progress: Progress | None
    ) -> None:
        self._options = options
        self._sender = sender
        self._summary = summary
        self._stop = stop
        self._progress = progress
        self._began = self._reported = time.monotonic()
        self._left = options.events or sys.maxsize

    def go_on(self) -> bool:
        """Whether there is more to send: neither stopped nor at the limit of events or seconds."""
        over = self._options.live and self._options.seconds and time.monotonic() - self._began >= self._options.seconds
        return self._left > 0 and not over and not self._stop.is_set()

    def past(self, arrivals: Iterator[Arrival], rate: float, for_s: float = math.inf) -> None:
        """Sends events of past days: all, or for a while; at a rate (events a second), or as fast as possible (0)."""
        began, sent = time.monotonic(), 0
        while self.go_on() and (arrival := next(arrivals, None)) is not None:
            self._add(arrival)
            sent += 1
            if sent % 100:
                continue
            self.report()
            took = time.monotonic() - began
            if took >= for_s:
                return
            if rate and sent / rate > took:
                self._stop.wait(sent / rate - took)

    def live(self, traffic: LiveTraffic, past: Iterator[Arrival]) -> None:
        """Sends what happens, as it happens; in the time between, events of past days."""
        options = self._options
        while self.go_on():
            now = now_ms()
            for event in doubled(traffic.due(now), options.seed, options.duplicates):
                self._add((now if options.via == "kafka" else 0, event))
            self._sender.flush()
            self.report()
            self.past(past, 0, _TICK_S)
            self._stop.wait(max(0.01, _TICK_S - (now_ms() - now) / 1000))

    def report(self) -> None:
        """Tells of progress, at most once a second."""
        at = time.monotonic()
        if self._progress is not None and at - self._reported >= 1.0:
            self._reported = at
            self._summary.seconds = at - self._began
            self._progress(self._summary)

    def _add(self, arrival: Arrival) -> None:
        if self._left > 0:
            self._left -= 1
            self._sender.add(arrival)
