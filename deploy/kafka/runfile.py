"""Shell: what the local broker leaves for others to find it by, `run/broker.json` in the data directory."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple


class RunFile(NamedTuple):
    """A running broker: where it listens, Java's process id, and the process that started it."""

    bootstrap: str
    pid: int
    owner: int


def run_file(data_dir: Path) -> Path:
    """Where it lies."""
    return data_dir / "run" / "broker.json"


def write_run_file(data_dir: Path, content: RunFile) -> None:
    """Writes it in one step: a reader sees all of it or nothing."""
    path = run_file(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content._asdict()) + "\n")
    os.replace(beside, path)


def remove_run_file(data_dir: Path) -> None:
    """Removes it, if it is there."""
    with contextlib.suppress(OSError):
        run_file(data_dir).unlink()


def read_run_file(data_dir: Path) -> RunFile | None:
    """What the last broker wrote, whether or not it still runs; None if there is nothing, or nothing readable."""
    try:
        content = json.loads(run_file(data_dir).read_text())
        return RunFile(str(content["bootstrap"]), int(content["pid"]), int(content["owner"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running_broker(data_dir: Path) -> str | None:
    """host:port of the local broker that runs on this data directory, None if there is none."""
    content = read_run_file(data_dir)
    return content.bootstrap if content is not None and is_alive(content.pid) else None


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs."""
    if pid <= 0:  # to kill(2) these are groups of processes
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
