"""What alert rules read: counters by event name, today's funnel steps, capacity; all of them bounded by the plan."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from ingest.contract.event import make_frame
from ingest.contract.plan import OTHER, Activity, App, Funnel, FunnelStep, Group, Plan
from ingest.contract.settings import Settings
from sinks.clickhouse.rows import EventsBatch
from sinks.contract.tracked import MAX_NAMES, tracked_events
from sinks.contract.verified import VERIFIED_FILE, Verified, encode_verified
from sinks.prometheus.exposition import Exposition
from sinks.prometheus.fold import Fold
from sinks.prometheus.gauges import gauges, scopes
from sinks.prometheus.verified import last_verified
from sinks.stats import Stats
from streams.contract.total import Total
from tests.sinks.process import NOON, event

PLAN = Plan(
    apps=[App(id="east", launch_events=["open"], peak_capacity=900), App(id="west", launch_events=["start"])],
    activities=[Activity(id="paying", events=["pay", "open"], apps=["east"])],
    groups=[Group(id="all", apps=["east", "west"])],
    funnels=[Funnel(id="way", app="all", steps=[FunnelStep(event="open"), FunnelStep(event="done")])],
)


def total(facet: str, value: int, day: str) -> Total:
    fields = {"metric": "funnel_users", "app": "all", "facet": facet, "window": "day", "start": 0, "day": day, "hour": -1}
    return msgspec.convert(fields | {"layout": "1", "partition": 0, "value": value, "at": NOON}, Total)


def test_names_are_those_of_the_plan_once_each_and_a_groups_funnel_names_its_apps_events() -> None:
    assert tracked_events(PLAN) == {"east": ("open", "done", "pay"), "west": ("start", "open", "done")}


def test_a_plan_with_any_number_of_names_has_a_bounded_number_of_series() -> None:
    many = msgspec.structs.replace(PLAN, activities=[Activity(id="all", events=[f"e{one}" for one in range(2 * MAX_NAMES)])])
    assert {len(names) for names in tracked_events(many).values()} == {MAX_NAMES}


def test_events_are_counted_by_name_as_they_are_stored() -> None:
    batch = EventsBatch(0)
    batch.add(5, make_frame([event(1, event="pay"), event(2, event="pay"), b"{", event(3)]))
    assert batch.names == {("harbor", "pay"): 2, ("harbor", "app_launch"): 1}


def test_a_hundred_thousand_made_up_names_are_one_series() -> None:
    stats = Stats(frozenset({"east", "west"}), tracked_events(PLAN))
    before = stats.snapshot().names
    assert before[("east", "pay")] == 0, "there before its first event, or `rate` would not see that one"
    stats.names(Counter({("east", f"made up {one}"): 1 for one in range(100_000)}))
    stats.names(Counter({("west", "pay"): 3, ("nobody", "pay"): 4, ("east", "pay"): 2}))
    after = stats.snapshot().names
    assert set(after) - set(before) == {(OTHER, OTHER)}
    assert (after["east", OTHER], after["west", OTHER], after[OTHER, OTHER], after["east", "pay"]) == (100_000, 3, 4, 2)


def test_funnel_steps_are_todays_and_capacity_is_there_only_where_the_plan_tells_it() -> None:
    fold = Fold("1")
    for offset, (facet, value, day) in enumerate(
        [
            ("way:1", 9, "2026-11-21"),
            ("way:2", 4, "2026-11-21"),
            ("way:1:platform:ios", 7, "2026-11-21"),
            ("way:1", 50, "2026-11-20"),
        ]
    ):
        fold.apply(total(facet, value, day), offset, NOON)
    shown = {(one.family.name, *one.labels): one.value for one in gauges(fold, scopes(PLAN), NOON)}
    assert {key[1:]: value for key, value in shown.items() if key[0] == "footfall_funnel_users"} == {
        ("all", "way", "1", "open"): 9,
        ("all", "way", "2", "done"): 4,
    }
    assert {key: value for key, value in shown.items() if key[0] == "footfall_peak_capacity"} == {
        ("footfall_peak_capacity", "east"): 900
    }


def test_the_exposition_has_the_names(demo_settings: Settings) -> None:
    stats = Stats(frozenset({"harbor"}), tracked_events(demo_settings))
    found = {metric.name: metric for metric in Exposition(lambda: None, stats.snapshot).collect()}
    labels = [sample.labels for sample in found["footfall_events_by_name"].samples]
    assert {"app": "harbor", "event": "complete_transfer"} in labels


def test_the_last_verifications_outcome_is_shown_once_there_is_one(demo_settings: Settings) -> None:
    def shown() -> dict[str, float]:
        families = Exposition(lambda: None, Stats(frozenset()).snapshot, lambda: last_verified(demo_settings)).collect()
        return {one.name: one.samples[0].value for one in families if one.name.startswith("footfall_verify") and one.samples}

    assert shown() == {}
    path = Path(demo_settings.data_dir) / VERIFIED_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_verified(Verified(at=NOON, compared=900, different=2)))
    assert shown() == {
        "footfall_verify_different": 2,
        "footfall_verify_compared": 900,
        "footfall_verify_timestamp_seconds": NOON / 1000,
    }
    path.write_bytes(b"{")
    assert shown() == {}
