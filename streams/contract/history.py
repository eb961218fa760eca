"""The raw events that totals can be made anew from, as a replay reads them; whoever keeps them provides it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

#: A receipt may be ahead of the broker's clock by so much; further ahead it would close windows that are open, and is refused.
MAX_AHEAD_MS = 600_000


class History(Protocol):
    """A stand of the raw events.

    events    how many there are
    offsets   events partition -> the Kafka offset up to which (it not included) all of its records are among them for sure
    merges    person -> whom that person became part of, as it was granted
    """

    events: int
    offsets: Mapping[int, int]
    merges: Mapping[str, str]

    def slices(self) -> Iterator[bytes]:
        """All events in order of receipt, as lines of frames (ingest.contract.event): some hours of receipts at a time."""
