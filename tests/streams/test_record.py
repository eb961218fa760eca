"""The record's join is commutative, associative and idempotent; its bytes give it back; its parts know their edges."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.contract.plan import Horizons
from ingest.contract.zones import Zone
from streams.codec import RecordFormatError, decode_record, decode_state, encode_record, encode_state
from streams.funnel import FunnelEvent, FunnelRule, add_event
from streams.horizon import horizon_of
from streams.record import MAX_LAUNCHES_A_DAY, JoinRules, Part, Record, join
from streams.spans import add_interval, numbers

HORIZON = horizon_of(Horizons(late_days=5, late_hours=48))
GAP = 30
RULES = JoinRules(HORIZON, GAP, {9: (FunnelRule(3, 86_400_000, HORIZON.keep_funnel_days), Zone("UTC"))})
DAY0 = 20_000
BUSY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def parts(draw: st.DrawFn) -> Part:
    """A part as events could have made it: the newest day and hour are among those seen, facets are seen when ANY is."""
    day = DAY0 + draw(st.integers(0, 60))
    hour = day * 24 + draw(st.integers(0, 23))
    part = Part(day, hour, day - draw(st.integers(0, 80)))
    days = draw(st.integers(0, HORIZON.day_mask)) | 1
    hours = draw(st.integers(0, HORIZON.hour_mask)) | 1
    minute = hour * 60 + draw(st.integers(0, 59))
    seen = {0: (days, hours, minute)}
    for facet in draw(st.sets(st.integers(1, 300), max_size=3)):
        seen[facet] = (
            days & draw(st.integers(0, HORIZON.day_mask)),
            hours & draw(st.integers(0, HORIZON.hour_mask)),
            minute - draw(st.integers(0, 5000)),
        )
    part.group(seen)
    for back in draw(st.sets(st.integers(0, HORIZON.keep_span_days - 1), max_size=3)):
        start = (day - back) * 86_400_000
        part.launches[day - back] = sorted(start + ms for ms in draw(st.sets(st.integers(0, 86_399_999), min_size=1, max_size=4)))
        spans: list[int] = []
        lows = st.integers(0, 500) | st.integers(86_399_400, 86_399_900)  # by midnight, spans of two days may be one
        for low, length in draw(st.lists(st.tuples(lows, st.integers(0, 90)), min_size=1, max_size=4)):
            add_interval(spans, start + low, start + low + length, GAP)
        part.spans[day - back] = spans
    return part


@st.composite
def records(draw: st.DrawFn, scopes: tuple[int, ...] = (1, 2, 130)) -> Record:
    record = Record()
    for scope in draw(st.sets(st.sampled_from(scopes), min_size=1)):
        record.parts[scope] = draw(parts())
    events: list[FunnelEvent] = []
    rule, zone = RULES.funnels[9]
    for hour, tie, bits in draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.integers(1, 7)), max_size=6)):
        add_event(events, (DAY0 * 86_400_000 + hour * 3_600_000, tie, bits, bits % 2), rule, zone.day)
    if events:
        record.funnels[9] = events
    return record


def joined(*these: Record) -> Record:
    result = Record()
    for one in these:
        join(result, copy.deepcopy(one), RULES)
    return result


@BUSY_MACHINE
@given(records(), records())
def test_join_is_commutative(a: Record, b: Record) -> None:
    assert joined(a, b) == joined(b, a)


@BUSY_MACHINE
@given(records(), records(), records())
def test_join_is_associative(a: Record, b: Record, c: Record) -> None:
    assert joined(joined(a, b), c) == joined(a, joined(b, c))


@BUSY_MACHINE
@given(records(), records())
def test_join_is_idempotent_and_holds_what_it_had(a: Record, b: Record) -> None:
    both = joined(a, b)
    assert joined(both, a) == both
    assert joined(both, b, both) == both


@BUSY_MACHINE
@given(records())
def test_a_record_comes_back_from_its_bytes(record: Record) -> None:
    assert decode_record(encode_record(record)) == record


def test_bits_beyond_64_come_back_too() -> None:
    record = Record()
    part = record.parts[3] = Part(DAY0, DAY0 * 24, DAY0)
    part.group({0: (1 << 399 | 1, 1 << 2000 | 1, DAY0 * 1440), 7: (1, 1 << 2000, DAY0 * 1440 - 1)})
    assert decode_record(encode_record(record)) == record


def test_a_record_of_the_future_is_refused_with_what_to_do() -> None:
    with pytest.raises(RecordFormatError, match=r"version 99.*update it"):
        decode_record(msgspec.msgpack.encode([99, []]))
    with pytest.raises(RecordFormatError, match="cannot be read"):
        decode_record(b"\xc1")
    with pytest.raises(RecordFormatError, match="state has version 99"):
        decode_state(msgspec.msgpack.encode([99, [], {}]))


def test_a_partitions_state_comes_back() -> None:
    state = decode_state(encode_state(["", "app"], {"a": "b"}))
    assert (state.names, state.definitions) == (["", "app"], {"a": "b"})


def test_the_earliest_launches_are_kept_in_any_order() -> None:
    forward, backward = Part(DAY0), Part(DAY0)
    for time in range(MAX_LAUNCHES_A_DAY + 5):
        forward.add_launch(DAY0, time)
        backward.add_launch(DAY0, MAX_LAUNCHES_A_DAY + 4 - time)
    assert forward.launches == backward.launches == {DAY0: list(range(MAX_LAUNCHES_A_DAY))}
    assert not forward.add_launch(DAY0, 5)


def test_intervals_at_exactly_the_gap_are_one_and_a_millisecond_more_are_two() -> None:
    spans: list[int] = []
    add_interval(spans, 0, 10, GAP)
    add_interval(spans, 10 + GAP, 50, GAP)
    assert spans == [0, 50]
    add_interval(spans, 50 + GAP + 1, 90, GAP)
    assert spans == [0, 50, 81, 90]


def test_an_interval_bridges_all_that_it_reaches() -> None:
    spans = [0, 10, 100, 110, 200, 210, 400, 410]
    assert add_interval(spans, 70, 180, GAP)
    assert spans == [0, 10, 70, 210, 400, 410]
    assert not add_interval(spans, 80, 90, GAP)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), max_size=8), st.randoms(use_true_random=False))
def test_intervals_in_any_order_give_the_same_union(pieces: list[tuple[int, int]], random: object) -> None:
    forward: list[int] = []
    for low, length in sorted(pieces):
        add_interval(forward, low, low + length, GAP)
    shuffled = list(pieces)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    other: list[int] = []
    for low, length in shuffled + pieces[:2]:
        add_interval(other, low, low + length, GAP)
    assert other == forward


def test_a_session_across_midnight_is_one_and_its_time_is_cut_at_midnight() -> None:
    spans = {1: [80, 95], 2: [105, 120]}
    assert numbers(spans, 1, 0, 100, GAP) == (20, 1)
    assert numbers(spans, 2, 100, 200, GAP) == (20, 0)
    assert numbers(spans, 3, 200, 300, GAP) == (0, 0)
    assert numbers({1: [80, 85], 2: [116, 120]}, 2, 100, 200, GAP) == (4, 1)
