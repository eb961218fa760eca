"""Nothing in the README that no test runs: every command in a ```sh block is run here, or by a test that is named here."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from deploy.cli import COMMANDS, main
from deploy.entry import DEMO_FILE
from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.contract.settings import read_settings
from sinks.contract.tables import TABLES, VIEWS
from tests.ingest.conftest import settings_on
from tests.ingest.running import RunningCollector

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

UP = "tests/deploy/test_up_whole.py::"
ALERTED = "tests/deploy/test_alerts_whole.py::test_a_drop_of_traffic_pages_somebody_on_the_first_day_and_resolves"
#: Cheap ones: run here.
RUN_HERE = ("footfall --help",)
#: Which test runs a command, or holds what it makes. A command that begins with one of these (whole words) is known.
RUN_BY = {
    "python3 deploy/bootstrap.py demo": UP + "test_the_first_numbers_are_on_the_screen_within_a_minute",
    "python3 deploy/bootstrap.py test": "tests/test_readme.py::test_ci_runs_the_readmes_command",
    "footfall up": UP + "test_run_again_it_goes_on_where_it_was",
    "footfall status": UP + "test_status_shows_that_all_is_well",
    "footfall send": UP + "test_an_event_sent_by_hand_is_taken",
    "curl -sS http://127.0.0.1:8094/api/v1/metrics?metric=active_users&app=harbor&export=csv": (
        "tests/sinks/test_api.py::test_csv_and_parquet_are_the_same_rows"
    ),
    "curl": UP + "test_an_event_sent_by_hand_is_taken",
    "footfall simulate": UP + "test_the_simulators_truth_is_what_comes_out",
    "footfall verify": UP + "test_the_simulators_truth_is_what_comes_out",
    "footfall topics": "tests/deploy/test_cli.py::test_topics_are_missing_then_created_then_right_then_of_another_layout",
    "footfall migrate": UP + "test_the_first_numbers_are_on_the_screen_within_a_minute",
    "footfall collector": UP + "test_the_first_numbers_are_on_the_screen_within_a_minute",
    "footfall worker": UP + "test_the_first_numbers_are_on_the_screen_within_a_minute",
    "footfall sinks": UP + "test_the_first_numbers_are_on_the_screen_within_a_minute",
    "cp deploy/demo.toml footfall.toml": UP + "test_the_first_numbers_are_on_the_screen_within_a_minute",
    "footfall forget": "tests/whole/test_forget.py::test_a_person_is_forgotten_everywhere_and_the_numbers_stay_right",
    "footfall replay": (
        "tests/whole/test_replay.py::"
        "test_a_plan_that_changed_holds_for_the_past_while_the_old_one_serves_and_a_worker_goes_on_from_there"
    ),
    "footfall plan": "tests/whole/test_tracking_plan.py::test_a_plan_is_proposed_from_traffic_and_fits",
    "footfall rejected": (
        "tests/whole/test_tracking_plan.py::test_what_the_plan_refused_is_listed_explained_and_taken_after_the_plan_was_mended"
    ),
    "footfall backfill-baseline": ALERTED,
    "footfall files": "tests/deploy/test_wheel.py::test_what_is_taken_out_is_what_the_clone_has",
    "prometheus": ALERTED,
    "prometheus-alertmanager": ALERTED,
    "uv pip compile": "tests/test_architecture.py::test_locks_are_what_pyproject_asks_for",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command of every ```sh block; a line that ends in a backslash goes on."""
    text = "".join(blocks("sh")).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_there_are_commands_to_test() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("command", commands())
def test_every_command_is_run_by_a_test(command: str) -> None:
    if command in RUN_HERE:
        return
    words = shlex.split(command)
    known = [begin for begin in RUN_BY if words[: len(begin.split())] == begin.split()]
    assert known, f"no test runs {command!r}: run it in one, and name that here"
    path, _, name = RUN_BY[known[0]].partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path} has no test {name}"


@pytest.mark.parametrize("command", RUN_HERE)
def test_cheap_commands_work(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command in commands()
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command)[1:])
    assert not ended.value.code
    assert "Usage: footfall" in capsys.readouterr().out


@pytest.mark.parametrize("command", [line for line in commands() if line.startswith("footfall ")])
def test_footfall_knows_the_commands_and_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    if words[0].startswith("-"):
        return
    assert words[0] in COMMANDS
    with pytest.raises(SystemExit):
        main([words[0], "--help"])
    text = capsys.readouterr().out
    missing = [word for word in words if word.startswith("--") and word not in text]
    assert not missing, f"{command!r} has options that footfall {words[0]} does not: {missing}"


def test_every_command_of_the_command_line_is_in_the_readme() -> None:
    assert {line.split()[1] for line in commands() if line.startswith("footfall ")} >= set(COMMANDS) - {"up"}


@pytest.mark.parametrize("text", blocks("toml"))
def test_settings_in_the_readme_are_valid(text: str) -> None:
    settings = read_settings(text, {"KAFKA_PASSWORD": "k", "CLICKHOUSE_PASSWORD": "c"}, "README.md")
    assert settings.kafka.servers() or "[kafka]" not in text


def test_views_and_tables_in_the_readme_exist() -> None:
    table = README[README.index("| view |") : README.index("All of them have `app`")]
    named = {
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`([a-z_0-9]+)`", line.split("|")[1] if "|" in line else "")
    }
    assert named
    assert named <= {view.name for view in VIEWS} | set(TABLES)


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert all((ROOT / link).exists() for link in links)


def test_write_keys_in_the_readme_are_the_demos() -> None:
    keys = {key for app in read_settings(DEMO_FILE.read_text(), {}).apps for key in app.write_keys}
    assert set(re.findall(r"demo-[a-z]+-key", README)) <= keys


@pytest.mark.broker
def test_the_emitters_example_works(broker: LocalBroker, tmp_path: Path) -> None:
    (text,) = [block for block in blocks("python") if "Emitter" in block]
    settings = settings_on(broker.bootstrap, "readme-emitters")
    settings = msgspec.structs.replace(settings, apps=read_settings(DEMO_FILE.read_text(), {}).apps)
    create_topics(settings)
    kafka = f'[kafka]\nbootstrap_servers = "{broker.bootstrap}"\ntopic_prefix = "readme-emitters"\npartitions = 4\n'
    (tmp_path / "footfall.toml").write_text(DEMO_FILE.read_text() + kafka)
    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        script = text.replace("http://127.0.0.1:8090", f"http://127.0.0.1:{collector.port}")
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(" is safe\n")
        assert [(event.app, event.event, event.person) for event in collector.events()] == [("harbor", "pay_bill", "u:42")] * 2


def test_ci_runs_the_readmes_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "python3 deploy/bootstrap.py test" in commands()
    assert 'exec python3 deploy/bootstrap.py test "$@"' in script, "exec: the exit code is the command's own"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
