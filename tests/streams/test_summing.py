"""Partitions summed up in processes of their own come to what they come to in this one."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading

import pytest

from ingest.contract.settings import read_settings
from streams.bulk import sort_out
from streams.partition import Partition, Summary
from streams.rules import Rules
from streams.worker.summing import Summing
from tests.streams.test_stored_records import PLAN, STORED, read_stored

SETTINGS = read_settings(PLAN, {})


def stored() -> dict[bytes, bytes]:
    return read_stored(max(STORED.glob("*.bin")))


def opened(base: dict[bytes, bytes], summary: Summary | None = None) -> Partition:
    return Partition(Rules(SETTINGS), "events", 0, 1, base, 10, summary)


def summed(bases: dict[int, dict[bytes, bytes]], few: int = 1) -> dict[int, Summary]:
    return asyncio.run(Summing(SETTINGS, 1, few).totals(bases))


def test_sums_of_other_processes_are_those_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    bases = {number: stored() for number in (0, 3, 5)}
    found = summed(bases)
    assert found.keys() == bases.keys()
    for number, base in bases.items():
        here, there = opened(base), opened(base, found[number])
        assert there.totals.values() == here.totals.values()
        assert there.totals.state().minutes == here.totals.state().minutes
        assert there.summary(sort_out(())).names == here.summary(sort_out(())).names
        now = here.clock + 60_000
        assert there.take(now) == here.take(now)


def test_what_cannot_be_summed_up_elsewhere_is_left_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    good, bad = stored(), stored() | {b"u:broken": b"\xc1"}
    assert summed({0: good, 1: bad}).keys() == {0}


def test_few_records_or_one_processor_are_summed_up_by_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert summed({0: stored(), 1: stored()}, few=1000) == {}
    assert summed({0: stored()}) == {}
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert summed({0: stored(), 1: stored()}) == {}


def test_partitions_are_summed_up_while_others_are_still_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    summing = Summing(SETTINGS, 1, few=1)
    bases = {number: stored() for number in range(5)}
    summing.begin(len(bases), 1000)
    for number in (0, 1, 2, 3):
        summing.add(number, bases[number])
    summing.forget(1)  # more of it is read
    bases[1].popitem()
    bases[2] = stored()  # it has gone, and come back
    bases[2].popitem()
    del bases[3]  # it has gone
    found = asyncio.run(summing.totals(bases))
    assert found.keys() == bases.keys()
    for number, base in bases.items():
        assert opened(base, found[number]).totals.values() == opened(base).totals.values()


def test_what_a_killed_process_had_is_left_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    summing = Summing(SETTINGS, 1, few=1)
    summing.begin(2, 1000)
    one, _ = multiprocessing.active_children()
    one.kill()
    one.join()
    bases = {number: stored() for number in range(4)}
    found = asyncio.run(summing.totals(bases))
    assert len(found) == 3, "the other process took all but the one that was lost"
    summing.begin(2, 1000)
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    assert asyncio.run(summing.totals(bases)) == {}
    assert not multiprocessing.active_children()


def test_processes_end_at_once_when_they_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    summing = Summing(SETTINGS, 1, few=1)
    summing.begin(2, 1000)
    threads = threading.active_count()
    summing.close()
    assert not multiprocessing.active_children()
    assert threading.active_count() == threads - 2
