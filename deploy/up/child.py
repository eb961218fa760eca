"""Shell: a child process under the guard, with its log file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

GUARD = Path(__file__).parent.parent / "guard.py"
GRACE_S = 12.0
LOG_LIMIT_BYTES = 50 * 1024 * 1024


class Child:
    """A process that ends when this one does, however that ends.

    Its output goes to a log file; one that has grown big is put aside as .old.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".old"))
        guarded = [sys.executable, "-I", str(GUARD), "--grace", str(GRACE_S), "--", *command]
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                guarded,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C on the terminal is for `up` alone, which stops its parts in order
            )

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._guard.poll()

    def stop(self) -> None:
        """Asks it to end (SIGTERM; after the grace the guard kills it) and waits."""
        if self._guard.poll() is None:
            self._guard.terminate()
        try:
            self._guard.wait(GRACE_S + 3)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close()

    def kill(self) -> None:
        """Ends it at once: the kernel kills the guarded process with its guard."""
        if self._guard.poll() is None:
            os.kill(self._guard.pid, signal.SIGKILL)
            self._guard.wait(5)
        self._close()

    def _close(self) -> None:
        if self._guard.stdin and not self._guard.stdin.closed:
            self._guard.stdin.close()

    def complaint(self) -> str:
        """The last line of its log that tells what went wrong; a `footfall: ...` line if there is one."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8192))
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            return "no log"
        for line in reversed(lines[-20:]):
            if line.startswith("footfall: "):
                return line.removeprefix("footfall: ")
        return lines[-1] if lines else "it said nothing"


def answers_ready(url: str, timeout_s: float = 2.0) -> bool:
    """Whether the process behind a health door says that it is ready."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 (our own http address)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
