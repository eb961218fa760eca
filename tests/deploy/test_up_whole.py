"""All of Footfall as a user runs it: `footfall up --demo`, and the README's commands against it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from deploy.entry import Source, load_settings
from ingest.contract.settings import Settings
from tests.deploy.test_cli import write_config
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOOTFALL = (sys.executable, "-m", "deploy.cli")

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]


class Up:
    """A running `footfall up`, in a folder of its own."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        self.environment.pop("FOOTFALL_CONFIG", None)
        self.output = folder / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    def start(self, *arguments: str) -> None:
        self.started = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*FOOTFALL, "up", *arguments], cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def until(self, text: str, seconds: float) -> float:
        """Waits until that is in the output; returns the seconds since the start."""
        while text not in self.text():
            assert self.process is not None
            assert self.process.poll() is None, self.text()
            assert time.monotonic() - self.started < seconds, self.text()
            time.sleep(0.1)
        return time.monotonic() - self.started

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def stop(self, number: int = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(120)

    def run(self, *arguments: str, code: int | None = 0) -> str:
        done = subprocess.run(
            [*FOOTFALL, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=480,
            check=False,
        )
        assert code in (None, done.returncode), f"{done.stdout}\n{done.stderr}"
        return done.stdout


def gone(family: list[psutil.Process], seconds: float) -> bool:
    """Whether all of them end within that time."""
    _, alive = psutil.wait_procs(family, timeout=seconds)
    return not alive


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    text = (ROOT / "deploy" / "demo.toml").read_text()
    (folder / "footfall.toml").write_text(text)
    settings = load_settings(Source(folder / "footfall.toml", True))
    settings = msgspec.structs.replace(
        settings,
        data_dir=str(folder / "var"),
        kafka=msgspec.structs.replace(settings.kafka, partitions=4),
        collector=msgspec.structs.replace(settings.collector, port=free_port(), metrics_port=free_port()),
        worker=msgspec.structs.replace(settings.worker, port=free_port()),
        sinks=msgspec.structs.replace(settings.sinks, port=free_port(), clickhouse_port=free_port(), console_port=free_port()),
    )
    write_config(folder / "footfall.toml", settings)
    made = Up(folder, settings)
    made.start("--demo", "--rate", "20")
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.terminate()
            made.process.wait(120)


def test_the_first_numbers_are_on_the_screen_within_a_minute(up: Up) -> None:
    seconds = up.until("first numbers", 240)
    up.until("Transfer today: app_launch", 120)
    text = up.text()
    assert seconds < 120, text  # a minute is the promise; other tests share this machine
    for part in ("broker", "sinks", "worker", "collector"):
        assert f"{part} is ready" in text
    assert "Harbor Bank" in text
    assert "Peak hour today" in text


def test_status_shows_that_all_is_well(up: Up) -> None:
    text = up.run("status")
    assert text.count("  ready  ") == 3, text
    assert re.search(r"last event +\d+ s ago", text)
    assert re.search(r"last checkpoint +\d+ s ago", text)


def test_an_event_sent_by_hand_is_taken(up: Up) -> None:
    line = next(line for line in README.splitlines() if line.startswith("footfall send "))
    assert up.run(*shlex.split(line)[1:]).startswith("200 ")
    assert up.run("send", "--key", "no-such-key", "--event", "e", "--user", "1", code=1).startswith("401")
    curl = next(line for line in README.splitlines() if line.startswith("curl "))
    command = shlex.split(curl.replace(":8090", f":{up.settings.collector.port}"))
    done = subprocess.run([*command, "-f"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


#: The emitters' are run by tests/test_readme.py, beside a footfall.toml of their own.
SDK_BLOCKS = [one for one in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL) if "Emitter" not in one]


@pytest.mark.parametrize("block", SDK_BLOCKS)
def test_the_sdks_of_the_readme_work_unchanged(up: Up, block: str) -> None:
    before = len(raw_lines(up))
    program = block.replace(":8090", f":{up.settings.collector.port}")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 180
    while len(raw_lines(up)) <= before:
        assert time.monotonic() < deadline, "the event did not come to ClickHouse"
        time.sleep(0.5)


def raw_lines(up: Up) -> list[tuple[str]]:
    """The README's SDK events that ClickHouse has."""
    from sinks.clickhouse.reader import connect

    client = connect(up.settings)
    try:
        found: list[tuple[str]] = client.query("SELECT id FROM events WHERE event = 'pay_bill' AND person = 'u:42'").result_rows
        return found
    finally:
        client.close()


def test_a_second_up_is_refused_while_this_one_runs(up: Up) -> None:
    assert up.process is not None
    done = subprocess.run([*FOOTFALL, "up"], cwd=up.folder, env=up.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"already (process {up.process.pid})" in done.stderr


def test_a_worker_and_a_broker_that_are_killed_are_started_again(up: Up) -> None:
    for name, sign in (("worker", "worker"), ("broker", "kafka.Kafka")):
        victim = next(one for one in up.family() if sign in one.cmdline()[-3:] and "--grace" not in one.cmdline())
        victim.kill()
        up.until(f"{name} was started again", time.monotonic() - up.started + 180)
    deadline = time.monotonic() + 180
    while up.run("status", code=None).count("  ready  ") < 3:
        assert time.monotonic() < deadline, up.text()
    assert up.run("send", "--key", "demo-harbor-key", "--event", "login", "--user", "7").startswith("200 ")


def test_ctrl_c_stops_everything_within_seconds(up: Up) -> None:
    family = up.family()
    assert len(family) >= 10  # five parts and their guards
    started = time.monotonic()
    assert up.stop() == 0
    assert time.monotonic() - started < 60
    assert gone(family, 1)
    assert "stopped; all data is kept" in up.text()


def test_run_again_it_goes_on_where_it_was(up: Up) -> None:
    up.start()
    assert up.until("first numbers", 120) < 60, up.text()


def test_the_simulators_truth_is_what_comes_out(up: Up) -> None:
    """On top of what the demo sent, so stream and SQL are compared; the truth alone is held by the simulator's own tests."""
    up.run("simulate", "--days", "2", "--persons", "100", "--seed", "77", "--truth", "truth.jsonl")
    assert (up.folder / "truth.jsonl").stat().st_size > 1000
    assert "no difference" in up.run("verify", "--wait", "300")


def test_killed_with_9_it_leaves_nothing_behind(up: Up) -> None:
    family = up.family()
    assert up.stop(signal.SIGKILL) == -signal.SIGKILL
    assert gone(family, 40)
