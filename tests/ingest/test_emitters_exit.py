"""Emitters at the end of their process, or of a child process: delivered, or counted in the log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.running import RunningCollector
from tests.ingest.silent import Silent

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SCRIPT = """
import sys
from ingest import Emitter, HttpEmitter
kind, where, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
emitter = Emitter.from_toml(where, app="bank") if kind == "kafka" else HttpEmitter(where, "SA_TOKEN")
for number in range(count):
    emitter.emit("exit", user_id=str(number), id=f"exit-{kind}-{number}")
"""


def toml_of(collector: RunningCollector, tmp_path: Path) -> Path:
    kafka = collector.settings.kafka
    toml = tmp_path / "footfall.toml"
    toml.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\npartitions = 4\ntopic_prefix = "{kafka.topic_prefix}"\n'
        '[[apps]]\nid = "bank"\n'
    )
    return toml


def test_the_end_of_a_process_delivers_what_is_in_the_buffer(collector: RunningCollector, tmp_path: Path) -> None:
    for kind, where in (("kafka", str(toml_of(collector, tmp_path))), ("http", f"http://127.0.0.1:{collector.port}")):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, kind, where, "300"], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    ids = {event.id for event in collector.events()}
    assert {f"exit-{kind}-{number}" for kind in ("kafka", "http") for number in range(300)} <= ids


CHILD = """
import logging, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from ingest import Emitter, EmitterOptions, HttpEmitter
kind, where, start, exit_flush_s = sys.argv[1:]

def work(name):
    global emitter
    options = EmitterOptions(exit_flush_s=float(exit_flush_s))
    emitter = Emitter.from_toml(where, "bank", options) if kind == "kafka" else HttpEmitter(where, "SA_TOKEN", options)
    for number in range(300):
        emitter.emit("child", user_id=str(number), id=f"{name}-{kind}-{start}-{number}")

if __name__ == "__main__":
    logging.basicConfig()
    context = multiprocessing.get_context(start)
    child = context.Process(target=work, args=("child",))
    child.start()
    child.join()
    with ProcessPoolExecutor(1, context) as pool:
        pool.submit(work, "pool").result()
    sys.exit(child.exitcode)
"""


def run_child(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, str(script), *args], capture_output=True, text=True, timeout=120, check=False, env=os.environ | paths
    )


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_the_end_of_a_child_process_delivers_what_is_in_the_buffer(
    start: str, collector: RunningCollector, tmp_path: Path
) -> None:
    where = {"kafka": str(toml_of(collector, tmp_path)), "http": f"http://127.0.0.1:{collector.port}"}
    for kind, place in where.items():
        done = run_child(tmp_path, kind, place, start, "60")
        assert (done.returncode, done.stderr) == (0, "")
    ids = {event.id for event in collector.events()}
    assert {f"{name}-{kind}-{start}-{number}" for name in ("child", "pool") for kind in where for number in range(300)} <= ids


@pytest.fixture
def silent() -> Iterator[Silent]:
    server = Silent()
    yield server
    server.close()


def test_what_a_child_process_cannot_deliver_is_counted_in_one_line(silent: Silent, tmp_path: Path) -> None:
    done = run_child(tmp_path, "http", f"http://127.0.0.1:{silent.port}", "fork", "0.5")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == 2, "one for each child"
    for line in lines:
        assert "the process ends, and 300 events were not delivered" in line


LATE = """
import logging, sys, threading
from ingest import Emitter, EmitterOptions
logging.basicConfig(format="%(message)s")
emitter = Emitter.from_toml(sys.argv[1], "bank", EmitterOptions(linger_s=60))  # nothing is sent before the end

def start(self):  # what Python 3.12.0 and 3.12.1 do while the process ends
    if self.name not in ("footfall-emitter", "footfall-emitter-clock"):
        raise RuntimeError("can't create new thread at interpreter shutdown")
    begin(self)

begin, threading.Thread.start = threading.Thread.start, start
for number in range(300):
    emitter.emit("late", user_id=str(number))
"""


def test_where_no_client_can_be_started_at_the_end_the_loss_is_counted(collector: RunningCollector, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE, str(toml_of(collector, tmp_path))], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("the process ends")]
    assert "300 events were not delivered: no Kafka client can be made" in line
    assert "Traceback" not in done.stderr
