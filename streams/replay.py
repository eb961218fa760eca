"""Totals made anew from raw events: all partitions of a layout in one place, telling each other in memory what workers tell
each other through the merges topic. Pure: the shell brings events, and writes what a round gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from ingest.contract.partition import partition_of
from streams.contract.merge import MergeMessage, decode_merge, encode_merge
from streams.partition import Partition, Taken
from streams.rules import Rules

#: No receipt is as late (ms).
NEVER = 1 << 62


class _Line(msgspec.Struct):
    person: str


class Step(NamedTuple):
    """What one partition has to write; `Replay.wrote` goes on from it once it is written."""

    number: int
    taken: Taken
    merges: list[tuple[int, bytes]]


class Replay:
    """The partitions of a new layout.

    merges     person -> target, as granted by whoever serves: granted here before any event, so that a device that two persons
               share stays with the same one. Grants that are not among them gather in `news`, to be sent at the end
    undecided  ms: of claims that are made from then on, it may not be known here yet to whom they are granted. So they are not
               decided here: they gather in `news`, too, and the merges topic says to all layouts which one came first
    """

    def __init__(
        self, rules: Rules, topic: str, partitions: int, merges: Mapping[str, str], cached: int, undecided: int = NEVER
    ) -> None:
        self.events = 0
        self.news: list[tuple[int, bytes]] = []
        self._known = merges
        self._undecided = undecided
        self._stores: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self.partitions = [
            Partition(rules, topic, number, partitions, self._stores[number], cached) for number in range(partitions)
        ]
        self._decoder = msgspec.json.Decoder(_Line)
        for person, target in merges.items():
            self._partition_of(person).apply_merges(encode_merge(MergeMessage(kind="claim", person=person, target=target)), 0, 0)

    def _partition_of(self, person: str) -> Partition:
        return self.partitions[partition_of(person, len(self.partitions))]

    @property
    def persons(self) -> int:
        """On record, as of what was written."""
        return sum(partition.persons for partition in self.partitions)

    @property
    def refused(self) -> int:
        """Lines that do not count under this plan (an app that is not in it); they were told of when they came."""
        return sum(sum(partition.counters.rejected.values()) for partition in self.partitions)

    def feed(self, lines: bytes, now: int) -> None:
        """Joins event lines. now: ms; a receipt that is well ahead of it would close windows that are open, and is refused."""
        frames: dict[int, list[bytes]] = {}
        for line in lines.split(b"\n"):
            if line:
                number = partition_of(self._decoder.decode(line).person, len(self.partitions))
                frames.setdefault(number, []).append(line)
        for number, found in frames.items():
            self.events += len(found)
            self.partitions[number].apply_frame(b"\n".join(found), 0, now)

    def round(self, now: int) -> Iterator[Step]:
        """What the partitions have to write at `now` (ms). A step is to be written and given to `wrote` before the next is taken.

        Rounds are to be made until one has no step any more: what a partition writes may be news for another.
        """
        for partition in self.partitions:
            taken = partition.take(now)
            step = Step(partition.number, taken._replace(merges=[], rejected=[]), taken.merges)
            if any(step.taken) or step.merges:
                yield step

    def wrote(self, step: Step) -> None:
        """A step is written (what there was to write of it)."""
        self.partitions[step.number].commit(step.taken)
        for number, line in step.merges:
            message = decode_merge(line)
            if message.kind == "merged":
                if self._known.get(message.person) != message.target:
                    self.news.append((number, line))
            elif message.kind == "claim" and message.clock >= self._undecided and message.person not in self._known:
                self.news.append((number, line))
            else:
                self.partitions[number].apply_merges(line, 0, 0)
