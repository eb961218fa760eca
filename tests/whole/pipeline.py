"""All stages as the processes that users run, on a broker of their own: started, killed, frozen, and asked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.contract.settings import Settings, read_settings
from sinks.verify.main import TRUTH_LEFT_OUT
from tests.ports import free_port
from tests.whole.cluster import Cluster

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "deploy" / "demo.toml"


_QUICK_WORKER = "session_timeout_ms = 6000\ncheckpoint_ms = 250\nsnapshot_records = 200\nsnapshot_ms = 1000"


class Stage:
    """A `footfall <command>` process with a health door."""

    def __init__(self, pipeline: Pipeline, command: str, config: Path, health_port: int) -> None:
        self.name = command
        self.log = config.with_suffix(f".{command}.log")
        self.health_port = health_port
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "--config", str(config), command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=config.parent,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def answer(self, path: str) -> int:
        """Status of its door; 0 when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def wait_ready(self, wait_s: float = 180.0) -> Stage:
        """Waits for /health/ready."""
        until = time.monotonic() + wait_s
        while self.answer("/health/ready") != 200:
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.said()}"
            assert time.monotonic() < until, f"{self.name} is not ready after {wait_s} s:\n{self.said()}"
            time.sleep(0.1)
        return self

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def send(self, what: signal.Signals) -> None:
        """A signal."""
        self.process.send_signal(what)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, wait_s: float = 90.0) -> None:
        """SIGTERM; it must end with 0."""
        self.process.terminate()
        code = self.process.wait(wait_s)
        assert code == 0, f"{self.name} ended with {code}:\n{self.said()}"


class Pipeline:
    """A folder with a broker, a footfall.toml, and the stages that run on it.

    plan     the plan; more: TOML that is put behind it
    quick    shorter times than the defaults: checkpoints and batches come more often, a dead worker is noticed sooner
    spools   whether the collector spools while the broker is away
    cluster  a Kafka of several brokers, to be used instead of one broker
    """

    def __init__(
        self,
        folder: Path,
        more: str = "",
        plan: str = "",
        quick: bool = True,
        spools: bool = True,
        cluster: Cluster | None = None,
    ) -> None:
        self.folder = folder
        self.broker = LocalBroker(folder / "var", jvm=("-XX:TieredStopAtLevel=1",))
        self._kafka = cluster or self.broker
        self._replication = cluster.replication if cluster else 1
        self._kafka.start()
        self.stages: list[Stage] = []
        self._worker, self._sinks = (_QUICK_WORKER, "batch_ms = 300") if quick else ("", "")
        self._collector = "" if spools else "spool_bytes = 0"
        self._plan = (plan or DEMO.read_text().replace('data_dir = "var"', "")) + more
        self.config = folder / "footfall.toml"
        self.settings = self._write(self.config, worker_port=free_port())
        create_topics(self.settings)

    def _write(self, config: Path, worker_port: int) -> Settings:
        """A footfall.toml; all of this pipeline's differ in nothing but the worker's port."""
        if config == self.config:
            self._ports = [free_port() for _ in range(5)]
        collector, metrics, sinks, clickhouse, console = self._ports
        text = f"""data_dir = "{self.folder}/var"
{self._plan}
[kafka]
bootstrap_servers = "{self._kafka.bootstrap}"
replication_factor = {self._replication}
partitions = 4
[collector]
port = {collector}
metrics_port = {metrics}
{self._collector}
[worker]
port = {worker_port}
{self._worker}
[sinks]
port = {sinks}
clickhouse_port = {clickhouse}
console_port = {console}
{self._sinks}
"""
        config.write_text(text)
        return read_settings(text, {})

    def _start(self, command: str, config: Path, port: int) -> Stage:
        stage = Stage(self, command, config, port)
        self.stages.append(stage)
        return stage

    def collector(self) -> Stage:
        """Starts the collector."""
        return self._start("collector", self.config, self.settings.collector.metrics_port)

    def sinks(self) -> Stage:
        """Starts the sinks."""
        return self._start("sinks", self.config, self.settings.sinks.port)

    def worker(self) -> Stage:
        """Starts a worker; each has a port of its own."""
        port = free_port()
        config = self.folder / f"worker{len(self.stages)}.toml"
        self._write(config, port)
        return self._start("worker", config, port)

    def url(self, path: str) -> str:
        """Of the collector."""
        return f"http://127.0.0.1:{self.settings.collector.port}{path}"

    def run(self, *arguments: str, wait_s: float = 480.0) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli", "--config", str(self.config), *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=wait_s,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on meanwhile."""
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "--config", str(self.config), *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def assert_exact(self, truth: Path, least: int, wait_s: float = 300) -> str:
        """`footfall verify` compares at least so many numbers, three ways, and finds no difference."""
        report = self.run("verify", "--truth", str(truth), "--wait", str(wait_s), wait_s=wait_s + 300)
        logs = "".join(f"\n--- {stage.log.name}\n{stage.said()[-800:]}" for stage in self.stages)
        assert report.returncode == 0, f"{report.stdout}\n{report.stderr}{logs}"
        assert compared_three_ways(report.stdout) >= least, report.stdout
        return report.stdout

    def close(self) -> None:
        """Leaves no process behind."""
        for stage in self.stages:
            with contextlib.suppress(ProcessLookupError):
                stage.send(signal.SIGCONT)
            if stage.process.poll() is None:
                stage.kill()
        self._kafka.stop()


def compared_three_ways(said: str) -> int:
    """How many numbers a report without differences compared, the truth among them: fails when it left that out."""
    assert TRUTH_LEFT_OUT not in said, said
    return int(said.split(" numbers, no difference")[0].rsplit("\n", 1)[-1].replace(",", ""))


@contextlib.contextmanager
def pipeline_in(
    folder: Path, more: str = "", plan: str = "", spools: bool = True, cluster: Cluster | None = None
) -> Iterator[Pipeline]:
    """A pipeline that leaves no process behind."""
    pipeline = Pipeline(folder, more, plan, spools=spools, cluster=cluster)
    try:
        yield pipeline
    finally:
        pipeline.close()
