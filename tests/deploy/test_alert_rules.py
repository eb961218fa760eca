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
    whole = users_rules()
    assert text in whole
    values = counter(random.Random(3), rates(days, options.pop("peak"), options.pop("fate")), **options)
    inputs = [*worker_is_there(days), series("footfall_worker_events_total", values, app="one")]
    check = quiet("UserActivityDrop", "one", 0, days) if fires_at is None else fires("UserActivityDrop", "one", 0, fires_at * 24)
    assert_holds(promtool(tmp_path, whole, inputs, [check]))
    assert promtool(tmp_path, whole.replace(text, instead), inputs, [check])


#: Days of history that `backfill-baseline` wrote, and steps of a day.
BACKFILLED, DAY_STEPS = 15, 288


def backfilled(app: str) -> list[dict[str, str]]:
    """Two weeks of five events a second."""
    values = f"5x{BACKFILLED * DAY_STEPS - 1}"
    return [series(f"app:footfall_events:{name}", values, app=app) for name in ("rate15m", "avg1h")]


def lived(*parts: tuple[float, float]) -> str:
    """A counter from then on: (hours, events a second); a rate below 0: it is not there, and starts anew after that."""
    values, total = [f"_x{BACKFILLED * DAY_STEPS}"], 0.0
    for hours, rate in parts:
        steps = round(hours * 12)
        if rate < 0:
            values, total = [*values, "stale", f"_x{steps - 2}"], 0.0
            continue
        values.append(f"{total:g}+{rate * STEP_S:g}x{steps - 1}")
        total += rate * STEP_S * steps
    return " ".join(values)


def sources() -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Apps behind collectors, apps that emit into Kafka themselves, and both."""
    inputs = [*worker_is_there(BACKFILLED + 1)]
    for app, collected, *joined in (
        ("web", 5, (24, 5)),
        ("kafka", 0, (24, 5)),
        ("mixed", 2, (24, 5)),
        ("kafkafell", 0, (10, 5), (14, 1)),
        ("mixedfell", 2, (10, 5), (14, 2)),
        ("kafkagone", 0, (10, 5), (14, 0)),
    ):
        inputs += [*backfilled(app), series("footfall_worker_events_total", lived(*joined), app=app)]
        if collected:
            inputs.append(series("footfall_collector_events_total", lived((24, collected)), app=app, protocol="native"))
    # More pushes than anything else.
    inputs.append(series("footfall_worker_passive_events_total", lived((12, 0), (12, 50))))
    inputs.append(series("footfall_collector_events_total", lived((12, 0), (12, 50)), app="mixedfell", protocol="segment"))
    checks = [
        *(quiet("UserActivityDrop.*", app, 0, BACKFILLED + 1) for app in ("web", "kafka", "mixed")),
        *(fires("UserActivityDrop", app, BACKFILLED, 11) for app in ("kafkafell", "mixedfell", "kafkagone")),
        fires("UserActivityDrop", "kafkafell", BACKFILLED, 16),
    ]
    return inputs, checks


def test_drops_are_told_of_apps_whichever_way_their_events_come(tmp_path: Path) -> None:
    inputs, checks = sources()
    assert_holds(promtool(tmp_path, users_rules(), inputs, checks))


def users_rules() -> str:
    """The rules on events of users alone."""
    return (RULES / "activity.rules.yml").read_text().partition("  - name: footfall-drift")[0]


def test_a_worker_that_starts_anew_or_is_away_or_catches_up_is_no_drop_of_users(tmp_path: Path) -> None:
    # It starts anew at six; from two to four there is none; then it joins what waited, within half an hour.
    joined = lived((6, 5), (0.5, -1), (7.5, 5), (2, -1), (0.5, 25), (7.5, 5))
    inputs = [
        *backfilled("one"),
        series("footfall_worker_frames_total", joined),
        series("footfall_worker_events_total", joined, app="one"),
        series("footfall_collector_events_total", lived((24, 5)), app="one", protocol="native"),
        # Another worker, of few events: its joining some does not tell that all are joined.
        series("footfall_worker_frames_total", lived((24, 0.1)), instance="other"),
        series("footfall_worker_passive_events_total", lived((24, 0.1)), instance="other"),
    ]
    checks = [quiet("UserActivityDrop.*", "one", 0, BACKFILLED + 1)]
    checks.append(expect("app:footfall_events:level", instant(BACKFILLED, 15)))
    assert_holds(promtool(tmp_path, users_rules(), inputs, checks))
    ungated = re.sub(r" unless on \(\) footfall:unjoined", "", users_rules())
    assert promtool(tmp_path, ungated, inputs, checks[:1])


def test_lag_between_inserts_is_no_lag(tmp_path: Path) -> None:
    """What the sinks show at 560 events a second with nothing behind: batches that gather."""
    rng = random.Random(5)
    measured = [0, 1381, 1515, 1611, 1849, 2302, 2458, 2679, 2789, 3815, 4209, 5455, 9404]
    noise = [rng.choice(measured) for _ in range(576)]
    inputs = [
        series("footfall_sink_lag_records", " ".join(map(str, noise)), topic="footfall.metrics"),
        series("footfall_worker_totals_total", "0+270000x576"),
        series("footfall_sink_lag_records", " ".join(str(lag // 15) for lag in noise), topic="footfall.events"),
        series("footfall_worker_frames_total", "0+18000x576"),
    ]
    check = expect(f'sum_over_time(count(ALERTS{{alertname="SinkBehind"}})[2d:{STEP_S}s])', "2d")
    assert_holds(promtool(tmp_path, (RULES / "pipeline.rules.yml").read_text(), inputs, [check]))


def test_a_funnel_step_that_breaks_on_the_first_day_is_told_by_the_backfilled_history(tmp_path: Path) -> None:
    inputs, days = [], 8
    for name, kept in (("good", 1.0), ("bad", 0.1)):
        for step, (event, an_hour) in enumerate((("open", 240), ("done", 120 * kept)), 1):
            labels = {"app": "a", "funnel": name, "step": str(step)}
            usually = f"{240 if step == 1 else 120}x{days * 288 - 1}"
            inputs.append(series("funnel:footfall_funnel_users:in1h", usually, **labels, event=event))
            live = f"_x{days * 288} 0+{an_hour // 12:g}x100"
            inputs.append(series("footfall_funnel_users", live, **labels, event=event))
        labels = {"app": "a", "funnel": name, "step": "2"}
        inputs.append(series("funnel:footfall_funnel_users:before1h", f"240x{days * 288 - 1}", **labels))
    told = 'count by (funnel, step) (ALERTS{alertname="FunnelStepCollapsed",alertstate="firing"})'
    checks = [expect(told, instant(days)), expect(told, instant(days, 3), {"funnel": "bad", "step": "2"})]
    rules = (RULES / "tracking.rules.yml").read_text()
    assert_holds(promtool(tmp_path, rules, inputs, checks))


def peaks() -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Hours of more and more users."""
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
    return inputs, checks


def test_peaks_near_and_above_capacity(tmp_path: Path) -> None:
    inputs, checks = peaks()
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


def expected_to_fire(expr: str, samples: str) -> set[str]:
    """Alerts that fire where that expression has these samples (as text): named in it, or by the samples' own labels."""
    if not samples or "ALERTS" not in expr or 'alertstate="firing"' not in expr:
        return set()
    return set(re.findall(r'alertname="(\w+)"', expr)) or set(re.findall(r'alertname="(\w+)"', samples))


def test_every_alert_is_tested_to_fire() -> None:
    cases = "".join(one.read_text() for one in (Path(__file__).parent / "rules").glob("*.test.yml"))
    found = re.findall(r"expr: '(.*?)', eval_time: \w+, exp_samples: \[(.*)\]", cases)
    assert len(found) == cases.count("expr: ")
    for _, checks in (activity(), sources(), peaks(), tracking()):
        found += [(one["expr"], json.dumps(one["exp_samples"]) if one["exp_samples"] else "") for one in checks]
    fired = set().union(*(expected_to_fire(expr, samples) for expr, samples in found))
    rules = "".join(path.read_text() for path in RULES.glob("*.rules.yml"))
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    assert len(alerts) > 15
    assert alerts - fired == set()


def test_an_alert_that_is_expected_not_to_fire_is_not_tested_to_fire() -> None:
    assert expected_to_fire('count(ALERTS{alertname="A",alertstate="firing"})', "") == set()
    assert expected_to_fire('count(ALERTS{alertname="A"})', "{value: 1}") == set()
    assert expected_to_fire('count(ALERTS{alertname="A",alertstate="firing"})', "{value: 1}") == {"A"}
    assert expected_to_fire('count by (alertname) (ALERTS{alertname=~"A|B",alertstate="firing"})', '{alertname="B"}') == {"B"}


def test_the_examples_are_valid_and_of_loopback_only() -> None:
    for command in (["promtool", "check", "config"], ["amtool", "check-config"]):
        name = "prometheus.yml" if command[0] == "promtool" else "alertmanager.yml"
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(RULES / name)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        hosts = set(re.findall(r"([\w.]+):\d{4,5}\b", (RULES / name).read_text()))
        assert hosts == {"127.0.0.1"}
