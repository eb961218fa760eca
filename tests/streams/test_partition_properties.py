"""The worker's numbers against a plain recomputation: events in any order, doubled, in any frames, with restarts anywhere."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.contract.partition import partition_of
from ingest.contract.plan import Activity, App, Funnel, FunnelStep, Group, Horizons, Plan, Project, Segment
from streams.contract.total import decode_total
from streams.contributions import sum_afresh
from streams.partition import Partition
from streams.rules import Rules
from tests.streams.plain import Number, PlainEvent, PlainFunnel, recompute
from tests.streams.plain import Rules as PlainRules

HOUR = 3_600_000
DAY = 24 * HOUR
PARTITIONS = 4
PERSONS = [p for p in (f"u:{i}" for i in range(60)) if partition_of(p, PARTITIONS) == 0][:6]
PERSONS += [p for p in (f"a:{i}" for i in range(60)) if partition_of(p, PARTITIONS) == 0][:2]


def plan_of(zone: str, project_zone: str, late_days: int = 5) -> Plan:
    return Plan(
        project=Project(time_zone=project_zone, session_gap_minutes=30),
        horizons=Horizons(late_days=late_days, late_hours=48),
        apps=[App(id="one", time_zone=zone, passive_events=["push"]), App(id="two", passive_events=["push"])],
        activities=[Activity(id="paying", events=["pay"])],
        segments=[Segment(id="platform", source="platform", values=["ios"])],
        groups=[Group(id="both", apps=["one", "two"])],
        funnels=[
            Funnel(
                id="buy",
                app="one",
                steps=[FunnelStep(event="app_launch"), FunnelStep(event="view", where={"kind": "fund"}), FunnelStep(event="pay")],
                window_hours=1,
                by="platform",
            ),
            Funnel(
                id="again",
                app="both",
                steps=[FunnelStep(event="view"), FunnelStep(event="view")],
                exclude=[FunnelStep(event="pay")],
            ),
        ],
    )


def plain_rules(zone: str, project_zone: str, late_days: int) -> PlainRules:
    return PlainRules(
        zones={"one": zone, "two": project_zone, "both": project_zone},
        groups={"both": ["one", "two"]},
        activities={"paying": ["pay"]},
        platforms=["ios"],
        passive=["push"],
        launches=["app_launch"],
        late_days=late_days,
        late_hours=48,
        gap_minutes=30,
        funnels={
            "buy": PlainFunnel("one", [("app_launch", ""), ("view", "fund"), ("pay", "")], [], 1, True),
            "again": PlainFunnel("both", [("view", ""), ("view", "")], [("pay", "")], 24, False),
        },
    )


ZONES = st.sampled_from(["Asia/Shanghai", "UTC", "America/New_York", "Asia/Kolkata", "Australia/Adelaide"])
#: Around both clock changes of New York, and around a month's and a year's end.
BASES = st.sampled_from(
    [datetime(2026, 3, 9, 3, tzinfo=UTC), datetime(2026, 11, 2, 4, tzinfo=UTC), datetime(2027, 1, 2, 11, tzinfo=UTC)]
)


def events_from(base: int, late_days: int) -> st.SearchStrategy[list[PlainEvent]]:
    fine = st.integers(0, 3 * HOUR // 1000).map(lambda s: s * 1000)
    # mostly recent, in clusters that meet sessions and midnights; some late, some far too late, some ahead of the receipt
    clusters = st.builds(lambda day, ms: day * DAY + ms, st.integers(0, late_days + 1), fine)
    ago = st.one_of(fine, clusters, st.integers(0, 50 * HOUR), st.integers(-HOUR, 0), st.sampled_from([48 * HOUR, 48 * HOUR + 1]))
    received = st.one_of(st.just(base), st.integers(0, 20 * HOUR).map(lambda ms: base + ms))

    def event(person: str, app: str, name: str, got: int, ago_ms: int, platform: str, duration: int, kind: str) -> PlainEvent:
        time = max(got - ago_ms, 0)
        return PlainEvent(
            person, app, name, time, got, platform, duration, f"{person}{app}{name}{time}{kind}{platform}{duration}", kind
        )

    return st.lists(
        st.builds(
            event,
            st.sampled_from(PERSONS),
            st.sampled_from(["one", "two"]),
            st.sampled_from(["app_launch", "pay", "push", "view"]),
            received,
            ago,
            st.sampled_from(["", "ios", "web"]),
            st.sampled_from([0, 0, 0, 90_000, 4 * HOUR, 25 * HOUR, 24 * HOUR]),
            st.sampled_from(["", "fund"]),
        ),
        min_size=1,
        max_size=25,
    )


class Downstream:
    """A reader of the metrics topic: keeps the last total of each key."""

    def __init__(self) -> None:
        self.last: dict[bytes, bytes] = {}

    def numbers(self) -> dict[Number, int]:
        found: dict[Number, int] = {}
        for line in self.last.values():
            total = decode_total(line)
            if total.window in ("5m", "30m") or total.value == 0:
                continue
            hour = None
            if total.window == "hour":
                hour = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=total.start)
            number = Number(total.metric, total.app, total.facet, total.window, date.fromisoformat(total.day), hour)
            assert number not in found
            found[number] = total.value
        return found


def frame_of(events: list[PlainEvent]) -> bytes:
    return b"\n".join(orjson.dumps(event.line()) for event in events)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_events_shuffled_doubled_cut_and_restarted_give_the_plain_numbers(data: st.DataObject) -> None:
    base = int(data.draw(BASES).timestamp() * 1000)
    zone, project_zone = data.draw(ZONES), data.draw(ZONES)
    late_days = data.draw(st.sampled_from([5, 45]))
    rules = Rules(plan_of(zone, project_zone, late_days))
    events = data.draw(events_from(base, late_days))
    sent = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=8))))
    store: dict[bytes, bytes] = {}
    partition = Partition(rules, "t", 0, PARTITIONS, store, cached=2)
    downstream = Downstream()
    now = base + 21 * HOUR
    crashes = 4
    while sent:
        cut = data.draw(st.integers(1, len(sent)))
        partition.apply_frame(frame_of(sent[:cut]), 0, now)
        sent = sent[cut:]
        crashes -= 1
        what = data.draw(st.sampled_from(["go on", "checkpoint", "restart", *["crash"][: max(crashes, 0)]]))
        if what in ("checkpoint", "restart"):
            taken = partition.take(now)
            downstream.last |= dict(taken.totals)
            partition.commit(taken)
        if what == "crash":  # nothing since the last checkpoint is safe: its frames come again
            sent = data.draw(st.permutations(events)) + sent
            partition = Partition(rules, "t", 0, PARTITIONS, store, cached=2)
        if what == "restart":
            partition = Partition(rules, "t", 0, PARTITIONS, store, cached=2)
    now += data.draw(st.sampled_from([0, 2, 9, 40])) * DAY  # trailing windows go on without events
    taken = partition.take(now)
    downstream.last |= dict(taken.totals)
    partition.commit(taken)
    assert not taken.rejected

    running = {key: value for key, value in partition.totals.values().items() if value}
    again = Partition(rules, "t", 0, PARTITIONS, store, cached=2)
    assert {key: value for key, value in again.totals.values().items() if value} == running
    afresh = partition.summed_afresh()
    assert {key: value for key, value in afresh.values().items() if value} == running
    one_by_one = sum_afresh(partition.empty_totals(), partition.scopes, partition.decoded().values())
    assert {key: value for key, value in one_by_one.values().items() if value} == running

    expected = {
        number: value
        for number, value in recompute(events, plain_rules(zone, project_zone, late_days)).items()
        if number.day <= _today(now, zone if number.app == "one" else project_zone)
    }
    assert downstream.numbers() == expected


def _today(now: int, zone: str) -> date:
    return datetime.fromtimestamp(now / 1000, ZoneInfo(zone)).date()


def test_a_bad_line_is_rejected_and_the_rest_of_its_frame_counts() -> None:
    rules = Rules(plan_of("UTC", "UTC"))
    partition = Partition(rules, "footfall.events", 0, PARTITIONS, {}, cached=10)
    now = 1_795_312_800_000
    good = PlainEvent(PERSONS[0], "one", "view", now - 5000, now)
    deep = orjson.dumps(good.line())[:-1] + b',"props":{"n":' + b"[" * 5000 + b"]" * 5000 + b"}}"
    bad = [b'{"id":"1","app":"one","person":7}', b"\xff\xfe", deep]
    partition.apply_frame(b"\n".join([orjson.dumps(good.line()), *bad, orjson.dumps(good.line())]), 41, now)
    taken = partition.take(now)
    rejected = [msgspec.json.decode(line) for line in taken.rejected]
    assert [(one["reason"], one["partition"], one["offset"], one["line"]) for one in rejected] == [
        ("bad_line", 0, 41, 1),
        ("bad_line", 0, 41, 2),
        ("bad_line", 0, 41, 3),
    ]
    assert "$.person" in rejected[0]["detail"]
    assert rejected[1]["encoding"] == "base64"
    assert {total.value for _, line in taken.totals if (total := decode_total(line)).window == "day" and total.app == "one"} == {
        1,
        0,
    } - {0}


def test_events_of_another_partition_an_unknown_app_or_the_future_are_rejected_with_their_reason() -> None:
    rules = Rules(plan_of("UTC", "UTC"))
    partition = Partition(rules, "footfall.events", 1, PARTITIONS, {}, cached=10)
    now = 1_795_312_800_000
    here = next(f"u:{i}" for i in range(100) if partition_of(f"u:{i}", PARTITIONS) == 1)
    bad = [
        PlainEvent(PERSONS[0], "one", "view", now, now),
        PlainEvent(here, "three", "view", now, now),
        PlainEvent(here, "one", "view", now, now + 700_000),
    ]
    partition.apply_frame(frame_of(bad), 0, now)
    taken = partition.take(now)
    assert [msgspec.json.decode(line)["reason"] for line in taken.rejected] == [
        "wrong_partition",
        "unknown_app",
        "received_in_future",
    ]
    assert not taken.records
