"""Shell: runs a child process and ends it when its parent is gone, however that ended.

    python guard.py [--grace SECONDS] [--pid-fd FD] -- COMMAND...

The parent holds the other end of the guard's standard input and never writes to it. A parent that dies, by SIGKILL too,
closes it; the guard reads the end of file, sends the child SIGTERM and, after the grace, SIGKILL. SIGTERM and SIGINT to the
guard do the same. Should the guard itself be killed, Linux kills the child (PR_SET_PDEATHSIG).

The exit code is the child's, or 128 + the signal that ended it. With --pid-fd the child's process id is written to that
descriptor as a line. Descriptors that the parent passed on go on to the child; its standard input is empty.

Uses the standard library alone and runs as a file, so that it needs no import path and starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

GRACE_S = 10.0
USAGE_EXIT = 64
NOT_FOUND_EXIT = 127
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> Callable[[], None] | None:
    """What the child runs before its program: the kernel is to kill it when the guard dies. None where there is no such thing."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded before the fork: a forked child should do next to nothing
    guard = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # the guard died before the kernel was asked
            os._exit(128 + signal.SIGKILL)

    return ask_kernel


def guard(command: list[str], grace_s: float = GRACE_S, pid_fd: int | None = None) -> int:
    """Runs the command until it ends, or ends it when standard input does. Returns the exit code to pass on."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: asked.append(received))
    signal.signal(signal.SIGCHLD, lambda _received, _frame: None)

    if pid_fd is not None:
        os.set_inheritable(pid_fd, False)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False, preexec_fn=_die_with_parent())
    except OSError as error:
        print(f"guard: {command[0]} cannot be started: {error.strerror or error}", file=sys.stderr)
        return NOT_FOUND_EXIT
    if pid_fd is not None:
        with contextlib.suppress(OSError):  # a parent that is gone by now shows at standard input
            os.write(pid_fd, f"{child.pid}\n".encode())
        os.close(pid_fd)

    watched = [0, wake_read]
    kill_at: float | None = None
    while child.poll() is None:
        ready, _, _ = select.select(watched, [], [], None if kill_at is None else max(0.0, kill_at - time.monotonic()))
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
        parent_gone = 0 in ready and not _read_some()
        if parent_gone:
            watched = [wake_read]
        if (parent_gone or asked) and kill_at is None:
            child.terminate()
            kill_at = time.monotonic() + grace_s
        elif kill_at is not None and time.monotonic() >= kill_at:
            child.kill()
            child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _read_some() -> bytes:
    """What lies in standard input; nothing when its other end is closed."""
    try:
        return os.read(0, 4096)
    except OSError:
        return b""


def main(arguments: list[str]) -> int:
    """Reads the command line; returns the exit code."""
    grace_s, pid_fd = GRACE_S, None
    rest = list(arguments)
    try:
        while rest and rest[0] != "--":
            option, value = rest.pop(0), rest.pop(0)
            if option == "--grace":
                grace_s = float(value)
            elif option == "--pid-fd":
                pid_fd = int(value)
            else:
                raise ValueError(option)
        command = rest[1:]
        if not command:
            raise ValueError("no command")
    except (IndexError, ValueError) as error:
        print(f"guard: {error}; usage: guard.py [--grace SECONDS] [--pid-fd FD] -- COMMAND...", file=sys.stderr)
        return USAGE_EXIT
    return guard(command, grace_s, pid_fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
