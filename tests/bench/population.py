"""Records of very many persons, without simulating all of them: some are simulated over two months, and the others are like them.

Each of the others has a simulated person's record with some of its older days and hours exchanged and its times moved, so that
hardly two have the same bits, while each keeps as many days, facets, spans and funnel events as a person has.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from ingest.contract.settings import Settings
from ingest.contract.zones import DAY_MS
from streams.codec import CLOCK_KEY, STATE_KEY, decode_record
from streams.partition import NOT_PERSONS, Partition
from streams.record import Part, Record, Seen
from streams.rules import Rules
from tests.bench.traffic import frames, past_days

DAYS = 64
#: Days and hours newer than these stay where they are: spans and funnel events tell of them, too.
_RECENT_DAYS, _RECENT_HOURS = 8, 1
_MERGED_KEY = b"a:"
_VISIT_LATER_MS, _VISIT_MS = 3_600_000, 90_000


class Simulated(NamedTuple):
    """Records after two months of the demo's traffic, and what a partition knows beside them.

    merged  ids that were merged into a person's, for each person
    """

    records: list[Record]
    merged: float
    state: bytes
    clock: bytes


def simulate(plan: Settings, persons: int) -> Simulated:
    """Runs the plan's simulated persons through one partition, logins and all."""
    store: dict[bytes, bytes] = {}
    partition = Partition(Rules(plan), "events", 0, 1, store, cached=1_000_000)
    now = time.time_ns() // 1_000_000

    def settle() -> None:
        merges = True
        while merges:
            taken = partition.take(now)
            partition.commit(taken)
            merges = bool(taken.merges)
            for _, line in taken.merges:
                partition.apply_merges(line, 0, now)

    for number, (_, frame) in enumerate(frames(past_days(plan, persons, DAYS), 1, 200)):
        partition.apply_frame(frame, 0, now)
        if number % 200 == 0:
            settle()
    settle()
    found = [decode_record(value) for key, value in store.items() if key not in NOT_PERSONS]
    records = [record for record in found if not record.target]
    return Simulated(records, (len(found) - len(records)) / len(records), store[STATE_KEY], store[CLOCK_KEY])


def like(simulated: Simulated, persons: int, seed: int = 1) -> Iterator[tuple[bytes, Record]]:
    """(key, record) of so many persons, and of the ids that were merged into theirs."""
    rng = random.Random(f"like/{seed}")
    merged = 0.0
    for number in range(persons):
        key = f"u:c{1_000_000 + number}"
        yield key.encode(), _varied(simulated.records[number % len(simulated.records)], rng)
        merged += simulated.merged
        while merged >= 1:
            merged -= 1
            yield b"%s%s" % (_MERGED_KEY, f"d{rng.getrandbits(48):012x}".encode()), Record(target=key)


def one_more_visit(record: Record) -> Record:
    """The same person after another visit in each of the scopes."""
    for part in record.parts.values():
        times = part.spans.setdefault(part.day, [])
        begins = (times[-1] if times else part.day * DAY_MS) + _VISIT_LATER_MS
        times += [begins, begins + _VISIT_MS]
        part.launches.setdefault(part.day, []).append(begins)
        part.seen[0].minute += 1
    return record


def _varied(record: Record, rng: random.Random) -> Record:
    newest = max(part.day for part in record.parts.values())
    swaps = [(step, rng.getrandbits(DAYS) & _every_other(step)) for step in (1, 2, 4, 8)]
    hour_swap = rng.choice((1, 2, 3, 5))
    hour_mask = rng.getrandbits(72) & _every_other(hour_swap)
    later = rng.randrange(60_000)
    parts: dict[int, Part] = {}
    for scope, part in record.parts.items():
        back = newest - part.day
        ours = [(step, mask >> back & ~((1 << _RECENT_DAYS) - 1)) for step, mask in swaps]
        seen = [
            Seen(
                one.facets,
                _exchanged(one.days, ours, DAYS),
                _exchanged(one.hours, [(hour_swap, hour_mask & ~((1 << _RECENT_HOURS) - 1))], 72),
                one.minute,
            )
            for one in part.seen
        ]
        oldest = part.day - seen[0].days.bit_length() + 1
        varied = parts[scope] = Part(part.day, part.hour, min(part.first, oldest), seen)
        varied.spans = {day: [edge + later for edge in edges] for day, edges in part.spans.items()}
        varied.launches = {day: [at + later for at in times] for day, times in part.launches.items()}
    funnels = {
        funnel: [(at + later, rng.getrandbits(32), bits, value) for at, _, bits, value in events]
        for funnel, events in record.funnels.items()
    }
    return Record(parts, funnels)


@cache
def _every_other(step: int) -> int:
    """Positions of which the one that lies `step` above is not among them."""
    return sum(1 << position for position in range(80) if position // step % 2 == 0)


def _exchanged(bits: int, swaps: list[tuple[int, int]], width: int) -> int:
    """Bits exchanged with those that lie `step` above, where the mask says."""
    for step, mask in swaps:
        mask &= (1 << width - step) - 1
        changed = (bits ^ bits >> step) & mask
        bits ^= changed | changed << step
    return bits
