"""Measures the worker on a real broker, beside an idiomatic Faust agent: `python -m tests.bench.bench_worker`.

Every run reads a topic that has been filled beforehand. Events a second and CPU are taken while it reads, from a tenth of the
events to the last; CPU is the worker's own, all its threads.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
from kafka import KafkaProducer

from deploy.entry import DEMO_FILE
from deploy.kafka.admin import admin_client
from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from deploy.simulator.traffic import SimEvent
from ingest.contract.settings import Settings, kafka_options, read_settings
from ingest.contract.topics import topic_names
from tests.bench.traffic import Frame, frames, full_rate, past_days
from tests.ports import free_port
from tests.streams.metrics_reader import lag, read_committed
from tests.streams.worker_rig import Worker

PARTITIONS = 4
_LIMIT_S = 240.0


class Speed(NamedTuple):
    """A run: events a second, CPU microseconds an event, records written an event."""

    name: str
    per_second: float
    cpu_us: float
    records: float

    @property
    def per_core(self) -> float:
        """Events that one core would take in a second."""
        return 1e6 / self.cpu_us


class State(NamedTuple):
    """What lies in the changelog, and how fast it comes back."""

    persons: int
    value_bytes: float
    records: int
    read_s: float
    summed_s: float


class Bench:
    """One broker, and a topic prefix for each run."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self._bootstrap = bootstrap
        self._folder = folder
        self._runs = 0

    def settings(self) -> tuple[Settings, Path, int]:
        """Settings of a run's own, with its topics; the file they are in; the worker's port."""
        self._runs += 1
        port = free_port()
        text = DEMO_FILE.read_text() + (
            f'[kafka]\nbootstrap_servers = "{self._bootstrap}"\ntopic_prefix = "bench{self._runs}"\n'
            f"partitions = {PARTITIONS}\n[worker]\nport = {port}\n"
        )
        path = self._folder / f"bench{self._runs}.toml"
        path.write_text(text)
        settings = read_settings(text, {})
        create_topics(settings)
        return settings, path, port

    def worker(self, name: str, what: list[Frame]) -> tuple[Speed, State]:
        """Runs the real worker over these frames, then another that has to recover."""
        settings, path, port = self.settings()
        count = fill(settings, topic_names(settings).events, what)
        first = Worker(path, path.with_suffix(".log"), port)
        try:
            speed = follow(name, first.process.pid, count, lambda: metric(first, "footfall_worker(_passive)?_events_total"))
            wait(lambda: lag(settings) == 0)
            written = metric(first, "footfall_worker_checkpoint_records_total")
            first.stop()
            second = Worker(path, path.with_suffix(".again.log"), port).wait_ready()
            state = recovered(settings, second.said)
            second.stop()
        finally:
            first.process.kill()
        return speed._replace(records=written / count), state

    def peer(self, name: str, what: list[Frame]) -> Speed:
        """Runs the idiomatic agent over these events."""
        settings, _, _ = self.settings()
        topic = "bench-peer-events"
        with admin_client(kafka_options(settings.kafka), 10.0) as client:
            client.create_topics({topic: {"num_partitions": PARTITIONS, "replication_factor": 1}})
        count = fill(settings, topic, what)
        out = self._folder / "peer.out"
        arguments = [self._bootstrap, "bench-peer", topic, str(PARTITIONS), str(self._folder / "peer")]
        with out.open("wb") as written, (self._folder / "peer.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.idiomatic_faust", *arguments], stdout=written, stderr=log
            )
        try:
            return follow(
                name, process.pid, count, lambda: float((re.findall(r"^\d+$", out.read_text(), re.MULTILINE) or ["0"])[-1])
            )
        finally:
            process.kill()
            process.wait()


def fill(settings: Settings, topic: str, what: list[Frame]) -> int:
    """Writes frames into a topic; returns how many events that are."""
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.servers(), acks="all", linger_ms=10, batch_size=1 << 19, max_request_size=4 << 20
    )
    sent = [producer.send(topic, value=frame, partition=number) for number, frame in what]
    for future in sent:
        future.get(60)
    producer.close()
    return sum(frame.count(b"\n") + 1 for _, frame in what)


def follow(name: str, pid: int, count: int, done: Callable[[], float]) -> Speed:
    """Watches a process from a tenth of the events to the last."""
    process = psutil.Process(pid)
    until = time.monotonic() + _LIMIT_S
    start: tuple[float, float, float] | None = None
    while True:
        if time.monotonic() > until or not process.is_running():
            raise SystemExit(f"{name}: {done():.0f} of {count} events after {_LIMIT_S:.0f} s, or the process has ended")
        seen, at, used = done(), time.monotonic(), process.cpu_times()
        cpu = used.user + used.system
        if start is None and seen >= count / 10:
            start = at, cpu, seen
        if seen >= count and start is not None:
            events = seen - start[2]
            return Speed(name, events / (at - start[0]), (cpu - start[1]) * 1e6 / events, 0.0)
        time.sleep(0.05)


def metric(worker: Worker, name: str) -> float:
    """The sum of a metric over its labels; 0 while the worker does not answer."""
    found = re.finditer(rf"^{name}(?:\{{[^}}]*\}})? (?P<value>\S+)$", worker.metrics(), re.MULTILINE)
    return sum(float(one["value"]) for one in found)


def wait(what: Callable[[], bool]) -> None:
    """Waits until it is true."""
    until = time.monotonic() + 60
    while not what():
        if time.monotonic() > until:
            raise SystemExit("the worker did not acknowledge all frames within 60 s")
        time.sleep(0.1)


def recovered(settings: Settings, said: str) -> State:
    """What a fresh worker said of its recovery, and what it recovered."""
    last = {
        (record.partition, record.key): len(record.value)
        for record in read_committed(settings, topic_names(settings).changelog, PARTITIONS)
        if record.key[:2] in (b"u:", b"a:") and record.value is not None
    }
    read = [(int(count), float(seconds)) for count, seconds in re.findall(r"recovered (\d+) changelog records in (\S+) s", said)]
    summed = [(int(count), float(seconds)) for count, seconds in re.findall(r"(\d+) persons summed up in (\S+) s", said)]
    return State(
        len(last),
        sum(last.values()) / len(last),
        sum(count for count, _ in read),
        sum(seconds for _, seconds in read),
        sum(seconds for _, seconds in summed),
    )


def table(speeds: list[Speed], peer: Speed) -> str:
    """The runs and their ratios to the peer."""
    rows = [f"{'':44}{'events/s':>10}{'us CPU':>9}{'per core':>10}{'records':>9}{'x peer':>8}"]
    for one in [*speeds, peer]:
        ratio = one.per_core / peer.per_core
        records = f"{one.records:.2f}" if one.records else ""
        rows.append(f"{one.name:44}{one.per_second:>10,.0f}{one.cpu_us:>9.1f}{one.per_core:>10,.0f}{records:>9}{ratio:>8.1f}")
    return "\n".join(rows)


def main() -> None:
    """Runs all of it; two minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=40_000)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="only frames of 100")
    arguments = parser.parse_args()
    plan = read_settings(DEMO_FILE.read_text(), {})
    events = past_days(plan, arguments.persons, arguments.days)
    live = full_rate(plan, 6 * arguments.persons)

    def cut(of: list[SimEvent], size: int, limit: int = 0) -> list[Frame]:
        return list(frames(of[:limit] if limit else of, PARTITIONS, size))

    with tempfile.TemporaryDirectory() as folder:
        broker = LocalBroker(Path(folder) / "var")
        bench = Bench(broker.start(), Path(folder))
        try:
            speeds: list[Speed] = []
            speed, state = bench.worker(f"frames of 100, catching up ({len(events):,} events)", cut(events, 100))
            speeds.append(speed)
            if not arguments.quick:
                speeds.append(bench.worker(f"frames of 500, catching up ({len(events):,} events)", cut(events, 500))[0])
            speeds.append(bench.worker(f"frames of 100, full rate ({len(live):,} events)", cut(live, 100))[0])
            if not arguments.quick:
                speeds.append(bench.worker("single events (30,000 events)", cut(events, 1, 30_000))[0])
            peer = bench.peer("idiomatic Faust (30,000 events)", cut(events, 1, 30_000))
        finally:
            broker.stop()
    print(table(speeds, peer))
    print(
        f"{state.persons:,} persons, {state.value_bytes:.0f} bytes each; a fresh worker read {state.records:,} changelog records "
        f"in {state.read_s:.2f} s ({state.records / max(state.read_s, 1e-3):,.0f}/s) and summed up {state.persons:,} persons in "
        f"{state.summed_s:.2f} s ({state.persons / max(state.summed_s, 1e-3):,.0f}/s)"
    )


if __name__ == "__main__":
    main()
