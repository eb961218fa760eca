"""The alert rules on weeks of made-up traffic, by Prometheus' own promtool: each proven to fire, and to stay quiet."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.rule_series import STEP_S, counter, expect, gauge, instant, rates, series, usual

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian: apt-get install prometheus)")

#: The day on which things happen: four weeks of baseline lie before it.
DAY = 28
DAYS = DAY + 2


def promtool(folder: Path, rules: str, inputs: Sequence[dict[str, str]], checks: Sequence[dict[str, Any]]) -> str:
    """Runs promtool on a copy of the rules; returns what it has to complain of, "" if all is as expected."""
    (folder / "rules.yml").write_text(rules)
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{STEP_S}s",
        "tests": [{"interval": f"{STEP_S}s", "input_series": list(inputs), "promql_expr_test": list(checks)}],
    }
    (folder / "test.yml").write_text(json.dumps(test))
    done = subprocess.run([PROMTOOL or "", "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ("SUCCESS" in done.stdout + done.stderr)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def assert_holds(complaints: str) -> None:
    if complaints:
        pytest.fail(complaints, pytrace=False)


def firing(alert: str, app: str) -> str:
    return f'count by (app) (ALERTS{{alertname="{alert}",alertstate="firing",app="{app}"}})'


def fires(alert: str, app: str, day: float, hour: float) -> dict[str, Any]:
    """The alert fires at that time."""
    return expect(firing(alert, app), instant(day, hour), {"app": app})


def quiet(alerts: str, app: str, since: float, until: float) -> dict[str, Any]:
    """None of the alerts (a regular expression) fires at any step between two days."""
    minutes = round((until - since) * 24 * 60)
    expr = f'sum_over_time(count(ALERTS{{alertname=~"{alerts}",alertstate="firing",app="{app}"}})[{minutes}m:{STEP_S}s])'
    return expect(expr, instant(until))


def holiday(day: int) -> Any:
    """A day with little more than half of the users, after a night like others."""
    return lambda d, h: 1 - 0.45 * min(1.0, h / 6) if d == day else 1.0


def during(first: float, last: float, left: float, day: int = DAY) -> Any:
    """Between two hours of the day only that part is left."""
    return lambda d, h: left if d == day and first <= h < last else 1.0


# --- users -----------------------------------------------------------------------------------------------------------------


def worker_is_there(days: int = DAYS) -> list[dict[str, str]]:
    """What tells that nothing is unknown: a worker is scraped."""
    return [series("footfall_worker_frames_total", f"0+1x{days * 288}")]


def activity() -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    rng = random.Random(7)
    events = worker_is_there()
    users: list[dict[str, str]] = []

    def app(name: str, peak: float = 20.0, fate: Any = usual, **more: float) -> None:
        per_second = rates(DAYS, peak, fate)
        values = counter(rng, per_second, **more)
        events.append(series("footfall_worker_events_total", values, app=name))

    def active(name: str, fate: Any = usual) -> None:
        means = [rate * 50 for rate in rates(DAYS, 20.0, fate)]
        users.append(series("footfall_active_users", gauge(rng, means), app=name, facet="", window="30m"))

    app("busy")
    app("small", peak=0.5)
    app("fallen", fate=during(10, 16, 0.2))
    app("flat", fate=during(14, 24, 0.0))
    app("gone", last=DAY + 14 / 24)
    app("night", fate=during(3.5, 5, 0.0))
    app("holiday", fate=holiday(DAY))
    app("launched", fate=lambda d, h: 3.0 if d == DAY - 7 else 1.0)
    app("campaign", fate=lambda d, h: 1.8 if d == DAY else 1.0)
    app("recovered", fate=lambda d, h: 0.02 if d == DAY - 7 else 1.0)
    app("cold", fate=during(14, 24, 0.1), first_day=DAY - 4)
    app("coldgone", first_day=DAY - 4, last=DAY + 14 / 24)
    app("melting", fate=lambda d, h: 0.85 ** max(0.0, (d + h / 24 - 7) / 7))
    active("busy")
    active("melting", fate=lambda d, h: 0.85 ** max(0.0, (d + h / 24 - 7) / 7))
    active("holiday", fate=holiday(DAY))

    any_drop = "UserActivityDrop.*"
    checks = [
        # Quiet: two weeks with a baseline and their nights, busy and small; and the time before there is one.
        quiet(any_drop, "busy", 0, DAYS),
        quiet(any_drop, "small", 0, DAYS),
        quiet("ActiveUsersLow", "busy", 0, DAYS),
        quiet(any_drop, "cold", 0, DAY + 14 / 24),
        quiet(any_drop, "campaign", 0, DAYS),
        quiet(any_drop, "holiday", 0, DAYS),
        quiet(any_drop, "melting", 0, DAYS),
        # A week after a bad day the median of the other weeks holds; that day itself was told.
        fires("UserActivityDrop", "recovered", DAY - 7, 11),
        quiet(any_drop, "recovered", DAY - 5, DAYS),
        quiet(any_drop, "launched", DAY - 5, DAYS),
        # -80 %: quiet before, told within half an hour, over after it, though not at once.
        quiet(any_drop, "fallen", 0, DAY + 10 / 24),
        fires("UserActivityDrop", "fallen", DAY, 10.5),
        fires("UserActivityDrop", "fallen", DAY, 12),
        fires("UserActivityDrop", "fallen", DAY, 16.1),
        quiet(any_drop, "fallen", DAY + 17 / 24, DAYS),
        # Nothing comes any more: the counter stands still, or has vanished; by day and by night.
        fires("UserActivityDrop", "flat", DAY, 14.5),
        quiet(any_drop, "gone", 0, DAY + 14 / 24),
        fires("UserActivityDrop", "gone", DAY, 14.75),
        fires("UserActivityDrop", "gone", DAY + 1, 10),
        fires("UserActivityDrop", "night", DAY, 4.25),
        # Without a baseline: its own rule only.
        fires("UserActivityDropColdStart", "cold", DAY, 14.5),
        fires("UserActivityDropColdStart", "coldgone", DAY, 14.75),
        quiet("UserActivityDrop", "cold", 0, DAYS),
        # What melts away by 15 % a week, and a holiday, are for the other alert.
        fires("ActiveUsersLow", "melting", DAY, 15),
        fires("ActiveUsersLow", "holiday", DAY, 15),
        quiet("ActiveUsersLow", "holiday", 0, DAY),
    ]
    return events + users, checks


def test_drops_of_users_are_told_and_quiet_days_nights_and_holidays_are_not(tmp_path: Path) -> None:
    inputs, checks = activity()
    assert_holds(promtool(tmp_path, (RULES / "activity.rules.yml").read_text(), inputs, checks))


#: What is left out of the rules, and the traffic where that decides: (text, instead of it, days, traffic, when it fires or None).
WITHOUT: dict[str, tuple[str, str, int, dict[str, Any], float | None]] = {
    "a vanished series is zero": (" or app:footfall_events:expected * 0", "", 16, {"last": 15 + 14 / 24}, 15 + 15 / 24),
    "significance": ("> 4 * sqrt(app:footfall_events:expected * 900)", "> 0", 16, {"peak": 0.05}, None),
    "today's level": ("0.5, 1.2)", "1, 1.2)", 16, {"fate": holiday(15)}, None),
    "two weeks": ("== 2", "<= 2", 11, {"fate": during(10, 20, 0.1, 10)}, None),
    "of two weeks the lower": (
        "or min without (wk)",
        "or avg without (wk)",
        16,
        {"fate": lambda d, h: 9.0 if d == 8 else 1.0},
        None,
    ),
}


@pytest.mark.parametrize("part", WITHOUT)
def test_each_part_of_the_rule_for_drops_is_needed(part: str, tmp_path: Path) -> None:
    text, instead, days, more, fires_at = WITHOUT[part]
    options: dict[str, Any] = {"peak": 20.0, "fate": usual} | more
    whole = (RULES / "activity.rules.yml").read_text().partition("  - name: footfall-drift")[0]
    assert text in whole
    values = counter(random.Random(3), rates(days, options.pop("peak"), options.pop("fate")), **options)
    inputs = [*worker_is_there(days), series("footfall_worker_events_total", values, app="one")]
    check = quiet("UserActivityDrop", "one", 0, days) if fires_at is None else fires("UserActivityDrop", "one", 0, fires_at * 24)
    assert_holds(promtool(tmp_path, whole, inputs, [check]))
    assert promtool(tmp_path, whole.replace(text, instead), inputs, [check])


def test_peaks_near_and_above_capacity(tmp_path: Path) -> None:
    inputs = [
        series("footfall_active_users", "10+20x11 10+75x11 10+90x11 10+20x24", app="one", facet="", window="hour"),
        series("footfall_active_users", "9000x60", app="one", facet="", window="day"),
        series("footfall_active_users", "9000x60", app="untold", facet="", window="hour"),
        series("footfall_peak_capacity", "900x60", app="one"),
    ]
    checks = [
        expect("count(ALERTS)", "65m"),
        expect(firing("PeakNearCapacity", "one"), "115m", {"app": "one"}),
        expect('count(ALERTS{alertname="PeakAboveCapacity"})', "119m"),
        expect(firing("PeakAboveCapacity", "one"), "175m", {"app": "one"}),
        expect("count by (app) (ALERTS)", "210m", {"app": "one"}, value=2),  # for an hour after the peak's own
        expect("count(ALERTS)", "5h"),
    ]
    assert_holds(promtool(tmp_path, (RULES / "activity.rules.yml").read_text(), inputs, checks))


# --- tracking points and funnels -------------------------------------------------------------------------------------------


def tracking() -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    rng = random.Random(11)
    day = 8
    inputs: list[dict[str, str]] = []

    def app(name: str, fate: Any = usual, broken: Any = usual, kinds: int = 5) -> None:
        for event, share, own in (
            ("office", 0.1, lambda d, h: 1.0 if 9 <= h < 17 else 0.02),
            ("rare", 0.001, usual),
            ("view", 0.5, usual),
            ("pay", 0.2, broken),
            ("other", 0.2, usual),
        )[-kinds:]:
            per_second = rates(day + 1, 10 * share, lambda d, h, own=own: fate(d, h) * own(d, h))  # type: ignore[misc]
            inputs.append(series("footfall_events_by_name_total", counter(rng, per_second), app=name, event=event))

    app("well")
    app("broken", broken=during(10, 24, 0.05, day), kinds=3)
    app("down", fate=during(10, 24, 0.1, day), kinds=3)
    app("away", fate=lambda d, h: (0.0 if 10 <= h < 12 else 5.0 if 12 <= h < 12.5 else 1.0) if d == day else 1.0, kinds=3)

    def funnel(name: str, fate: Any) -> None:
        means = rates(day + 1, 0.05)
        reached = [0, 0, 0]
        values: list[list[str]] = [[], [], []]
        for step, mean in enumerate(means):
            if step % 288 == 0:
                reached = [0, 0, 0]
            factor = fate(step // 288, step % 288 / 12)
            for index, share in enumerate((1.0, 0.5, 0.4 * factor)):
                reached[index] += (
                    sum(rng.random() < share for _ in range(round(mean * STEP_S))) if index else round(mean * STEP_S)
                )
                values[index].append(str(reached[index]))
        for index, event in enumerate(("open", "fill", "done")):
            labels = {"app": "well", "funnel": name, "step": str(index + 1), "event": event}
            inputs.append(series("footfall_funnel_users", " ".join(values[index]), **labels))

    funnel("good", usual)
    funnel("bad", during(10, 24, 0.2, day))
    checks = [
        *(quiet("EventMissing", app, 0, day + 1) for app in ("well", "down", "away")),
        quiet("EventMissing", "broken", 0, day + 10 / 24),
        expect('count by (event) (ALERTS{alertname="EventMissing",alertstate="firing"})', instant(day, 12), {"event": "pay"}),
        expect('count(ALERTS{alertname="FunnelStepCollapsed"})', instant(day, 10)),
        expect(
            'count by (funnel, step, event) (ALERTS{alertname="FunnelStepCollapsed",alertstate="firing"})',
            instant(day, 11.5),
            {"funnel": "bad", "step": "3", "event": "done"},
        ),
        expect(
            f'sum_over_time(count(ALERTS{{alertname="FunnelStepCollapsed",alertstate="firing",funnel="good"}})[{day}d:{STEP_S}s])',
            instant(day + 1),
        ),
    ]
    return inputs, checks


def test_a_tracking_point_or_funnel_step_that_broke_is_told_and_what_all_share_is_not(tmp_path: Path) -> None:
    inputs, checks = tracking()
    assert_holds(promtool(tmp_path, (RULES / "tracking.rules.yml").read_text(), inputs, checks))


# --- the pipeline ----------------------------------------------------------------------------------------------------------


def test_alerts_on_the_pipeline_itself() -> None:
    here = Path(__file__).parent / "rules"
    done = subprocess.run(
        [PROMTOOL or "", "test", "rules", "pipeline.test.yml", "standstill.test.yml", "tracking.test.yml"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_to_fire() -> None:
    tests = Path(__file__).read_text() + "".join(one.read_text() for one in (Path(__file__).parent / "rules").glob("*.test.yml"))
    rules = "".join(path.read_text() for path in RULES.glob("*.rules.yml"))
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    assert len(alerts) > 15
    assert not [alert for alert in alerts if not re.search(rf'["|]{alert}|alertname: {alert}', tests)]


def test_the_examples_are_valid_and_of_loopback_only() -> None:
    for command in (["promtool", "check", "config"], ["amtool", "check-config"]):
        name = "prometheus.yml" if command[0] == "promtool" else "alertmanager.yml"
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(RULES / name)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        hosts = set(re.findall(r"([\w.]+):\d{4,5}\b", (RULES / name).read_text()))
        assert hosts == {"127.0.0.1"}
