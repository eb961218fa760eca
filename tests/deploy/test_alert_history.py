"""The history that baselines start with: what the recording rules would have recorded of the same events."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.prometheus.history import STEP_MS, Sample, activity, dense, series, tracking, trailing, users

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"
UNTIL = 1000


def values(samples: list[Sample], name: str) -> list[tuple[int, float]]:
    return [(one.at, one.value) for one in samples if one.series.startswith(name + "{")]


def test_a_steady_stream_is_its_rate_at_the_end_of_each_slot() -> None:
    samples = list(activity("a", dict.fromkeys(range(900, UNTIL), 300), UNTIL))
    rates = values(samples, "app:footfall_events:rate15m")
    assert [at for at, _ in rates] == [(slot + 1) * STEP_MS // 1000 for slot in range(900, UNTIL)]
    assert {value for _, value in rates[2:]} == {1.0}
    assert values(samples, "app:footfall_events:avg1h")[-1][1] == pytest.approx(1.0)


def test_what_was_before_the_first_event_is_unknown_and_a_gap_after_it_is_zero() -> None:
    assert dense({5: 2, 8: 1}, 10) == (5, [2, 0, 0, 1, 0])
    assert list(activity("a", {}, UNTIL)) == []
    assert list(users("a", {}, UNTIL)) == []
    assert list(tracking("a", ["x"], {}, {}, UNTIL)) == []


@given(st.lists(st.integers(0, 1000), max_size=60), st.integers(1, 15))
def test_trailing_sums_are_the_plain_ones(counts: list[int], width: int) -> None:
    assert trailing(counts, width) == [sum(counts[max(0, end - width) : end]) for end in range(1, len(counts) + 1)]


def test_shares_are_of_all_events_and_unknown_where_there_were_none() -> None:
    total = {900: 100, 950: 100}
    samples = list(tracking("a", ["pay", "never"], {"pay": {900: 25}}, total, UNTIL))
    shares = [(one.series, one.value) for one in samples if "share1h" in one.series]
    assert shares[0] == ('app_event:footfall_events:share1h{app="a",event="pay"}', 0.25)
    assert math.isnan(shares[20][1])
    assert {value for name, value in shares if "never" in name and not math.isnan(value)} == {0.0}


def test_users_of_half_hours_are_told_every_five_minutes() -> None:
    samples = list(users("a", {10: 6, 11: 8}, 12))
    assert [value for _, value in values(samples, "app:footfall_active_users:avg1h")] == [3.0] * 6 + [7.0] * 6
    assert samples[0].at == 10 * 1800 + 300


def test_any_name_is_written_so_that_it_can_be_read() -> None:
    assert series("x", event='a"b\\c\nd', app="支付") == 'x{event="a\\"b\\\\c\\nd",app="支付"}'


def test_names_are_those_of_the_recording_rules() -> None:
    recorded = set(re.findall(r"record: \"?([\w:]+)", "".join(path.read_text() for path in RULES.glob("*.rules.yml"))))
    ours = [*activity("a", {1: 1}, 2), *users("a", {1: 1}, 2), *tracking("a", ["x"], {}, {1: 1}, 2)]
    assert {one.series.partition("{")[0] for one in ours} <= recorded
