"""The simulator: the same seed does the same, and its figures are those of mobile banking."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from deploy.simulator import truth
from deploy.simulator.arrivals import arrivals, doubled
from deploy.simulator.journal import sent
from deploy.simulator.live import LiveTraffic
from deploy.simulator.population import Persona, make_persons
from deploy.simulator.traffic import (
    HOUR_WEIGHTS,
    Script,
    SimEvent,
    day_visits,
    hour_starts,
    in_order,
    line,
    make_scripts,
    native,
    thinned,
)
from ingest.contract.event import Event, check_line
from ingest.contract.plan import Activity, App, Plan
from ingest.contract.settings import read_settings
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.line import encode_line
from ingest.protocols import Receipt
from ingest.protocols.native import decode_event
from ingest.tracking import Tracking

DEMO = Path(__file__).parent.parent.parent / "deploy" / "demo.toml"
PLAN = read_settings(DEMO.read_text(), {})
ZONE = ZoneInfo("Asia/Shanghai")
SCRIPTS = make_scripts(PLAN)
MONTH = [date(2026, 9, 1) + timedelta(days=day) for day in range(30)]


def day_events(scripts: dict[str, Script], persons: list[Persona], seed: int, day: date) -> list[SimEvent]:
    return in_order(day_visits(scripts, persons, seed, day))


@pytest.fixture(scope="module")
def persons() -> list[Persona]:
    return make_persons(PLAN, 7, 4000)


@pytest.fixture(scope="module")
def month(persons: list[Persona]) -> list[SimEvent]:
    return [event for day in MONTH for event in day_events(SCRIPTS, persons, 7, day)]


def test_the_same_seed_makes_the_same_persons_do_the_same(persons: list[Persona]) -> None:
    again = make_persons(PLAN, 7, 4000)
    assert again == persons
    assert make_persons(PLAN, 7, 100) == persons[:100]
    assert day_events(SCRIPTS, again, 7, MONTH[0]) == day_events(SCRIPTS, persons, 7, MONTH[0])


def test_another_seed_makes_other_persons_and_another_day_other_events(persons: list[Persona]) -> None:
    assert make_persons(PLAN, 8, 100) != persons[:100]
    ids = {event.id for event in day_events(SCRIPTS, persons, 7, MONTH[0])}
    assert not ids & {event.id for event in day_events(SCRIPTS, persons, 7, MONTH[1])}


def test_event_ids_are_unique(month: list[SimEvent]) -> None:
    assert len({event.id for event in month}) == len(month)


def test_persons_have_one_and_a_half_apps_and_few_stay_anonymous(persons: list[Persona]) -> None:
    assert sum(len(one.apps) for one in persons) / len(persons) == pytest.approx(1.5, abs=0.06)
    assert 0.03 < sum(not one.user for one in persons) / len(persons) < 0.1
    assert all(len({app.app for app in one.apps}) == len(one.apps) for one in persons)


@pytest.mark.parametrize("app", ["harbor", "pioneer", "rural"])
def test_activity_is_as_published_for_mobile_banking(month: list[SimEvent], app: str) -> None:
    """DAU/MAU 0.22 to 0.36, and about 40% of a month's users open the app once or twice."""
    days: dict[date, set[str]] = defaultdict(set)
    launches: Counter[str] = Counter()
    for event in month:
        if event.app == app and event.event == "app_launch":
            days[truth.local(event.time, ZONE).date()].add(event.device)
            launches[event.device] += 1
    assert 0.22 < sum(map(len, days.values())) / len(MONTH) / len(launches) < 0.36
    assert 0.33 < sum(count <= 2 for count in launches.values()) / len(launches) < 0.45


def test_launches_minutes_and_the_peak_are_as_published(month: list[SimEvent]) -> None:
    launches = [event for event in month if event.event == "app_launch"]
    person_days = {(event.app, event.device, truth.local(event.time, ZONE).date()) for event in launches}
    assert len(launches) / len(person_days) == pytest.approx(1.85, abs=0.12)
    ends: dict[tuple[str, ...], int] = defaultdict(int)
    starts: dict[tuple[str, ...], int] = {}
    for event in month:
        visit = tuple(event.id.split("-")[:3])
        starts[visit] = min(starts.get(visit, event.time), event.time)
        ends[visit] = max(ends[visit], event.time)
    minutes = sum(ends[visit] - starts[visit] for visit in starts) / 60_000 / len(launches)
    assert minutes == pytest.approx(1.48, abs=0.15)
    hours = Counter(truth.local(event.time, ZONE).hour for event in launches)
    assert max(hours, key=hours.__getitem__) == 10
    assert min(hours, key=hours.__getitem__) in (2, 3, 4)
    weekdays = Counter(truth.local(event.time, ZONE).weekday() for event in launches if event.time < 1e15)
    assert weekdays[4] > weekdays[6]


def test_the_funnel_gets_narrower_at_every_step(month: list[SimEvent]) -> None:
    counts = Counter(event.event for event in month if event.app == "harbor")
    steps = [counts[step.event] for step in PLAN.funnels[0].steps]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] > 0.1 * steps[0]


def test_every_facet_of_the_plan_is_met_and_passive_events_come_too(month: list[SimEvent]) -> None:
    found = {facet for event in month[:60_000] for facet in truth.facets_of(PLAN, sent(event, 0))}
    assert found >= set(PLAN.facets("harbor"))
    assert sum(event.event == "push_received" for event in month) > 1000


def test_a_plan_with_names_of_its_own_gets_traffic_for_them() -> None:
    plan = Plan(apps=[App(id="shop", launch_events=["opened"])], activities=[Activity(id="buying", events=["checkout"])])
    events = [event for day in MONTH for event in day_events(make_scripts(plan), make_persons(plan, 1, 300), 1, day)]
    assert {"opened", "checkout"} <= {event.event for event in events}


def test_lines_are_valid_event_lines(month: list[SimEvent]) -> None:
    for event in month[:500]:
        head = check_line(line(event, event.time + 5))
        assert (head.id, head.person, head.time, head.received) == (event.id, event.person, event.time, event.time + 5)


def test_who_launches_unknown_is_said_to_be_the_user_who_then_logs_in(month: list[SimEvent], persons: list[Persona]) -> None:
    users = {person.device: person.user for person in persons}
    said = [event for event in month if event.merge is not None]
    assert len(said) > 1000
    assert {(event.type, event.merge.source, event.merge.target) for event in said if event.merge} == {
        ("identify", f"a:{event.device}", f"u:{users[event.device]}") for event in said
    }
    unknown = [event for event in month if event.event == "app_launch" and not event.user and users[event.device]]
    assert len(unknown) == len(said)


def test_strangers_come_under_a_new_id_and_log_in_on_the_same_day(persons: list[Persona]) -> None:
    some = make_scripts(PLAN, strangers=0.3)
    visits = [one for day in MONTH[:3] for one in day_visits(some, persons[:500], 7, day)]
    known = {person.device for person in persons}
    of_id: dict[str, list[list[SimEvent]]] = defaultdict(list)
    for one in visits:
        if one[0].device not in known:
            of_id[one[0].device].append(sorted(one, key=lambda event: event.time))
    assert len(of_id) > 100
    for device, own in of_id.items():
        own.sort(key=lambda one: one[0].time)
        assert len(own) >= 2
        assert {event.person for one in own[:-1] for event in one} == {f"a:{device}"}
        said = [event.merge for event in own[-1] if event.merge is not None]
        assert [one.source for one in said] == [f"a:{device}"]
        assert said[0].target == f"u:{persons[int(own[-1][0].id.split('-')[0], 16)].user}"
        zone = ZoneInfo(PLAN.zone_name(own[0][0].app))
        assert len({truth.local(one[0].time, zone).date() for one in own}) == 1
    ids = [event.id for one in visits for event in one]
    assert len(set(ids)) == len(ids)


def test_whoever_was_unknown_and_has_logged_in_since_is_one_person(month: list[SimEvent]) -> None:
    events = [sent(event, event.time) for event in month[:20_000]]
    found = truth.numbers(PLAN, events, month[-1].time)
    split = truth.numbers(PLAN, events, month[-1].time, {})
    key = next(key for key in split if (key.metric, key.app, key.facet, key.window) == ("active_users", "all", "", "month"))
    said = {event.person for event in events if event.merge is not None}
    merged = {event.merge.source for event in events if event.merge is not None}
    both = {event.person for event in events if event.type == "track"}
    assert split[key] - found[key] == len(merged & both) > 100
    assert not merged & said


def test_the_collector_makes_of_the_native_form_what_the_simulator_writes_itself(month: list[SimEvent]) -> None:
    receipt = Receipt(month[-1].time + 5, Keys(PLAN.apps), limits_of(PLAN.collector))
    check = Tracking(PLAN)
    broken = [event for event in month if event.violations]
    assert {(event.app, event.event, event.version) for event in broken} == {("harbor", "complete_transfer", "9.2.0")}
    for event in month[:300] + broken[:20]:
        decoded = decode_event(msgspec.json.encode(native(event)), event.app, receipt)
        check(decoded)
        made = msgspec.json.decode(encode_line(decoded), type=Event)
        ours = msgspec.json.decode(line(event, receipt.received), type=Event)
        assert made == msgspec.structs.replace(ours, lib=made.lib)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-05-05", 24)])
def test_days_have_as_many_hours_as_the_clock_gives_them(day: str, hours: int) -> None:
    found = hour_starts(ZoneInfo("America/New_York"), date.fromisoformat(day))
    assert len(found) == hours
    assert found[0][0] == 0
    assert found[-1][0] == 23


def test_traffic_is_thinned_to_exactly_a_number_of_events_by_whole_visits(persons: list[Persona]) -> None:
    visits = day_visits(SCRIPTS, persons, 7, MONTH[3])
    found = thinned(visits, 1000, 1)
    assert sum(map(len, found)) == 1000
    assert all(one in visits for one in found[:-1])
    assert thinned(visits, 10**9, 1) != visits
    assert in_order(thinned(visits, 10**9, 1)) == in_order(visits)


def test_arrivals_come_in_order_with_some_very_late_and_some_twice(month: list[SimEvent]) -> None:
    found = list(arrivals(month, 3, 0.02, 0.05))
    assert [received for received, _ in found] == sorted(received for received, _ in found)
    assert len(found) == pytest.approx(1.05 * len(month), rel=0.02)
    assert {event.id for _, event in found} == {event.id for event in month}
    delays = [received - event.time for received, event in found]
    assert min(delays) > 0
    assert sum(delay > 48 * 3_600_000 for delay in delays) > 100
    assert found == list(arrivals(month, 3, 0.02, 0.05))


def test_copies_follow_their_original(month: list[SimEvent]) -> None:
    found = list(doubled(month[:5000], 3, 0.1))
    counts = Counter(event.id for event in found)
    assert set(counts) == {event.id for event in month[:5000]}
    assert 300 < sum(count == 2 for count in counts.values()) < 700


def live(rate: float, start: int, persons: list[Persona]) -> LiveTraffic:
    return LiveTraffic(SCRIPTS, persons, ZONE, seed=5, start=start, rate=rate, floor=0.25, late=0.01)


@pytest.mark.parametrize(("clock", "part"), [(10, 1.0), (3, 0.25), (19, HOUR_WEIGHTS[19] / HOUR_WEIGHTS[10])])
def test_live_traffic_follows_the_hours_and_never_falls_below_its_floor(persons: list[Persona], clock: int, part: float) -> None:
    start = int(datetime(2026, 9, 1, clock, 5, tzinfo=ZONE).timestamp() * 1000)
    traffic = live(50, start, persons)
    traffic.due(start + 600_000)  # the first visits have only begun
    found: list[SimEvent] = []
    for second in range(1800):
        now = start + 600_000 + second * 1000
        due = traffic.due(now)
        assert all(event.time <= now for event in due)
        found += due
    assert len(found) / 1800 == pytest.approx(50 * part, rel=0.15)
    again = Counter(event.device for event in found if event.event == "app_launch")
    assert max(again.values()) > 1
