"""The local broker on a real Java: what survives what, and that every failure is one line that says what to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.kafka import broker as broker_module
from deploy.kafka import datalock
from deploy.kafka.admin import admin_client
from deploy.kafka.broker import LocalBroker
from deploy.kafka.jars import LOCK, cache_folder, class_path
from deploy.kafka.lock import read_lock
from deploy.kafka.ports import free_port
from deploy.kafka.properties import MESSAGE_MAX_BYTES, last_words
from deploy.kafka.runfile import read_run_file, run_file, running_broker
from ingest.contract.errors import ConfigError, FootfallError, UnavailableError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_specs
from tests.deploy.test_guard import ends_within, first_line, runs

TOPIC = "kept"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def make(data_dir: Path) -> Iterator[Callable[..., LocalBroker]]:
    """Makes brokers on one data directory, and stops them with the test."""
    made: list[LocalBroker] = []

    def one(jvm: tuple[str, ...] = (), progress: Callable[[str], None] = lambda _text: None) -> LocalBroker:
        made.append(LocalBroker(data_dir, progress, jvm))
        return made[-1]

    yield one
    for broker in made:
        broker.stop()


def write(bootstrap: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    try:
        producer.send(TOPIC, value, partition=0).get(20)
    finally:
        producer.close()


def read_all(bootstrap: str) -> list[bytes]:
    partition = TopicPartition(TOPIC, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=20_000)
    try:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        return [record.value for _, record in zip(range(end), consumer, strict=False)]
    finally:
        consumer.close()


def assert_one_line(error: FootfallError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 700


@pytest.mark.broker
def test_a_broker_goes_on_with_its_data_and_port_after_kill_9_and_after_a_stop(make: Callable[..., LocalBroker]) -> None:
    said: list[str] = []
    broker = make(progress=said.append)
    bootstrap = broker.start()
    with admin_client({"bootstrap_servers": bootstrap}, 10) as client:
        client.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    write(bootstrap, b"before the kill")

    killed = broker.pid
    broker.kill()
    assert not runs(killed)
    assert not broker.alive
    assert broker.start() == bootstrap
    write(bootstrap, b"before the stop")

    broker.stop()
    broker.stop()
    assert broker.pid == 0
    again = make()
    assert again.start() == bootstrap
    assert again.start() == bootstrap, "a broker that runs is not started twice"
    assert read_all(bootstrap) == [b"before the kill", b"before the stop"]
    assert said == ["formatting the broker's storage", "starting the broker", "starting the broker"]


@pytest.mark.broker
def test_other_commands_find_the_broker_while_it_runs(make: Callable[..., LocalBroker], data_dir: Path) -> None:
    assert running_broker(data_dir) is None
    broker = make()
    bootstrap = broker.start()
    assert running_broker(data_dir) == bootstrap
    assert json.loads(run_file(data_dir).read_text()) == {"bootstrap": bootstrap, "pid": broker.pid, "owner": os.getpid()}
    assert os.getsid(broker.pid) != os.getsid(0), "Ctrl-C in the terminal must not reach the broker"

    broker.kill()
    assert running_broker(data_dir) is None, "a file that a killed broker left names no running one"
    broker.stop()
    assert read_run_file(data_dir) is None


@pytest.mark.broker
def test_a_second_broker_on_the_same_data_is_refused(make: Callable[..., LocalBroker]) -> None:
    make().start()
    with pytest.raises(
        ConfigError, match=rf"in use by process {os.getpid()}: stop that first, or set another data_dir"
    ) as caught:
        make().start()
    assert_one_line(caught.value)


PARENT = """
import sys, time
from pathlib import Path
from deploy.kafka.broker import LocalBroker
broker = LocalBroker(Path(sys.argv[1]))
broker.start()
print(broker.pid, flush=True)
time.sleep(120)
"""


@pytest.fixture
def parent(data_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that runs a broker, and Java's process id."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", PARENT, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        try:
            yield process, int(first_line(process))
        finally:
            process.kill()


@pytest.mark.broker
def test_the_broker_ends_with_a_parent_killed_by_9_and_the_next_one_waits_for_that(
    parent: tuple[subprocess.Popen[bytes], int], make: Callable[..., LocalBroker], data_dir: Path
) -> None:
    process, java = parent
    earlier = running_broker(data_dir)
    process.kill()
    process.wait()
    assert make().start() == earlier
    assert not runs(java)


@pytest.mark.broker
def test_a_broker_that_outlives_its_parent_is_named(
    parent: tuple[subprocess.Popen[bytes], int], make: Callable[..., LocalBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, java = parent
    monkeypatch.setattr(datalock, "LEFTOVER_S", 0.5)
    guard = int(Path(f"/proc/{java}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGSTOP)  # a guard that does nothing
    try:
        process.kill()
        process.wait()
        with pytest.raises(ConfigError, match=rf"a broker of an earlier run still runs .*`kill {java}`") as caught:
            make().start()
        assert_one_line(caught.value)
        assert runs(java)
    finally:
        os.kill(guard, signal.SIGCONT)
    assert ends_within(10, java)


@pytest.mark.broker
def test_a_port_that_was_taken_meanwhile_is_no_hindrance(make: Callable[..., LocalBroker]) -> None:
    broker = make()
    earlier = broker.start()
    broker.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(earlier.rpartition(":")[2])))
        other.listen(1)
        assert make().start() != earlier


@pytest.mark.broker
def test_a_java_that_dies_at_start_is_told_with_its_last_words(make: Callable[..., LocalBroker], data_dir: Path) -> None:
    with pytest.raises(UnavailableError, match="Unrecognized VM option") as caught:
        make(jvm=("-XX:+NoSuchOption",)).start()
    assert_one_line(caught.value)
    broker = make()
    broker.start()
    broker.stop()
    meta = data_dir / "kafka" / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(UnavailableError, match=r"ended at start: .*node.id.*more in .*logs") as caught:
        make().start()
    assert_one_line(caught.value)
    assert read_run_file(data_dir) is None


def test_a_full_disk_is_told_before_anything_starts(
    make: Callable[..., LocalBroker], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(
        UnavailableError, match=r"the disk is full: .* MB free, .*free some space or set another data_dir"
    ) as caught:
        make().start()
    assert_one_line(caught.value)
    assert not (data_dir / "kafka" / "data").exists()


def test_a_data_dir_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"Not a directory: set another data_dir") as caught:
        LocalBroker(tmp_path / "file" / "var").start()
    assert_one_line(caught.value)


def test_a_tampered_jar_is_refused_before_java_starts(
    make: Callable[..., LocalBroker], data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars = class_path(lambda _text: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(jars[0].parent, cache_folder())
    tampered = cache_folder() / jars[7].name
    tampered.write_bytes(tampered.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match=rf"{jars[7].name} is not the .* of jars.lock .*delete that file") as caught:
        make().start()
    assert_one_line(caught.value)
    assert not (data_dir / "kafka" / "data").exists()


def test_jars_in_the_cache_need_no_registry_and_missing_ones_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "jgo.conf"
    config.write_text(f"[repositories]\ncentral = http://127.0.0.1:{free_port()}/nothing-here\n")
    jars = class_path(lambda _text: None)
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    assert class_path(lambda _text: None) == jars

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UnavailableError, match=r"jars cannot be had .*jgo.conf, or set kafka.bootstrap_servers") as caught:
        class_path(lambda _text: None)
    assert_one_line(caught.value)
    assert list(cache_folder().iterdir()) == []


def test_a_registry_that_gives_another_file_is_refused(tmp_path: Path) -> None:
    (jar,) = [one for one in read_lock(LOCK.read_text()) if one.artifact == "slf4j-api"]
    wrong = tmp_path / "jars.lock"
    wrong.write_text(f"{jar.coordinates} sha256:{'0' * 64}\n")
    with pytest.raises(ConfigError, match=r"the registry .* gives another file"):
        class_path(lambda _text: None, tmp_path / "cache", wrong)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_lock_names_versions_and_sums_and_no_address() -> None:
    text = LOCK.read_text()
    jars = read_lock(text)
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl"} <= {jar.artifact for jar in jars}
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.1.0"}
    assert "//" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no jars"),
        ("org.slf4j:slf4j-api:1.7.36\n", "line 1: expected"),
        (f"# a comment\norg.slf4j:../evil:1 sha256:{'0' * 64}\n", "line 2: expected"),
        (f"a:b:1 sha256:{'0' * 64}\nc:b:1 sha256:{'1' * 64}\n", "b-1.jar is locked twice"),
    ],
)
def test_a_lock_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_lock(text)


def test_the_broker_takes_what_the_largest_topic_takes(demo_settings: Settings) -> None:
    assert max(int(spec.config["max.message.bytes"]) for spec in topic_specs(demo_settings)) == MESSAGE_MAX_BYTES


@pytest.mark.parametrize(
    ("log", "output", "words"),
    [
        (
            "2026 INFO fine\n2026 ERROR Exiting (x)\njava.io.IOException: No space left on device\n\tat y\n",
            "",
            "No space left on device",
        ),
        ("2026 INFO fine\n2026 FATAL Exiting due to fault (x)\n2026 INFO bye\n", "", "Exiting due to fault"),
        (
            "2026 INFO fine\n",
            "Unrecognized VM option 'x'\nError: Could not create the Java Virtual Machine.\n",
            "Unrecognized VM",
        ),
        ("", "Terminating due to java.lang.OutOfMemoryError: Java heap space\n", "OutOfMemoryError"),
        ("", "", "it said nothing"),
    ],
)
def test_last_words_are_the_line_that_says_why(log: str, output: str, words: str) -> None:
    assert words in last_words(log, output)


def test_free_ports_lie_below_those_that_clients_get() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < first for _ in range(20))


def test_a_broker_that_was_not_started_has_no_address(tmp_path: Path) -> None:
    broker = LocalBroker(tmp_path)
    assert (broker.pid, broker.alive) == (0, False)
    with pytest.raises(UnavailableError, match="not been started"):
        _ = broker.bootstrap
    started = time.monotonic()
    broker.stop()
    assert time.monotonic() - started < 5
