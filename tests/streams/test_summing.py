"""Partitions summed up in processes of their own come to what they come to in this one."""

from __future__ import annotations

import asyncio

import pytest

from ingest.contract.settings import read_settings
from streams.partition import Partition, Summary
from streams.rules import Rules
from streams.worker import summing
from tests.streams.test_stored_records import PLAN, STORED, read_stored

SETTINGS = read_settings(PLAN, {})


def stored() -> dict[bytes, bytes]:
    return read_stored(max(STORED.glob("*.bin")))


def opened(base: dict[bytes, bytes], summary: Summary | None = None) -> Partition:
    return Partition(Rules(SETTINGS), "events", 0, 1, base, 10, summary)


def summed(bases: dict[int, dict[bytes, bytes]], few: int = 1) -> dict[int, Summary]:
    return asyncio.run(summing.summaries(SETTINGS, bases, 1, few))


def test_sums_of_other_processes_are_those_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    bases = {number: stored() for number in (0, 3, 5)}
    found = summed(bases)
    assert found.keys() == bases.keys()
    for number, base in bases.items():
        here, there = opened(base), opened(base, found[number])
        assert there.totals.values() == here.totals.values()
        assert there.totals.state().minutes == here.totals.state().minutes
        assert there.summary().names == here.summary().names
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
