"""Measures what a person costs in the changelog, by the plan's horizons: `python -m tests.bench.record_bytes`.

The demo's plan and its simulated persons, some two months of them; value bytes of an encoded record, on average.
"""

from __future__ import annotations

import time

import msgspec

from deploy.entry import DEMO_FILE
from ingest.contract.plan import Horizons
from ingest.contract.settings import read_settings
from streams.partition import NOT_PERSONS, Partition
from streams.rules import Rules
from tests.bench.traffic import frames, past_days

HORIZONS = ((7, 24), (31, 24), (31, 48), (31, 168), (31, 720))
PERSONS = 300
DAYS = 64


def main() -> None:
    """Prints late_days, late_hours, persons, bytes a person."""
    plan = read_settings(DEMO_FILE.read_text(), {})
    cut = list(frames(past_days(plan, PERSONS, DAYS), 1, 200))
    for late_days, late_hours in HORIZONS:
        changed = msgspec.structs.replace(plan, horizons=Horizons(late_days=late_days, late_hours=late_hours))
        store: dict[bytes, bytes] = {}
        partition = Partition(Rules(changed), "events", 0, 1, store, cached=100_000)
        now = time.time_ns() // 1_000_000
        for _, frame in cut:
            partition.apply_frame(frame, 0, now)
        partition.commit(partition.take(now))
        sizes = [len(value) for key, value in store.items() if key not in NOT_PERSONS]
        print(
            f"late_days {late_days:4} late_hours {late_hours:4} {len(sizes):6} persons {sum(sizes) / len(sizes):8.1f} bytes each"
        )


if __name__ == "__main__":
    main()
