"""The time that counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.contract.event import MAX_TIME_MS
from ingest.reasons import Reason, RefusedError
from ingest.time_rules import event_time, read_sent, read_time

NOW = 1_795_330_000_000
MINUTE = 60_000
times = st.integers(0, MAX_TIME_MS - 1)


@pytest.mark.parametrize("transit", [0, 900, 59_000, 60_000])
def test_a_difference_of_a_minute_at_most_is_the_way_of_the_request(transit: int) -> None:
    assert event_time(NOW - 100_000, NOW - transit, NOW) == NOW - 100_000


@pytest.mark.parametrize(("skew", "minutes"), [(60_001, 1), (119_999, 1), (120_000, 2), (3_600_250, 60), (-3_599_750, -60)])
def test_a_clock_that_is_off_is_corrected_by_whole_minutes(skew: int, minutes: int) -> None:
    device = NOW - 10 * MINUTE - 200 * MINUTE
    assert event_time(device, NOW - skew, NOW) == device + minutes * MINUTE


def test_a_copy_that_took_longer_has_the_same_time() -> None:
    skew = 7_200_000
    first = event_time(NOW, NOW + 50, NOW + 50 + skew + 12)
    again = event_time(NOW, NOW + 4_000, NOW + 4_000 + skew + 900)
    assert first == again == NOW + skew


def test_a_time_set_on_purpose_is_not_corrected() -> None:
    assert event_time(NOW - 10**9, NOW - 10**8, NOW, explicit=True) == NOW - 10**9


def test_without_a_time_of_sending_there_is_no_correction() -> None:
    assert event_time(NOW - 10**9, 0, NOW) == NOW - 10**9


def test_without_any_time_it_is_the_receipt() -> None:
    assert event_time(0, NOW - 10**9, NOW) == NOW


@given(times, times, times, st.booleans())
def test_it_is_never_after_the_receipt_and_always_valid(device: int, sent: int, received: int, explicit: bool) -> None:
    assert 0 <= event_time(device, sent, received, explicit) <= received


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (None, 0),
        ("", 0),
        (1795312800123, 1795312800123),
        (1795312800123.9, 1795312800123),
        ("2026-11-22T05:38:57.991Z", 1795325937991),
        ("2026-11-22T13:38:57.991+08:00", 1795325937991),
        ("2026-11-22T05:38:57.991", 1795325937991),
        ("2026-11-22T05:30:14.947028+00:00", 1795325414947),
        ("2026-11-22T05:38:57.991123456Z", 1795325937991),
    ],
)
def test_reads_what_sdks_write(value: object, ms: int) -> None:
    assert read_time(value, "$.time") == ms


@pytest.mark.parametrize(
    "value", [-1, 1795312800123000, 10**30, -(10**30), 1e300, float("nan"), "soon", "1795312800", True, [], {}]
)
def test_what_is_no_time_is_told_with_its_path(value: object) -> None:
    with pytest.raises(RefusedError, match=r"`\$\.time`") as caught:
        read_time(value, "$.time")
    assert caught.value.reason is Reason.BAD_TIME
    assert read_sent(value) == 0


@given(st.one_of(st.text(), st.integers(), st.floats(), st.datetimes().map(str)))
def test_any_value_is_a_valid_time_or_refused(value: object) -> None:
    try:
        ms = read_time(value, "$.time")
    except RefusedError as error:
        ms, reason = 0, error.reason
    else:
        reason = Reason.BAD_TIME
    assert 0 <= ms < MAX_TIME_MS
    assert reason is Reason.BAD_TIME
