"""Chains of a funnel at their edges, and a person with ten thousand events."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streams.funnel import (
    EXCLUDED,
    MAX_EVENTS_A_DAY,
    FunnelEvent,
    FunnelRule,
    add_event,
    best_chains,
    bucket_seconds,
    join_events,
)

DAY = 1000
RULE = FunnelRule(steps=3, window_ms=100, keep_days=3)
A, B, C = 1, 2, 4


def day_of(time: int) -> int:
    return time // DAY


class Chain(NamedTuple):
    """As `best_chains` has it, in words."""

    day: int
    value: int
    depth: int
    convert_ms: int | None


def chains(events: list[FunnelEvent]) -> list[Chain]:
    """The best chains."""
    found = best_chains(events, RULE, day_of)
    return [Chain(*key, depth, -minus if depth == RULE.steps else None) for key, (depth, minus) in found.items()]


def best(*events: tuple[int, int] | tuple[int, int, int]) -> list[Chain]:
    """Chains of (time, bits[, tie]) events."""
    known: list[FunnelEvent] = []
    for time, bits, *tie in events:
        add_event(known, (time, tie[0] if tie else bits, bits, 0), RULE, day_of)
    return chains(known)


def test_the_second_entry_in_the_same_instant_as_the_step_does_not_hide_the_first() -> None:
    assert best((1, A), (2, A), (2, B)) == [Chain(0, 0, 2, None)]


def test_steps_of_one_instant_go_by_the_tie() -> None:
    assert best((1, A, 1), (1, B, 2)) == [Chain(0, 0, 2, None)]
    assert best((1, A, 2), (1, B, 1)) == [Chain(0, 0, 1, None)]


def test_the_last_step_may_come_at_the_windows_end_and_not_after() -> None:
    assert best((0, A), (50, B), (100, C)) == [Chain(0, 0, 3, 100)]
    assert best((0, A), (50, B), (101, C)) == [Chain(0, 0, 2, None)]


def test_the_quickest_of_complete_chains_counts_on_the_entrys_day() -> None:
    assert best((950, A), (990, A), (995, B), (1010, C)) == [Chain(0, 0, 3, 20)]


def test_one_event_takes_a_chain_one_step() -> None:
    assert best((0, A | B), (1, B | C)) == [Chain(0, 0, 2, None)]
    assert best((0, A | B | C), (1, A | B | C), (2, A | B | C)) == [Chain(0, 0, 3, 2)]


def test_an_exclusion_ends_a_chain_unless_it_is_the_next_step() -> None:
    assert best((0, A), (1, EXCLUDED), (2, B)) == [Chain(0, 0, 1, None)]
    assert best((0, A), (1, B | EXCLUDED), (2, C)) == [Chain(0, 0, 3, 2)]
    assert best((0, A), (1, EXCLUDED), (2, A), (3, B)) == [Chain(0, 0, 2, None)]


def test_an_entry_for_each_breakdown_value_and_one_for_all() -> None:
    events: list[FunnelEvent] = [(0, 0, A, 7), (10, 0, A, 8), (20, 0, B, 8), (105, 0, C, 0)]
    assert sorted(chains(events)) == [
        Chain(0, 0, 3, 95),
        Chain(0, 7, 2, None),
        Chain(0, 8, 3, 95),
    ]


def test_ten_thousand_events_of_a_day_keep_the_earliest_in_any_order() -> None:
    forward: list[FunnelEvent] = []
    backward: list[FunnelEvent] = []
    events: list[FunnelEvent] = [(number // 20, number % 20, 1 << number % 3, 0) for number in range(10_000)]
    for event in events:
        add_event(forward, event, RULE, day_of)
    for event in reversed(events):
        add_event(backward, event, RULE, day_of)
    assert forward == backward == events[:MAX_EVENTS_A_DAY]


EVENTS = st.lists(
    st.tuples(st.integers(0, 5 * DAY), st.integers(0, 2), st.sampled_from([A, B, C, EXCLUDED, A | B]), st.integers(0, 2)),
    max_size=12,
    unique_by=lambda event: event[:2],
)


@given(EVENTS, EVENTS, st.randoms(use_true_random=False))
def test_joining_events_is_the_same_in_any_order(one: list[FunnelEvent], two: list[FunnelEvent], random: object) -> None:
    together: list[FunnelEvent] = []
    join_events(together, one, RULE, day_of)
    join_events(together, two, RULE, day_of)
    shuffled = one + two + one[:3]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    other: list[FunnelEvent] = []
    join_events(other, shuffled, RULE, day_of)
    assert other == together


def test_buckets_are_whole_seconds_up_to_a_minute_and_narrow_after() -> None:
    assert [bucket_seconds(ms) for ms in (0, 999, 1000, 63_999, 64_999, 66_000, 127_000, 86_400_000)] == [
        0,
        0,
        1,
        63,
        64,
        66,
        126,
        86_016,
    ]
