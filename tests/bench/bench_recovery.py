"""How long a fresh worker takes to have a million persons back: `python -m tests.bench.bench_recovery [--persons 1000000]`.

Writes their records (tests.bench.population) into the changelog of a real broker, in transactions as a worker writes them, and
starts a worker on it, which has to sum all of them up; then, when it has written its snapshots and was killed, and some records
have changed since, another one. Beside what the workers say of their recovery: the limits, measured in the same run on a part of
the same records (reading the changelog into a dictionary and nothing else; decoding every record), and the sum by its
definition, record by record. Bytes a person: in the changelog, and in the worker's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.entry import DEMO_FILE
from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings, read_settings
from ingest.contract.topics import topic_names
from streams.codec import CLOCK_KEY, NOT_PERSON, STATE_KEY, decode_record, encode_record
from streams.contributions import sum_afresh
from streams.partition import NOT_PERSONS, Partition, Taken
from streams.rules import Rules
from streams.worker.kafka_options import aiokafka_options
from streams.worker.writer import CheckpointWriter
from tests.bench.population import Simulated, like, one_more_visit, simulate
from tests.ports import free_port
from tests.streams.worker_rig import Worker

_CHECKPOINT_RECORDS = 20_000
#: Persons on which decoding and the sum record by record are measured.
_SAMPLE = 20_000


class Written(NamedTuple):
    """What lies in the changelog."""

    persons: int
    merged: int
    value_bytes: int


async def write(settings: Settings, simulated: Simulated, persons: int, again: bool = False) -> Written:
    """Writes the records of so many persons, each into its partition; again: as they are after another visit."""
    partitions = settings.kafka.partitions
    writer = CheckpointWriter(topic_names(settings), aiokafka_options(settings.kafka))
    waiting: list[list[tuple[bytes, bytes | None]]] = [
        [(STATE_KEY, simulated.state), (CLOCK_KEY, simulated.clock)] for _ in range(partitions)
    ]
    merged = value_bytes = 0
    try:
        for number in range(partitions):
            await writer.own(number)
        for key, record in like(simulated, persons):
            number = partition_of(key.decode(), partitions)
            value = encode_record(one_more_visit(record) if again else record)
            value_bytes += len(value)
            merged += bool(record.target)
            waiting[number].append((key, value))
            if len(waiting[number]) >= _CHECKPOINT_RECORDS:
                await writer.write(number, Taken(waiting[number], [], [], []))
                waiting[number] = []
        for number, records in enumerate(waiting):
            await writer.write(number, Taken(records, [], [], []))
    finally:
        await writer.close()
    return Written(persons, merged, value_bytes)


async def read(settings: Settings) -> tuple[list[dict[bytes, bytes]], float]:
    """The changelog as a dictionary for each partition, and the seconds that took: the least that recovery can take."""
    topic = topic_names(settings).changelog
    consumer = AIOKafkaConsumer(
        **aiokafka_options(settings.kafka),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
        fetch_max_bytes=64 << 20,
    )
    await consumer.start()
    try:
        left = {TopicPartition(topic, number) for number in range(settings.kafka.partitions)}
        found: list[dict[bytes, bytes]] = [{} for _ in left]
        consumer.assign(list(left))
        ends = await consumer.end_offsets(list(left))
        await consumer.seek_to_beginning(*left)
        started = time.perf_counter()
        while left:
            for partition, records in (await consumer.getmany(*left, timeout_ms=500)).items():
                found[partition.partition].update((one.key, one.value) for one in records)
            left -= {one for one in left if await consumer.position(one) >= ends[one]}
        return found, time.perf_counter() - started
    finally:
        await consumer.stop()


def seconds(what: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def wait_summed(worker: Worker, limit_s: float) -> float:
    """Seconds from now until the worker has all partitions recovered."""
    started = time.perf_counter()
    while not worker.ready():
        if time.perf_counter() - started > limit_s or worker.process.poll() is not None:
            raise SystemExit(f"the worker has not recovered within {limit_s:.0f} s; it said:\n{worker.said[-2000:]}")
        time.sleep(0.1)
    return time.perf_counter() - started


def main() -> None:
    """Prints what recovery takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=1_000_000)
    parser.add_argument("--simulated", type=int, default=2_000, help="persons who are simulated; the others are like them")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--changed", type=int, default=20_000, help="persons whose records change after the snapshots")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = LocalBroker(folder / "var")
        port = free_port()
        text = DEMO_FILE.read_text() + (
            f'[kafka]\nbootstrap_servers = "{broker.start()}"\ntopic_prefix = "bench"\npartitions = {arguments.partitions}\n'
            f"[worker]\nport = {port}\nsession_timeout_ms = 6000\n"
        )
        path = folder / "footfall.toml"
        path.write_text(text)
        settings = read_settings(text, {})
        try:
            create_topics(settings)
            started = time.perf_counter()
            simulated = simulate(settings, arguments.simulated)
            written = asyncio.run(write(settings, simulated, arguments.persons))
            records = written.persons + written.merged
            print(
                f"wrote {written.persons:,} persons and {written.merged:,} ids merged into theirs in "
                f"{time.perf_counter() - started:.0f} s: {written.value_bytes / written.persons:.0f} bytes a person, "
                f"{written.value_bytes / records:.0f} a record; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
            recover(settings, path, port, written, "without a snapshot")
            asyncio.run(write(settings, simulated, arguments.changed, again=True))
            recover(settings, path, port, written, f"from snapshots, {arguments.changed:,} persons changed since")
            limits(settings)
        finally:
            broker.stop()


def recover(settings: Settings, path: Path, port: int, written: Written, how: str) -> None:
    """Starts a worker, prints what it says of its recovery, and kills it once it has written a checkpoint of each partition."""
    load = os.getloadavg()[0]
    worker = Worker(path, path.with_suffix(f".{len(how)}.log"), port)
    try:
        wall = wait_summed(worker, 600)
        process = psutil.Process(worker.process.pid)
        memory, cpu_s = process.memory_info().rss, sum(process.cpu_times()[:4])  # with the processes that it has summed up in
        read_s = sum(float(one) for one in re.findall(r"recovered \d+ changelog records in (\S+) s", worker.said))
        summed_s = sum(float(one) for one in re.findall(r"persons summed up in (\S+) s", worker.said))
        until = time.perf_counter() + 60
        while worker_checkpoints(worker) < settings.kafka.partitions and time.perf_counter() < until:
            time.sleep(0.1)
    finally:
        worker.process.kill()
        worker.process.wait()
    records = written.persons + written.merged
    print(
        f"worker, {how}: ready {wall:.1f} s after its start; read {read_s:.2f} s ({records / read_s:,.0f} records/s), "
        f"summed {summed_s:.2f} s ({written.persons / summed_s:,.0f} persons/s), both {read_s + summed_s:.2f} s; "
        f"{cpu_s:.1f} s of CPU, start and all; "
        f"{memory / 1e6:,.0f} MB, {memory / written.persons:,.0f} bytes a person; load {load:.1f}",
        flush=True,
    )


def worker_checkpoints(worker: Worker) -> float:
    """How many it has written."""
    found = re.findall(r"^footfall_worker_checkpoint_seconds_count (\S+)$", worker.metrics(), re.MULTILINE)
    return float(found[0]) if found else 0.0


def limits(settings: Settings) -> None:
    """Prints the limits, and what the sum by its definition takes."""
    gc.disable()
    found, read_s = asyncio.run(read(settings))
    records = sum(map(len, found))
    print(f"limit: reading alone {read_s:.2f} s ({records / read_s:,.0f} records/s); load {os.getloadavg()[0]:.1f}", flush=True)
    first = found[0]
    kept = [(key, value) for key, value in first.items() if not key.startswith(NOT_PERSON)][:_SAMPLE]
    sample = dict(kept) | {key: first[key] for key in NOT_PERSONS}
    values = [value for _, value in kept]
    decoded_s = seconds(lambda: [decode_record(value) for value in values])
    partition = Partition(Rules(settings), "events", 0, settings.kafka.partitions, sample, cached=10)
    at_once_s = seconds(partition.summed_afresh)
    by_one = partition.empty_totals()
    one_by_one_s = seconds(lambda: sum_afresh(by_one, partition.scopes, map(decode_record, values)))
    at_once = {key: value for key, value in partition.summed_afresh().values().items() if value}
    if at_once != {key: value for key, value in by_one.values().items() if value}:
        raise SystemExit("the sum at once is not the sum record by record")
    print(
        f"of {len(values):,} records: decoding each {decoded_s / len(values) * 1e6:.1f} us, summed record by record "
        f"{one_by_one_s / len(values) * 1e6:.1f} us, at once {at_once_s / len(values) * 1e6:.1f} us; both sums are equal"
    )


if __name__ == "__main__":
    main()
