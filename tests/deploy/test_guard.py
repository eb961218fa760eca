"""The guard: what it passes on, and that nothing outlives the parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import guard as guard_module

GUARD = str(Path(guard_module.__file__))
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
SLEEPER = "import time; print('ready', flush=True); time.sleep(60)"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a guard over a Python child; all that is left of both is ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(child: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", GUARD, *options, "--", sys.executable, "-c", child]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        return started[-1]

    yield run
    for one in started:
        one.kill()
        one.wait()
        for pipe in (one.stdin, one.stdout):
            assert pipe is not None
            pipe.close()


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def close_input(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def ends_within(seconds: float, pid: int) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not runs(pid):
            return True
        time.sleep(0.02)
    return False


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


def test_the_exit_code_is_the_childs(start: Start) -> None:
    assert start("import sys; sys.exit(7)").wait(10) == 7
    assert start("pass").wait(10) == 0


def test_a_child_ended_by_a_signal_gives_128_and_the_signal(start: Start) -> None:
    assert start("import os; os.kill(os.getpid(), 9)").wait(10) == 137


def test_the_child_is_terminated_when_the_guards_input_ends(start: Start) -> None:
    process = start(SLEEPER)
    assert first_line(process) == "ready"
    close_input(process)
    assert process.wait(60) == 128 + signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(start: Start) -> None:
    process = start(STUBBORN, "--grace", "0.3")
    assert first_line(process) == "ready"
    started = time.monotonic()
    close_input(process)
    assert process.wait(60) == 128 + signal.SIGKILL
    assert 0.25 < time.monotonic() - started < 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_guard_terminates_the_child(start: Start, number: signal.Signals) -> None:
    process = start(SLEEPER)
    assert first_line(process) == "ready"
    process.send_signal(number)
    assert process.wait(60) == 128 + signal.SIGTERM


def test_what_is_written_to_the_guard_neither_ends_nor_reaches_the_child(start: Start) -> None:
    process = start("import sys, time; print(repr(sys.stdin.read()), flush=True); time.sleep(0.3)")
    assert process.stdin is not None
    process.stdin.write(b"noise\n")
    process.stdin.flush()
    assert first_line(process) == "''"
    assert process.wait(60) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a dead process")
def test_a_guard_killed_with_9_takes_the_child_with_it(start: Start) -> None:
    process = start("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    child = int(first_line(process))
    process.kill()
    assert ends_within(5, child)


def test_a_parent_killed_with_9_takes_guard_and_child_with_it() -> None:
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    parent = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-I', {GUARD!r}, '--', sys.executable, '-c', {child!r}], stdin=subprocess.PIPE)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        pid = int(first_line(process))
        assert runs(pid)
        process.kill()
        assert ends_within(5, pid)


def test_the_childs_process_id_is_told(start: Start) -> None:
    read, write = os.pipe()
    child = [sys.executable, "-c", "import os; print(os.getpid())"]
    command = [sys.executable, "-I", GUARD, "--pid-fd", str(write), "--", *child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(write,)) as process:
        os.close(write)
        with os.fdopen(read) as told:
            assert told.read().strip() == first_line(process)


def test_a_command_that_is_not_there_gives_127() -> None:
    command = [sys.executable, "-I", GUARD, "--", "/nowhere/at-all"]
    done = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, timeout=10, check=False)
    assert (done.returncode, done.stderr.decode()) == (
        127,
        "guard: /nowhere/at-all cannot be started: No such file or directory\n",
    )


@pytest.mark.parametrize("arguments", [[], ["--"], ["--grace"], ["--grace", "soon", "--", "true"], ["--what", "1", "--", "true"]])
def test_a_wrong_command_line_gives_64(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-I", GUARD, *arguments], capture_output=True, timeout=10, check=False)
    assert done.returncode == 64
    assert b"usage: guard.py" in done.stderr
