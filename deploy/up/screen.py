"""Shell: what `footfall up` shows: lines of progress, then a table that refreshes, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live

from deploy.up.numbers import any_number
from deploy.up.source import Source
from deploy.up.table import live, plain
from ingest.contract.settings import Settings

REFRESH_S = 1.0
PLAIN_EVERY_S = 10.0


class Screen:
    """The terminal, or standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._started = time.monotonic()

    def say(self, message: str) -> None:
        """One line, with the seconds since the start; above the table while that is shown."""
        self._console.print(f"{time.monotonic() - self._started:6.1f} s  {message}", markup=False, soft_wrap=True)
        sys.stdout.flush()

    def announce(self, places: Sequence[tuple[str, str]]) -> None:
        """Where to look."""
        width = max(len(title) for title, _ in places)
        self._console.print()
        for title, place in places:
            self._console.print(f"{title.ljust(width)}  {place}", markup=False, soft_wrap=True)
        self._console.print()
        sys.stdout.flush()

    def show(self, settings: Settings, watch: Callable[[], None], *, seconds: float | None, once: bool) -> None:
        """Shows the numbers until asked to stop, or for so long, or until there are some."""
        source = Source(settings)
        until = None if seconds is None else time.monotonic() + seconds
        if self._console.is_terminal and not once:
            with Live(console=self._console, auto_refresh=False, transient=False) as table:
                while until is None or time.monotonic() < until:
                    watch()
                    table.update(live(source.rows(), source.funnels(), _status(source.problem)), refresh=True)
                    time.sleep(REFRESH_S)
            return
        shown_at = -PLAIN_EVERY_S
        while until is None or time.monotonic() < until:
            watch()
            rows = source.rows()
            numbers = any_number(rows)
            if numbers and (once or time.monotonic() - shown_at >= PLAIN_EVERY_S):
                if shown_at < 0:
                    self.say("first numbers")
                shown_at = time.monotonic()
                for line in plain(rows, source.funnels(), _status(source.problem)):
                    self._console.print(line, markup=False, soft_wrap=True)
                sys.stdout.flush()
                if once:
                    return
            time.sleep(REFRESH_S)


def _status(problem: str) -> str:
    now = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
    return f"{now}  {problem or 'Ctrl-C stops everything'}"
