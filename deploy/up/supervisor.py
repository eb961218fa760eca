"""Shell: starts the parts one after the other, starts again what ends, stops all in reverse."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from deploy.up.child import Child, answers_ready
from deploy.up.parts import MAX_RESTARTS, MAX_RESTARTS_AT_START, Part, restart_delay
from ingest.contract.errors import ConfigError, UnavailableError

READY_S = 120.0
#: Exit code of `footfall` for what only a person can mend: starting again would not help.
MENDED_BY_HAND = 2


class Runs(Protocol):
    """What is watched over: a child process, or the broker."""

    name: str

    def begin(self) -> None:
        """Starts it; for a broker, until it answers."""

    def ready(self) -> bool:
        """Whether it does its work."""

    def ended(self) -> tuple[int, str] | None:
        """Exit code and last words once it has ended by itself."""

    def stop(self) -> None:
        """Stops it and waits."""

    def kill(self) -> None:
        """Ends it at once."""


class Process:
    """A part as a child process; its log is <log_dir>/<name>.log."""

    def __init__(self, part: Part, footfall: Sequence[str], environment: dict[str, str], log_dir: Path) -> None:
        self.name = part.name
        self._part = part
        self._command = [*footfall, *part.arguments]
        self._environment = environment
        self._log = log_dir / f"{part.name}.log"
        self._child: Child | None = None
        self._was_ready = False

    def begin(self) -> None:
        self.kill()  # whatever is left of the one before
        self._was_ready = False
        self._child = Child(self._command, self._log, self._environment)

    def ready(self) -> bool:
        """Asked once it says yes, it is not asked again: from then on its metrics tell how it is."""
        if not self._was_ready and self._child is not None and self._child.exit_code() is None:
            self._was_ready = not self._part.ready_url or answers_ready(self._part.ready_url)
        return self._was_ready

    def ended(self) -> tuple[int, str] | None:
        code = self._child.exit_code() if self._child else None
        return None if code is None or self._child is None else (code, self._child.complaint())

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()


class Supervisor:
    """Watches over parts. `say` gets one line of text for everything that happens."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._running: list[Runs] = []
        self._ends: dict[str, list[float]] = {}
        self._again: dict[str, float] = {}
        self._was_ready: set[str] = set()
        self.hurry = False

    def begin(self, part: Runs) -> None:
        """Starts one part; it is stopped with the others from here on, also when starting it fails."""
        self._running.append(part)
        part.begin()

    def wait_ready(self, parts: Sequence[Runs], seconds: float = READY_S) -> None:
        """Waits until all of them do their work. Raises UnavailableError when one does not come to it."""
        started = time.monotonic()
        waiting = list(parts)
        while waiting:
            for part in list(waiting):
                if part.ready():
                    self._was_ready.add(part.name)
                    self._say(f"{part.name} is ready ({time.monotonic() - started:.1f} s)")
                    waiting.remove(part)
            self.watch()
            if waiting and time.monotonic() - started > seconds:
                names = ", ".join(part.name for part in waiting)
                raise UnavailableError(f"not ready after {seconds:.0f} s: {names}; its log says why")
            time.sleep(0.1)

    def watch(self) -> None:
        """Starts again what has ended, after a while that grows. Raises UnavailableError when that does not help."""
        now = time.monotonic()
        for part in self._running:
            if part.name in self._again:
                if now >= self._again[part.name]:
                    del self._again[part.name]
                    part.begin()
                    self._say(f"{part.name} was started again")
                continue
            end = part.ended()
            if end is None:
                continue
            code, words = end
            if code == MENDED_BY_HAND:
                raise ConfigError(f"{part.name}: {words}")
            ends = self._ends.setdefault(part.name, [])
            ends.append(now)
            delay = restart_delay(ends, now, MAX_RESTARTS if part.name in self._was_ready else MAX_RESTARTS_AT_START)
            if delay is None:
                raise UnavailableError(f"{part.name} ended {len(ends)} times, lastly with exit code {code}: {words}")
            self._say(f"{part.name} ended with exit code {code} ({words}); starting it again in {delay:.0f} s")
            self._again[part.name] = now + delay

    def stop(self) -> None:
        """Stops everything in reverse order; with `hurry` set (a second Ctrl-C), at once."""
        while self._running:
            part = self._running.pop()
            try:
                if self.hurry:
                    part.kill()
                else:
                    part.stop()
            except KeyboardInterrupt:
                self.hurry = True
                with contextlib.suppress(OSError):
                    part.kill()
