"""How far a partition may read on before it makes sure that the others have come as far. Pure.

A login in one partition corrects numbers in another one, through the merges topic, as long as their windows are open in both
(streams.clock). Live, all partitions are at the same time. A worker that catches up over days, or past days that are sent in
minutes, would tear them apart: windows would be closed in one partition before a login of another one is heard.

So each partition reads on up to the next of certain instants (STEP_MS apart, the same for all), and waits there until the others
have read what came into Kafka before its last frame, and until their news and its own are taken in. Whoever is furthest behind
never waits, so somebody always goes on.
"""

from __future__ import annotations

import msgspec

from ingest.contract.event import read_frame
from ingest.contract.zones import HOUR_MS

#: Others hear of a login before their receipts are further than this and NEAR_MS behind it, its own partition hears the answer
#: before the next of these instants, and what is passed on from there goes the same way: less than the slack of a day
#: (streams.horizon), with some hours left for receipts that are out of order.
STEP_MS = 8 * HOUR_MS
#: Receipts so near to each other are as good as the same. Live, the others may be so far behind.
NEAR_MS = 3 * HOUR_MS


class _Receipt(msgspec.Struct):
    received: int


_decoder = msgspec.json.Decoder(_Receipt)


def newest_receipt(frame: bytes, appended: int) -> int:
    """The newest receipt (ms) in a frame, never after it came into Kafka at `appended`; bad lines are left out."""
    return min(appended, max((event.received for event in read_frame(frame, _decoder)[0]), default=0))


class Pace:
    """A partition's own: up to which receipt it may read without looking at the others."""

    __slots__ = ("_appended", "_newest", "_until")

    def __init__(self) -> None:
        self._until = 0
        #: Of the last frame that was read: when it came into Kafka, and its newest receipt.
        self._appended = self._newest = 0

    def may_read(self, frame: bytes, appended: int) -> bool:
        """Whether a frame that came into Kafka at `appended` (ms) may be read now (it is, then); else after `reached`."""
        if appended <= self._until:
            return True  # the way of live traffic: nothing is received after it came into Kafka
        newest = newest_receipt(frame, appended)
        if newest > self._until:
            return False
        self._appended, self._newest = appended, newest
        return True

    def others_must_reach(self, frame: bytes, appended: int) -> int:
        """What came into Kafka before this instant (ms), the others must have read before a frame may be."""
        newest = newest_receipt(frame, appended)
        if appended - newest <= NEAR_MS:
            return appended - NEAR_MS
        return self._appended if 0 <= newest - self._newest <= NEAR_MS else appended

    def reached(self, frame: bytes, appended: int) -> None:
        """The others have read as much: the frame may be read, and what follows on it up to the next instant."""
        self._until = max(self._until, (newest_receipt(frame, appended) // STEP_MS + 1) * STEP_MS)
