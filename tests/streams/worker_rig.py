"""Runs real workers against a real broker: traffic with known numbers, `footfall worker` processes, and waiting for the end."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
from kafka import KafkaProducer

from deploy.kafka.topics import create_topics
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings, read_settings
from ingest.contract.topics import topic_names
from tests.ports import free_port
from tests.streams.metrics_reader import lag, published
from tests.streams.plain import Number, PlainEvent, PlainFunnel, recompute
from tests.streams.plain import Rules as PlainRules

HOUR = 3_600_000
DAY = 24 * HOUR
PARTITIONS = 4
PERSONS = 3000
SESSIONS = 10_000
#: Persons who come anonymously and log in: two ids that become one, mostly in two partitions.
VISITORS = 400
LOGIN = "login-"
FRAME = 40

PLAN = """
[project]
time_zone = "Asia/Shanghai"
[[apps]]
id = "harbor"
time_zone = "Asia/Shanghai"
passive_events = ["push_received"]
[[apps]]
id = "pioneer"
time_zone = "America/New_York"
passive_events = ["push_received"]
[[activities]]
id = "paying"
events = ["pay_bill"]
[[segments]]
id = "platform"
source = "platform"
values = ["ios", "android"]
[[groups]]
id = "all"
apps = ["harbor", "pioneer"]
[[funnels]]
id = "pay"
app = "harbor"
by = "platform"
window_hours = 24
steps = [{event = "app_launch"}, {event = "view"}, {event = "pay_bill"}]
"""

RULES = PlainRules(
    zones={"harbor": "Asia/Shanghai", "pioneer": "America/New_York", "all": "Asia/Shanghai"},
    groups={"all": ["harbor", "pioneer"]},
    activities={"paying": ["pay_bill"]},
    platforms=["ios", "android"],
    passive=["push_received"],
    launches=["app_launch"],
    late_days=31,
    late_hours=48,
    gap_minutes=30,
    funnels={"pay": PlainFunnel("harbor", [("app_launch", ""), ("view", ""), ("pay_bill", "")], [], 24, True)},
)


def settings_on(bootstrap: str, prefix: str, plan: str = PLAN, worker: str = "") -> tuple[Settings, str]:
    """Settings and the footfall.toml they are read from."""
    text = f"""{plan}
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
partitions = {PARTITIONS}
[worker]
{worker or "checkpoint_ms = 250"}
"""
    return read_settings(text, {}), text


@cache
def traffic(seed: int = 1) -> tuple[PlainEvent, ...]:
    """Events of some days that end now, in order of receipt: sessions, late and much too late ones, doubles, passive ones; and
    visitors who log in."""
    rng = random.Random(seed)
    now = time.time_ns() // 1_000_000 - 60_000
    names = ("view", "view", "pay_bill", "transfer", "push_received")
    events: list[PlainEvent] = []
    for number in range(SESSIONS):
        who = int(rng.random() ** 2 * PERSONS)
        person = f"u:{who}" if who % 9 else f"a:{who}"
        app = "harbor" if (who + (rng.random() < 0.2)) % 3 else "pioneer"
        platform = ("ios", "android", "web", "")[who % 4]
        at = now - int(rng.random() * 60 * HOUR)
        delay = rng.choices((300, 40 * HOUR, 60 * HOUR, 20 * DAY, 40 * DAY), (94, 3, 1.5, 1, 0.5))[0]
        for step in range(rng.randint(2, 10)):
            at += rng.randrange(90_000) if step else 0
            name = rng.choice(names) if step else "app_launch"
            duration = rng.choice((0, 0, 0, 60_000, 3 * HOUR))
            got = at + 20 + rng.randrange(300)
            if got > now:
                break
            event = PlainEvent(person, app, name, at - (delay if delay > 300 else 0), got, platform, duration, f"{number}-{step}")
            events.append(event)
            if rng.random() < 0.02:
                events.append(event)
    for number in range(VISITORS):
        login = now - rng.randrange(1, 20 * HOUR)
        for step in range(rng.randint(1, 8)):
            at = min(login + rng.randrange(-2 * HOUR, 2 * HOUR), now - 400)
            person = f"u:v{number}" if at > login and rng.random() < 0.9 else f"a:v{number}"  # some still under the old id
            events.append(PlainEvent(person, "harbor", rng.choice(names), at, at + 300, "ios", 0, f"v{number}-{step}"))
        event = PlainEvent(f"u:v{number}", "harbor", "login", login, login + 300, "ios", 0, f"{LOGIN}{number}")
        events += [event] * rng.randint(1, 2)
    events.sort(key=lambda event: event.received)
    return tuple(events)


@cache
def expected(seed: int = 1) -> dict[Number, int]:
    """The plain numbers of `traffic`, visitors being the persons that they turned out to be."""
    return recompute([replace(event, person=event.person.replace("a:v", "u:v")) for event in traffic(seed)], RULES)


def _line(event: PlainEvent) -> bytes:
    line = event.line()
    if event.id.startswith(LOGIN):
        line["merge"] = {"source": event.person.replace("u:", "a:"), "target": event.person, "how": "identify"}
    return orjson.dumps(line)


@cache
def frames(seed: int = 1) -> tuple[tuple[int, bytes], ...]:
    """(partition, frame) of `traffic`, in order, as a collector cuts them."""
    waiting: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
    found: list[tuple[int, bytes]] = []
    for event in traffic(seed):
        number = partition_of(event.person, PARTITIONS)
        waiting[number].append(_line(event))
        if len(waiting[number]) == FRAME:
            found.append((number, b"\n".join(waiting[number])))
            waiting[number] = []
    found += [(number, b"\n".join(lines)) for number, lines in waiting.items() if lines]
    return tuple(found)


class Feed(threading.Thread):
    """Sends frames into the events topic, spread over `seconds`; `join` raises what went wrong."""

    def __init__(self, settings: Settings, seconds: float, what: tuple[tuple[int, bytes], ...] | None = None) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._seconds = seconds
        self._frames = frames() if what is None else what
        self._error: BaseException | None = None
        self.sent = 0.0

    def run(self) -> None:
        """Sends, and waits until the broker has it all."""
        try:
            producer = KafkaProducer(
                bootstrap_servers=self._settings.kafka.servers(), acks="all", linger_ms=2, delivery_timeout_ms=90_000
            )
            topic = topic_names(self._settings).events
            began = time.monotonic()
            futures = []
            for count, (number, frame) in enumerate(self._frames):
                due = self._seconds * count / len(self._frames)
                time.sleep(max(0.0, due - (time.monotonic() - began)))
                futures.append(producer.send(topic, value=frame, partition=number))
                self.sent = count / len(self._frames)
            for future in futures:
                future.get(90)
            producer.close()
        except BaseException as error:
            self._error = error

    def until(self, part: float) -> None:
        """Waits until that part of the frames is on its way."""
        while self.sent < part and self.is_alive():
            time.sleep(0.02)
        assert self._error is None, self._error

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if self._error is not None:
            raise self._error


class Worker:
    """A `footfall worker` process."""

    def __init__(self, config: Path, log: Path, port: int, module: str = "deploy.cli") -> None:
        self.log = log
        self.port = port
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "--config", str(config), "worker"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=config.parent,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )

    @property
    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def metrics(self) -> str:
        """Its /metrics; empty when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"/metrics of the worker answers {error.code}") from error
        except OSError:
            return ""

    def partitions(self) -> set[int]:
        """What it owns and has recovered."""
        return {int(number) for number in re.findall(r'footfall_worker_persons\{partition="(\d+)"\}', self.metrics())}

    def ready(self) -> bool:
        """Whether /health/ready says 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.HTTPError, OSError):
            return False

    def wait_ready(self, wait_s: float = 180.0) -> Worker:
        """Waits until it is ready."""
        wait_for(lambda: self.ready() or self.process.poll() is not None, wait_s, f"ready: {self.log}")
        assert self.process.poll() is None, f"worker ended with {self.process.returncode}:\n{self.said}"
        return self

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, wait_s: float = 60.0) -> float:
        """SIGTERM; how long it took to end. It must end with 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not stop within {wait_s} s:\n{self.said[-4000:]}") from None
        assert code == 0, f"exit {code}:\n{self.said[-4000:]}"
        return time.monotonic() - began


class Rig:
    """Topics of its own, workers, and what they publish."""

    def __init__(self, bootstrap: str, folder: Path, prefix: str, worker: str = "") -> None:
        self.folder = folder
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._worker = worker
        self.settings, _ = settings_on(bootstrap, prefix)
        self.workers: list[Worker] = []
        self.began = datetime.now(UTC)
        create_topics(self.settings)

    def worker(self, plan: str = PLAN, port: int | None = None, module: str = "deploy.cli") -> Worker:
        """Starts one."""
        port = free_port() if port is None else port
        _, text = settings_on(self._bootstrap, self._prefix, plan, f"{self._worker or 'checkpoint_ms = 250'}\nport = {port}")
        number = len(self.workers)
        config = self.folder / f"worker{number}.toml"
        config.write_text(text)
        self.workers.append(Worker(config, self.folder / f"worker{number}.log", port, module))
        return self.workers[-1]

    def feed(self, seconds: float) -> Feed:
        """Starts to send the traffic."""
        feed = Feed(self.settings, seconds)
        feed.start()
        return feed

    def wait_done(self, wait_s: float = 240.0) -> None:
        """Waits until every frame is acknowledged: then every total is committed."""

        def alive() -> bool:
            return any(worker.process.poll() is None for worker in self.workers)

        wait_for(lambda: not alive() or lag(self.settings) == 0, wait_s, "all frames to be acknowledged")
        assert alive(), "\n".join(f"{worker.log}:\n{worker.said[-3000:]}" for worker in self.workers)

    def differences(self, want: dict[Number, int] | None = None) -> list[tuple[Number, int | None, int | None]]:
        """(number, expected, published) of all that differ. What is named by a day to come may be told already or not yet."""
        want = expected() if want is None else want
        found = published(self.settings)
        due = {number for number in want if number.day <= self.began.astimezone(ZoneInfo(RULES.zones[number.app])).date()}
        return [(n, want.get(n), found.get(n)) for n in due | set(found) if want.get(n) != found.get(n)]

    def assert_exact(self) -> None:
        """Not one number differs."""
        assert len(expected()) > 1000
        wrong = self.differences()
        assert not wrong, f"{len(wrong)} numbers differ, such as {wrong[:5]}"

    def close(self) -> None:
        """Ends the workers that still run."""
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGCONT)
            worker.process.kill()
            worker.process.wait()


def wait_for(what: Callable[[], object], wait_s: float, name: str) -> None:
    """Waits until `what()` is true."""
    until = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < until, f"waited {wait_s} s for {name}"
        time.sleep(0.1)


@contextlib.contextmanager
def rig_on(bootstrap: str, folder: Path, prefix: str, worker: str = "") -> Iterator[Rig]:
    """A rig that leaves no process behind."""
    rig = Rig(bootstrap, folder, prefix, worker)
    try:
        yield rig
    finally:
        rig.close()
