"""What the worker tells Prometheus: alerts on users rest on its counters, so they never fall while the process lives."""

from __future__ import annotations

from streams.partition import Partition, Taken
from streams.rules import Rules
from streams.worker.stats import Stats
from tests.streams.plain import PlainEvent
from tests.streams.test_partition_properties import PARTITIONS, PERSONS, frame_of, plan_of

NOW = 1_795_000_000_000
DAY = 86_400_000
WHO = PERSONS[0]


class Rig:
    """A worker's partitions, and what a scrape says of them."""

    def __init__(self) -> None:
        self.owned: dict[int, Partition] = {}
        self.stats = Stats()
        self.stats.watch(lambda: self.owned)

    def gain(self) -> Partition:
        self.owned[0] = Partition(Rules(plan_of("UTC", "UTC")), "t", 0, PARTITIONS, {}, cached=10)
        return self.owned[0]

    def scrape(self, metric: str, **labels: str) -> float | None:
        return self.stats.registry.get_sample_value(metric, labels)


def joined(partition: Partition, events: int, late_ms: int = 0) -> None:
    many = [PlainEvent(WHO, "one", "view", NOW - late_ms + number, NOW + number) for number in range(events)]
    partition.apply_frame(frame_of(many), 0, NOW + events)
    partition.apply_frame(b"{no JSON", 1, NOW)


def test_counters_do_not_fall_when_a_partition_goes_and_comes_back() -> None:
    rig = Rig()
    joined(rig.gain(), 5, late_ms=100 * DAY)
    assert rig.scrape("footfall_worker_events_total", app="one") == 5
    joined(rig.owned[0], 2)  # after the scrape, before the rebalance
    del rig.owned[0]
    assert rig.scrape("footfall_worker_events_total", app="one") == 7
    assert rig.scrape("footfall_worker_rejected_total", reason="bad_line") == 2
    assert rig.scrape("footfall_worker_late_total", horizon="days") == 5
    assert rig.scrape("footfall_worker_persons", partition="0") is None
    joined(rig.gain(), 1)
    assert rig.scrape("footfall_worker_events_total", app="one") == 8
    assert rig.scrape("footfall_worker_frames_total") == 6


def test_a_partition_that_was_exchanged_between_two_scrapes_is_another_one() -> None:
    rig = Rig()
    joined(rig.gain(), 5)
    assert rig.scrape("footfall_worker_events_total", app="one") == 5
    joined(rig.gain(), 3)
    assert rig.scrape("footfall_worker_events_total", app="one") == 8
    assert rig.scrape("footfall_worker_events_total", app="one") == 8


def test_records_wait_until_a_checkpoint_takes_them_and_what_changes_nothing_makes_none() -> None:
    rig = Rig()
    partition = rig.gain()
    joined(partition, 5, late_ms=100 * DAY)
    assert rig.scrape("footfall_worker_unwritten_records") == 0
    joined(partition, 5)
    assert rig.scrape("footfall_worker_unwritten_records") == 1
    partition.commit(partition.take(NOW))
    joined(partition, 5)
    assert rig.scrape("footfall_worker_unwritten_records") == 0


def test_the_newest_total_is_as_old_as_its_computation_and_a_checkpoint_without_one_is_none() -> None:
    rig = Rig()
    rig.stats.checkpoint(0, Taken([(b"k", b"v")], [(b"k", b"v")], [], []), 2.0, 1000.0)
    rig.stats.checkpoint(0, Taken([(b"k", b"v")], [], [], []), 2.0, 2000.0)
    assert rig.scrape("footfall_worker_last_total_timestamp_seconds") == 998
    assert rig.scrape("footfall_worker_last_checkpoint_timestamp_seconds", partition="0") == 2000
