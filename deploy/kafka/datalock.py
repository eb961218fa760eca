"""Shell: one broker on a data directory at a time, and a clear word when there is another."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from deploy.kafka.runfile import is_alive
from ingest.contract.errors import ConfigError

#: How long a broker may take to go whose parent was killed: its guard's grace, and a little.
LEFTOVER_S = 25.0


class DataLock:
    """A lock on a file of the data directory, which says who holds it: the owner's process id, and Java's once it runs.

    Guard and Java inherit the lock, so it is held as long as any of the three lives, and a broker that outlived its owner is
    never joined by a second one on the same data.
    """

    def __init__(self, file: IO[str]) -> None:
        """Takes a file that is locked already; see `take`."""
        self._file = file
        self.note(0)

    @classmethod
    def take(cls, folder: Path, progress: Callable[[str], None]) -> DataLock:
        """Locks the folder for this process. Waits for a broker of an earlier run to end, when its owner is gone.

        Raises ConfigError that names the process which holds it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "broker.lock", "a+")  # noqa: SIM115
        deadline = time.monotonic() + LEFTOVER_S
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(file)
            except BlockingIOError:
                owner, java = _holder(file)
                left_over = owner > 0 and not is_alive(owner)
                if not left_over or time.monotonic() > deadline:
                    file.close()
                    raise _in_use(folder.parent, owner, java if left_over else 0) from None
            if not waiting:
                progress("waiting for the broker of an earlier run to end")
                waiting = True
            time.sleep(0.1)

    def note(self, java: int) -> None:
        """Writes down Java's process id (0: not started)."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{os.getpid()} {java}\n")
        self._file.flush()

    def fileno(self) -> int:
        """The descriptor that a child inherits."""
        return self._file.fileno()

    def release(self) -> None:
        """Gives the folder free, for all who hold this lock."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()


def _holder(file: IO[str]) -> tuple[int, int]:
    file.seek(0)
    words = file.read().split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(word.isdigit() for word in words) else (0, 0)


def _in_use(data_dir: Path, owner: int, java: int) -> ConfigError:
    if java:
        return ConfigError(
            f"a broker of an earlier run still runs on {data_dir} (process {java}): end it with `kill {java}`, then start again"
        )
    by = f"process {owner}" if owner else "another process"
    return ConfigError(f"the data directory {data_dir} is in use by {by}: stop that first, or set another data_dir")
