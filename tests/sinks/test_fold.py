"""The exporter's fold: whatever way the log is read, the numbers are the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sinks.prometheus.fold import Fold, Slot
from streams.contract.total import Total

NOW = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000


def total(**more: Any) -> Total:
    fields: dict[str, Any] = {
        "metric": "active_users",
        "app": "harbor",
        "facet": "",
        "window": "day",
        "start": NOW,
        "day": "2026-11-21",
        "hour": -1,
        "layout": "1",
        "partition": 0,
        "value": 1,
        "at": NOW,
    }
    return Total(**(fields | more))


totals = st.builds(
    total,
    facet=st.sampled_from(["", "platform:ios"]),
    window=st.sampled_from(["5m", "day", "7d", "month"]),
    partition=st.integers(0, 2),
    value=st.integers(0, 50),
    day=st.sampled_from(["2026-11-01", "2026-11-20", "2026-11-21"]),
    layout=st.sampled_from(["1", "2"]),
)
#: A log: totals of three partitions in the order in which they were written; the place in its partition is the offset.
logs = st.lists(totals, max_size=30)


def read(log: list[Total], order: list[int], fold: Fold) -> None:
    offsets: dict[int, int] = {}
    numbered = []
    for one in log:
        offset = offsets[one.partition] = offsets.get(one.partition, -1) + 1
        numbered.append((one, offset))
    for index in order:
        one, offset = numbered[index]
        fold.apply(one, offset, NOW)


def expected(log: list[Total]) -> dict[Slot, int]:
    """The same, written down plainly."""
    last: dict[tuple[str, str, str, int], int] = {}
    for one in log:
        if one.layout == "1" and not (one.window in ("day", "7d") and one.day == "2026-11-01"):
            last[one.facet, one.window, "" if one.window == "5m" else one.day, one.partition] = one.value
    sums: dict[Slot, int] = {}
    for (facet, window, place, _partition), value in last.items():
        slot = Slot("active_users", "harbor", facet, window, place)
        sums[slot] = sums.get(slot, 0) + value
    return sums


@given(logs)
def test_the_fold_is_the_last_value_of_each_partition_added_up(log: list[Total]) -> None:
    fold = Fold("1")
    read(log, list(range(len(log))), fold)
    assert fold.state() == expected(log)


@given(logs, st.data())
def test_any_order_with_any_repetition_gives_the_same(log: list[Total], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.integers(0, len(log) - 1), max_size=30)) if log else []
    order = data.draw(st.permutations(list(range(len(log))) + again))
    fold = Fold("1")
    read(log, order, fold)
    assert fold.state() == expected(log)


def test_another_layout_is_not_added() -> None:
    fold = Fold("1")
    fold.apply(total(value=5), 1, NOW)
    fold.apply(total(value=7, layout="2", partition=1), 1, NOW)
    assert fold.state() == {Slot("active_users", "harbor", "", "day", "2026-11-21"): 5}


def test_windows_long_past_take_no_memory_neither_when_read_nor_later() -> None:
    fold = Fold("1")
    for days in range(400):
        start = NOW - days * 24 * HOUR_MS
        day = datetime.fromtimestamp(start / 1000, UTC).date().isoformat()
        for window in ("day", "7d", "30d"):
            fold.apply(total(window=window, start=start, day=day), days, NOW)
        for hour in range(24):
            fold.apply(total(window="hour", start=start - hour * HOUR_MS, day=day, hour=0), days, NOW)
    assert len(fold) < 70
    fold.apply(total(window="5m"), 1, NOW)
    fold.prune(NOW + 40 * 24 * HOUR_MS)
    assert list(fold.state()) == [Slot("active_users", "harbor", "", "5m", "")]


def test_the_current_month_is_kept_on_its_last_day_in_any_zone() -> None:
    fold = Fold("1")
    end = int(datetime(2027, 2, 1, 11, tzinfo=UTC).timestamp() * 1000)  # still 31 January on Pago Pago
    fold.apply(total(window="month", day="2027-01-01"), 0, end)
    fold.prune(end)
    assert len(fold) == 1
