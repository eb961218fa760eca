"""`footfall up`: its rules, its supervisor with real processes, and all of it on the real thing."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.entry import DEMO_FILE
from deploy.kafka.runfile import RunFile, write_run_file
from deploy.up.funnel_sql import funnel_query
from deploy.up.main import check
from deploy.up.numbers import FunnelLine, Row, Sample, any_number, funnel_line, relevant, rows
from deploy.up.parts import MAX_RESTARTS, Part, doors, restart_delay, stage_parts, twice, where_to_look
from deploy.up.ports import check_free
from deploy.up.source import read_samples
from deploy.up.supervisor import Process, Supervisor
from deploy.up.table import HEADINGS, plain
from ingest.contract.errors import ConfigError, UnavailableError
from ingest.contract.plan import Funnel, FunnelStep
from ingest.contract.settings import Settings, read_settings

PAGE = """\
# HELP footfall_active_users Distinct active persons
# TYPE footfall_active_users gauge
footfall_active_users{app="harbor",facet="",window="5m"} 12.0
footfall_active_users{app="harbor",facet="",window="hour"} 80.0
footfall_active_users{app="harbor",facet="",window="day"} 200.0
footfall_active_users{app="harbor",facet="platform:ios",window="day"} 90.0
footfall_active_users{app="harbor",facet="",window="month"} 1234.0
footfall_active_users{app="all",facet="",window="day"} 0.0
# TYPE footfall_launches gauge
footfall_launches{app="harbor"} 500.0
# TYPE footfall_usage_seconds gauge
footfall_usage_seconds{app="harbor"} 48000.0
footfall_peak_hour{app="harbor"} 10.0
footfall_peak_hour_users{app="harbor"} 120.0
python_gc_objects_collected_total{generation="0"} 5.0
"""


@pytest.fixture
def demo() -> Settings:
    return read_settings(DEMO_FILE.read_text(), {})


# --- the rules ----------------------------------------------------------------------------------------------------------


def test_a_row_is_made_of_the_exporters_numbers_of_any_activity(demo: Settings) -> None:
    found = rows(demo, read_samples(relevant(PAGE)))
    assert [row.scope for row in found] == ["harbor", "pioneer", "rural", "all"]
    assert found[0] == Row("harbor", "Harbor Bank", 12, 80, 200, 1234, 500, 48000.0, 10, 120)
    assert found[0].launches_per_user() == 2.5
    assert found[0].minutes_per_user() == 4.0
    assert any_number(found)


def test_without_numbers_a_row_is_empty_and_divides_by_nobody(demo: Settings) -> None:
    found = rows(demo, [Sample("footfall_active_users", {"app": "all", "facet": "", "window": "day"}, 0.0)])
    assert not any_number(found)
    assert found[3].launches_per_user() is None
    assert found[0].day is None


def test_only_lines_that_the_table_needs_are_parsed() -> None:
    kept = relevant(PAGE)
    assert "platform:ios" not in kept
    assert "python_gc" not in kept
    assert 'footfall_launches{app="harbor"}' in kept


def test_plain_lines_have_a_heading_a_line_for_each_row_and_the_funnel(demo: Settings) -> None:
    lines = plain(rows(demo, read_samples(relevant(PAGE))), [FunnelLine("Transfer", ("open", "pay"), (8, 2))], "status")
    assert lines[0].split("  ")[0] == HEADINGS[0]
    assert lines[1].split() == ["Harbor", "Bank", "12", "80", "200", "1,234", "2.50", "4.00", "10:00", "120"]
    assert lines[2].split() == ["Pioneer", "Bank", *("-" * 7)]
    assert lines[-2] == "Transfer today: open 8 > pay 2 (25%)"
    assert lines[-1] == "status"


def test_who_reached_a_later_step_reached_the_earlier_ones() -> None:
    funnel = Funnel(id="f", app="a", steps=[FunnelStep(event=name) for name in ("one", "two", "three")])
    assert funnel_line(funnel, [(1, 5), (3, 2)]) == FunnelLine("f", ("one", "two", "three"), (7, 2, 2))
    assert funnel_line(funnel, []).reached == (0, 0, 0)


def test_a_part_that_ends_is_started_again_ever_later_and_then_given_up() -> None:
    ends = [100.0 + number for number in range(MAX_RESTARTS + 1)]
    delays = [restart_delay(ends[: number + 1], ends[number]) for number in range(MAX_RESTARTS + 1)]
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, None]
    assert restart_delay(ends, ends[-1] + 3600) == 1.0, "what happened long ago does not count"


def test_every_port_has_its_key_and_no_two_are_the_same(demo: Settings) -> None:
    found = doors(demo)
    assert {door.key for door in found} == {
        "collector.port",
        "collector.metrics_port",
        "worker.port",
        "sinks.port",
        "sinks.console_port",
        "sinks.clickhouse_port",
    }
    assert twice(found) == ""
    same = msgspec.structs.replace(demo, worker=msgspec.structs.replace(demo.worker, port=demo.sinks.port))
    assert twice(doors(same)) == "worker.port and sinks.port are both 8091: each needs its own"
    free = msgspec.structs.replace(demo, worker=msgspec.structs.replace(demo.worker, port=0))
    assert "worker.port" not in {door.key for door in doors(free)}
    assert [part.ready_url for part in stage_parts(free) if part.name == "worker"] == [""]


def test_where_to_look_has_a_curl_line_for_this_plan(demo: Settings) -> None:
    places = dict(where_to_look(demo, "demo-harbor-key", "/x/log"))
    assert places["console, API"] == "http://127.0.0.1:8094 (API: http://127.0.0.1:8094/docs)"
    assert "Bearer demo-harbor-key" in places["try it"]
    assert "http://127.0.0.1:8090/v1/events" in places["try it"]
    assert places["numbers, Prometheus"] == "http://127.0.0.1:8091/metrics"
    assert "note" not in places
    public = msgspec.structs.replace(demo, collector=msgspec.structs.replace(demo.collector, host="0.0.0.0"))
    assert "TLS" in dict(where_to_look(public, "k", "log"))["note"]


# --- before anything is started -----------------------------------------------------------------------------------------


def test_a_port_in_use_is_named_by_its_key_before_anything_is_started(demo_settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", demo_settings.sinks.port)):
        with pytest.raises(UnavailableError, match=rf"port {demo_settings.sinks.port} is in use .* set sinks\.port"):
            check(demo_settings)
        assert not Path(demo_settings.data_dir).exists()
    check_free(doors(demo_settings))


def test_an_address_that_is_not_of_this_machine_is_an_error_of_the_plan(demo_settings: Settings) -> None:
    elsewhere = msgspec.structs.replace(demo_settings.collector, host="192.0.2.1")
    with pytest.raises(ConfigError, match=r"collector\.port"):
        check(msgspec.structs.replace(demo_settings, collector=elsewhere))


def test_a_plan_without_apps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[\[apps\]\]"):
        check(Settings())


def test_a_second_up_on_the_same_data_is_refused(demo_settings: Settings) -> None:
    write_run_file(Path(demo_settings.data_dir), RunFile("127.0.0.1:1", os.getppid(), os.getppid()))
    with pytest.raises(UnavailableError, match=rf"running on .* already \(process {os.getppid()}\)"):
        check(demo_settings)


# --- the supervisor, with real processes --------------------------------------------------------------------------------


class Watch:
    """A supervisor, what it said, and small Python programs as its parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.supervisor = Supervisor(self.said.append)

    def program(self, name: str, text: str) -> Process:
        return Process(Part(name, ("-c", text), ""), [sys.executable], dict(os.environ), self.folder)

    def until(self, text: str, seconds: float = 60.0) -> None:
        """Watches until that was said."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.said):
            assert time.monotonic() < deadline, self.said
            self.supervisor.watch()
            time.sleep(0.02)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path)
    yield made
    made.supervisor.stop()


def test_a_part_that_was_killed_is_started_again(watch: Watch) -> None:
    program = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    watch.supervisor.begin(watch.program("sleeper", f"import os; os.chdir({str(watch.folder)!r}); {program}"))
    pid = wait_for_text(watch.folder / "pid")
    (watch.folder / "pid").unlink()
    os.kill(int(pid), 9)
    watch.until("sleeper was started again")
    assert watch.said[0].startswith("sleeper ended with exit code 137")
    assert wait_for_text(watch.folder / "pid") != pid


def test_what_only_a_person_can_mend_is_not_tried_again(watch: Watch) -> None:
    program = "import sys; print('noise'); print('footfall: kafka.partitions is wrong', file=sys.stderr); sys.exit(2)"
    watch.supervisor.begin(watch.program("worker", program))
    with pytest.raises(ConfigError, match=r"^worker: kafka\.partitions is wrong$"):
        watch.until("never said")


def test_a_part_that_ends_again_and_again_is_given_up(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.up.parts.MAX_DELAY_S", 0.01)
    sinks = watch.program("sinks", "import time; time.sleep(0.5); print('footfall: the disk is full'); raise SystemExit(1)")
    watch.supervisor.begin(sinks)
    watch.supervisor.wait_ready([sinks])
    with pytest.raises(UnavailableError, match=r"sinks ended 6 times, lastly with exit code 1: the disk is full"):
        watch.until("never said")


def test_a_part_that_never_was_ready_is_given_up_soon(watch: Watch) -> None:
    watch.supervisor.begin(watch.program("sinks", "print('footfall: no such user'); raise SystemExit(1)"))
    with pytest.raises(UnavailableError, match=r"sinks ended 2 times, lastly with exit code 1: no such user"):
        watch.until("never said")


def test_parts_stop_in_reverse_order_each_after_the_other(watch: Watch) -> None:
    for name in ("first", "second"):
        file = watch.folder / "order"
        program = (
            "import signal, sys, time\n"
            f"def end(*_):\n    time.sleep(0.2); open({str(file)!r}, 'a').write({name!r} + ' '); sys.exit(0)\n"
            f"signal.signal(signal.SIGTERM, end); open({str(watch.folder / name)!r}, 'w').write('up'); time.sleep(60)"
        )
        watch.supervisor.begin(watch.program(name, program))
        wait_for_text(watch.folder / name)
    watch.supervisor.stop()
    assert (watch.folder / "order").read_text() == "second first "


def wait_for_text(path: Path, seconds: float = 60.0) -> str:
    """A file's content, once it has any."""
    deadline = time.monotonic() + seconds
    while not (path.exists() and (text := path.read_text())):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.02)
    return text


# --- the funnel, on the real engine -------------------------------------------------------------------------------------


@pytest.mark.clickhouse
def test_the_live_funnel_counts_strictly_increasing_steps_of_today(tmp_path: Path, demo: Settings) -> None:
    import clickhouse_connect

    now = 1_767_231_000_000  # 2026-01-01 09:30 in Shanghai
    plan = msgspec.structs.replace(
        demo,
        funnels=[
            Funnel(
                id="f",
                app="all",
                window_hours=1,
                steps=[FunnelStep(event="a"), FunnelStep(event="b", where={"way": "card", "n": 2}), FunnelStep(event="a")],
            )
        ],
    )
    good, bad = {"way": "card", "n": 2}, {"way": "cash", "n": 2}
    events: list[tuple[str, str, int, str, dict[str, Any]]] = [
        # person, event, ms after `now`, id, props
        ("u:all", "a", 0, "1", {}),
        ("u:all", "b", 10, "2", good),
        ("u:all", "a", 20, "3", {}),
        ("u:same-ms", "a", 0, "1", {}),  # one instant, ids in order: reached all steps
        ("u:same-ms", "b", 0, "2", good),
        ("u:same-ms", "a", 0, "3", {}),
        ("u:ids-against", "a", 0, "9", {}),  # one instant, ids the other way round
        ("u:ids-against", "b", 0, "1", good),
        ("u:other-way", "a", 0, "1", {}),
        ("u:other-way", "b", 10, "2", bad),
        ("u:too-late", "a", 0, "1", {}),
        ("u:too-late", "b", 3_600_001, "2", good),
        ("u:twice", "a", 0, "1", {}),
        ("u:twice", "a", 0, "1", {}),
        ("u:yesterday", "a", -86_400_000, "1", {}),
    ]
    client = clickhouse_connect.get_client(interface="chdb", path=str(tmp_path / "engine"))
    try:
        client.command(
            "CREATE TABLE events (app String, person String, event String, time Int64, id String, props JSON) "
            "ENGINE = ReplacingMergeTree ORDER BY (person, event, id, time)"
        )
        lines = [
            msgspec.json.encode({"app": "harbor", "person": who, "event": name, "time": now + at, "id": key, "props": props})
            for who, name, at, key, props in events
        ]
        client.raw_insert("events", insert_block=b"\n".join(lines), fmt="JSONEachRow")
        query, parameters = funnel_query(plan, plan.funnels[0], now)
        found = [(int(level), int(count)) for level, count in client.query(query, parameters=parameters).result_rows]
    finally:
        client.close()
    assert found == [(1, 4), (3, 2)]
    assert funnel_line(plan.funnels[0], found).reached == (6, 2, 2)
