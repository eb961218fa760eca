"""What the collector costs: events a second and CPU an event, beside a bare server on the same stack in the same run.

    python -m tests.bench.bench_collector [--seconds 4] [--connections 32]

Starts a local broker, a collector, and a server that only reads the body and answers, and posts to both over keep-alive
connections. CPU is that of the server's process alone; one process uses one core, so 1 / CPU is the limit a core. Then the same
with the broker stopped, so that everything goes to the spool, and how fast that drains.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import psutil

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.collector.main import run
from ingest.contract.settings import Settings, read_settings
from tests.ingest.running import ask
from tests.ports import free_port

KEY = "bench-key"
BATCH = 50


class Measured(NamedTuple):
    """What one run came to."""

    requests: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def segment_event(number: int) -> dict[str, Any]:
    """A call as analytics-python sends it, with what a bank's app would put in."""
    return {
        "integrations": {},
        "anonymousId": f"device-{number % 5000}",
        "properties": {"page": "转账", "amount": 128.5, "step": number % 7, "from": "home", "ok": True},
        "timestamp": "2026-11-22T05:30:14.451+00:00",
        "context": {
            "library": {"name": "analytics-python", "version": "2.4.0"},
            "os": {"name": "iOS", "version": "19.1"},
            "app": {"version": "9.1.0"},
        },
        "userId": f"user-{number % 5000}",
        "type": "track",
        "event": "complete_transfer",
        "messageId": f"9361fccb-f967-4e35-aa40-{number:012d}",
    }


def native_event(number: int) -> dict[str, Any]:
    """An event as the simulator posts it."""
    return {
        "id": f"{number:032x}",
        "event": "complete_transfer",
        "time": 1_795_325_937_991,
        "user_id": f"user-{number % 5000}",
        "anonymous_id": f"device-{number % 5000}",
        "platform": "ios",
        "version": "9.1.0",
        "channel": "push",
        "props": {"amount": 128.5, "age_band": "26-35"},
    }


def sensors_event(number: int, visitor: int | None = None) -> dict[str, Any]:
    """An event as the web SDK sends it; of a visitor of its own, unless one is given."""
    device = f"1a201cda49b57e-0e5447a34acc61-11543b4c-480000-{(number if visitor is None else visitor) % 5000}"
    return {
        "identities": {"$identity_cookie_id": device, "$identity_anonymous_id": device},
        "distinct_id": device,
        "lib": {"$lib": "js", "$lib_method": "code", "$lib_version": "1.27.11"},
        "properties": {
            "$screen_height": 600,
            "$screen_width": 800,
            "$lib": "js",
            "$url": "http://bank.example/",
            "$title": "转账",
        },
        "anonymous_id": device,
        "type": "track",
        "event": "$pageview",
        "time": 1_795_326_587_123,
        "_track_id": number,
        "_flush_time": 1_795_326_587_126,
    }


def request(method: str, target: str, body: bytes = b"", headers: str = "") -> bytes:
    """A request as bytes."""
    length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
    return f"{method} {target} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n{headers}{length}\r\n".encode() + body


def segment_batch(start: int) -> bytes:
    body = {"batch": [segment_event(start + one) for one in range(BATCH)], "sentAt": "2026-11-22T05:30:14.947028+00:00"}
    headers = f"Authorization: Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}\r\nContent-Type: application/json\r\n"
    return request("POST", "/v1/batch", json.dumps(body).encode(), headers)


def native_batch(start: int) -> bytes:
    body = json.dumps([native_event(start + one) for one in range(BATCH)]).encode()
    return request("POST", "/v1/events", body, f"Authorization: Bearer {KEY}\r\n")


def sensors_batch(start: int) -> bytes:
    """A page's events: all of one visitor, while a server's batch, as Segment's here, has many users in it."""
    raw = json.dumps([sensors_event(start + one, start // BATCH) for one in range(BATCH)], ensure_ascii=False).encode()
    data = quote(base64.b64encode(gzip.compress(raw)), safe="").encode()
    return request("POST", f"/sa?token={KEY}", b"gzip=1&data_list=" + data, "Content-Type: application/x-www-form-urlencoded\r\n")


def beacon(start: int) -> bytes:
    data = quote(base64.b64encode(json.dumps(sensors_event(start), ensure_ascii=False).encode()), safe="")
    return request("GET", f"/sa.gif?token={KEY}&data={data}&ext=crc%3D-145448595")


KINDS: dict[str, tuple[Callable[[int], bytes], int]] = {
    f"Segment, batches of {BATCH}": (segment_batch, BATCH),
    f"Sensors, batches of {BATCH}, gzip": (sensors_batch, BATCH),
    f"native, batches of {BATCH}": (native_batch, BATCH),
    "Sensors, single beacons": (beacon, 1),
}


def bare_server(port: int) -> None:
    """The same stack with a handler that reads the body and answers."""
    from aiohttp import web

    from ingest.collector.main import loop_factory

    async def handle(asked: web.BaseRequest) -> web.Response:
        await asked.read()
        return web.Response(body=b'{"success":true}', headers={"Content-Type": "application/json"})

    async def serve() -> None:
        server = web.Server(handle, access_log=None, auto_decompress=False, max_line_size=65536, max_field_size=65536)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())


async def load(port: int, requests: list[bytes], connections: int, seconds: float) -> list[float]:
    """Posts in turn over that many connections; returns the times from request to answer."""
    took: list[float] = []
    until = time.monotonic() + seconds

    async def one(at: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (started := time.monotonic()) < until:
            writer.write(requests[at % len(requests)])
            at += connections
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length[15:]))
            took.append(time.monotonic() - started)
        writer.close()

    await asyncio.gather(*(one(number) for number in range(connections)))
    return took


def measure(process: psutil.Process, port: int, requests: list[bytes], connections: int, seconds: float) -> Measured:
    """One run against one server."""
    asyncio.run(load(port, requests, connections, 0.5))
    before, started = process.cpu_times(), time.monotonic()
    took = asyncio.run(load(port, requests, connections, seconds))
    after, span = process.cpu_times(), time.monotonic() - started
    cpu = after.user + after.system - before.user - before.system
    cuts = statistics.quantiles(took, n=100)
    return Measured(len(took) / span, cpu / len(took) * 1e6, cuts[49] * 1000, cuts[98] * 1000)


def wait_for(port: int) -> None:
    """Returns when a port takes connections and the server behind it is ready."""
    for _ in range(200):
        try:
            if ask(port, "/health/ready").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server did not get ready")


def bench_settings(bootstrap: str, folder: str) -> Settings:
    """A collector's settings on a broker, with its spool in a folder."""
    settings = read_settings(f'[[apps]]\nid = "bench"\nwrite_keys = ["{KEY}"]', {})
    return msgspec.structs.replace(
        settings,
        data_dir=folder,
        kafka=msgspec.structs.replace(settings.kafka, bootstrap_servers=bootstrap, topic_prefix="bench"),
        collector=msgspec.structs.replace(settings.collector, port=free_port(), metrics_port=free_port()),
    )


def wait_for_metric(settings: Settings, name: str, value: float) -> None:
    """Returns when a metric of the collector has a value."""
    until = time.monotonic() + 120
    while metric(settings, name) != value:
        if time.monotonic() > until:
            raise SystemExit(f"{name} did not become {value}")
        time.sleep(0.05)


def metric(settings: Settings, name: str) -> float:
    """A metric of the collector."""
    text = ask(settings.collector.metrics_port, "/metrics").body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"footfall_collector_{name} "))


def measure_spool(broker: LocalBroker, settings: Settings, process: psutil.Process, connections: int, seconds: float) -> None:
    """The same kinds with the broker stopped, and then the drain."""
    broker.stop()
    ask(settings.collector.port, "/v1/events", [native_event(0)], {"Authorization": f"Bearer {KEY}"})  # notices it
    wait_for_metric(settings, "kafka_up", 0)
    for name, (make, events) in KINDS.items():
        requests = [make(number * events) for number in range(400 if events > 1 else 4000)]
        found = measure(process, settings.collector.port, requests, connections, seconds)
        show(f"spool: {name}", found, events)
    size, frames = metric(settings, "spool_bytes"), metric(settings, "spool_frames")
    fsyncs, took = metric(settings, "spool_fsync_seconds_count"), metric(settings, "spool_fsync_seconds_sum")
    broker.start()
    wait_for_metric(settings, "kafka_up", 1)
    started = time.monotonic()
    wait_for_metric(settings, "spool_frames", 0)
    span = time.monotonic() - started
    print(f"spool: {size / 1e6:,.0f} MB in {frames:,.0f} frames, drained in {span:.1f} s; ", end="")
    print(f"{fsyncs:,.0f} fsyncs of {took / fsyncs * 1000:.1f} ms on average")


def show(name: str, found: Measured, events: int, limit: Measured | None = None) -> None:
    """Prints a row."""
    each = found.cpu_us / events
    cells = [f"{found.requests * events:,.0f}", f"{each:.1f}", f"{1e6 / each:,.0f}", f"{found.p50_ms:.1f}", f"{found.p99_ms:.1f}"]
    if limit is not None:
        cells += [f"{limit.cpu_us / events:.1f}", f"{limit.p99_ms:.1f}", f"{found.cpu_us / limit.cpu_us:.1f}x"]
    print(f"{name:36}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def main() -> None:
    """Runs all kinds and prints a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=4.0)
    arguments.add_argument("--connections", type=int, default=32)
    options = arguments.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        broker = LocalBroker(Path(folder))
        settings = bench_settings(broker.start(), folder)
        create_topics(settings)
        bare_port = free_port()
        children = [spawn.Process(target=run, args=(settings,)), spawn.Process(target=bare_server, args=(bare_port,))]
        try:
            for child in children:
                child.start()
            wait_for(settings.collector.port)
            wait_for(bare_port)
            collector, bare = (psutil.Process(child.pid) for child in children)
            heads = ("events/s", "CPU us/event", "events/s a core", "p50 ms", "p99 ms", "bare us/event", "bare p99 ms", "ratio")
            print(" " * 36 + "".join(f"{head:>16}" for head in heads))
            for name, (make, events) in KINDS.items():
                requests = [make(number * events) for number in range(400 if events > 1 else 4000)]
                limit = measure(bare, bare_port, requests, options.connections, options.seconds)
                found = measure(collector, settings.collector.port, requests, options.connections, options.seconds)
                show(name, found, events, limit)
            measure_spool(broker, settings, collector, options.connections, options.seconds)
        finally:
            for child in children:
                if child.is_alive():
                    child.terminate()
                    child.join(20)
            broker.stop()


if __name__ == "__main__":
    main()
