"""The sinks as a process of their own, so that they can be killed; and what a test puts before them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer

from ingest.contract.event import make_frame
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.clickhouse.reader import connect

#: What `footfall sinks` does, without the command line.
_CODE = """
import logging, sys, msgspec
from ingest.contract.errors import FootfallError
from ingest.contract.settings import Settings
from sinks.main import run
logging.basicConfig(level="INFO")
try:
    run(msgspec.json.decode(sys.stdin.buffer.read(), type=Settings))
except FootfallError as error:
    print(f"footfall: {error}", file=sys.stderr)
    sys.exit(1)
"""
ROOT = Path(__file__).parent.parent.parent
#: 2026-11-21 12:00 UTC
NOON = 1_795_262_400_000


class SinksProcess:
    """`run(settings)` in a process."""

    def __init__(self, settings: Settings, failpoint: str = "") -> None:
        self.settings = settings
        self.errors = Path(settings.data_dir).with_name("sinks.log")
        self._log = self.errors.open("wb")
        environment = os.environ | {"PYTHONPATH": str(ROOT), "FOOTFALL_FAILPOINT": failpoint}
        self.process = subprocess.Popen([sys.executable, "-c", _CODE], stdin=subprocess.PIPE, stderr=self._log, env=environment)
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(settings))
        self.process.stdin.close()

    def get(self, path: str) -> tuple[int, str]:
        """An answer of the process's door; status 0 when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.sinks.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def gauges(self) -> dict[str, float]:
        """The exposition: sample (with its labels) -> value."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if line and not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def until_ready(self) -> None:
        """Waits until /health/ready says so."""
        until(lambda: self.get("/health/ready")[0] == 200, self)

    def wait(self, seconds: float = 120.0) -> int:
        """Waits for its end and returns the exit code."""
        code = self.process.wait(seconds)
        self._log.close()
        return code

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.wait()

    def words(self) -> str:
        """What it wrote on stderr."""
        return self.errors.read_text(errors="replace")

    def __enter__(self) -> SinksProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self._log.close()


def until(holds: Callable[[], bool], sinks: SinksProcess | None = None, seconds: float = 240.0) -> None:
    """Waits until something holds; fails with what the process wrote."""
    deadline = time.monotonic() + seconds
    while not holds():
        if sinks is not None and sinks.process.poll() is not None:
            raise AssertionError(f"the sinks ended with {sinks.process.returncode}: {sinks.words()[-3000:]}")
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come about: {sinks.words()[-3000:] if sinks else ''}")
        time.sleep(0.1)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    """A query, wherever ClickHouse is."""
    client = connect(settings)
    try:
        return [tuple(row) for row in client.query(sql).result_rows]
    finally:
        client.close()


def number(settings: Settings, sql: str) -> int:
    """A query with one number."""
    return int(rows(settings, sql)[0][0])


def event(identity: int, **more: Any) -> bytes:
    """An event line."""
    fields: dict[str, Any] = {
        "id": f"e{identity}",
        "app": "harbor",
        "person": f"u:{identity % 97}",
        "event": "app_launch",
        "time": NOON + identity,
        "received": NOON + identity + 5,
        "props": {"n": identity},
    }
    return json.dumps(fields | more).encode()


def produce(settings: Settings, topic: str, frames: list[bytes], partition: int = 0, key: bytes | None = None) -> None:
    """Records into one partition, acknowledged; compacted topics want a key."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, acks="all")
    sent = [producer.send(topic, frame, key=key, partition=partition) for frame in frames]
    for one in sent:
        one.get(timeout=30)
    producer.close()


def produce_events(settings: Settings, identities: range, per_frame: int = 10) -> None:
    """Events over all partitions, `per_frame` a frame."""
    frames: dict[int, list[bytes]] = {}
    for index, first in enumerate(range(identities.start, identities.stop, per_frame)):
        lines = [event(one) for one in range(first, min(first + per_frame, identities.stop))]
        frames.setdefault(index % settings.kafka.partitions, []).append(make_frame(lines))
    for partition, found in frames.items():
        produce(settings, topic_names(settings).events, found, partition)
