"""A worker that takes long over a frame, and over seeking after a rebalance: `python -m tests.streams.slow_worker`."""

from __future__ import annotations

import asyncio
from typing import Any

from deploy.cli import main
from streams.worker.consumer import InOrderConsumer
from streams.worker.pacing import Pacing

_FRAME_S = 0.01
_SEEK_S = 1.5

_seek, _frame = InOrderConsumer.perform_seek, Pacing.frame


async def perform_seek(self: InOrderConsumer) -> None:
    """What was fetched for paused partitions is thrown away before it; leaves time in which frames are fetched after it."""
    await self._getmany(active_partitions=set(), timeout=1.0)
    await _seek(self)
    await asyncio.sleep(_SEEK_S)


async def frame(self: Pacing, event: Any) -> None:
    """Leaves time in which others wait in the queue."""
    await asyncio.sleep(_FRAME_S)
    await _frame(self, event)


if __name__ == "__main__":
    InOrderConsumer.perform_seek = perform_seek  # type: ignore[method-assign, unused-ignore]
    Pacing.frame = frame  # type: ignore[method-assign, unused-ignore]
    main()
