"""Shell: Faust's consumer, with offsets committed as far as has been acknowledged.

Faust keeps a list of acknowledged offsets and looks for the first that is missing. Offsets that hold no record (markers of
transactions, in the merges topic) it takes into account one group a commit, so that under load it never catches up, and after a
single first record not at all. Here one agent acknowledges the records of a partition in their order: the last one says it all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.transport.drivers.aiokafka import Consumer

from streams.worker.store import FAUST_LOG


class InOrderConsumer(Consumer):
    """Commits the offset after the last acknowledged one."""

    logger = FAUST_LOG

    @property
    def clients(self) -> list[Any]:
        """The client of aiokafka that it reads with, once it has begun."""
        client = self._thread._consumer
        return [] if client is None else [client]

    def _new_offset(self, tp: Any) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        last: int = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return last + 1

    async def wait_empty(self) -> None:
        """Before a rebalance and at the end: frames that wait for other partitions are let go, nobody would acknowledge them."""
        self.app.pacing.let_go()
        self._buffered_partitions.clear()  # of these, Faust would pass frames on even while they are paused
        await super().wait_empty()

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Goes back to what was committed, and to the start where nothing was.

        There aiokafka leaves the position where it is: behind what was fetched, and thrown away, during the rebalance.
        """
        committed: Mapping[Any, int] = await super().seek_to_committed()
        fresh = [tp for tp, offset in committed.items() if not offset and self.app.topics.acks_enabled_for(tp.topic)]
        if fresh:
            await self._thread.seek_to_beginning(*fresh)
        return committed

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Not needed."""
