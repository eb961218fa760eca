"""Partitions that come and go while others are being written and summed up. The writer only waits: no broker is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import cast

from ingest.contract.settings import WorkerSettings
from streams.partition import Partition, Summary, Taken
from streams.rules import Rules
from streams.worker.ownership import Ownership
from streams.worker.stats import Stats
from streams.worker.writer import CheckpointWriter
from tests.streams.test_partition_properties import PARTITIONS, plan_of


class _Writer:
    """Says when a write has begun, and ends it when it is told to."""

    def __init__(self) -> None:
        self.writing, self.go_on = asyncio.Event(), asyncio.Event()

    async def own(self, partition: int) -> None:
        pass

    async def disown(self, partition: int) -> None:
        pass

    async def write(self, partition: int, taken: Taken) -> None:
        self.writing.set()
        await self.go_on.wait()


def test_a_partition_that_goes_while_it_is_summed_up_is_not_made_though_another_that_goes_is_still_being_written() -> None:
    rules = Rules(plan_of("UTC", "UTC"))
    made: list[int] = []

    def make(number: int, summary: Summary | None) -> Partition:
        made.append(number)
        return Partition(rules, "t", number, PARTITIONS, {}, cached=2, summary=summary)

    async def run() -> None:
        writer, summing = _Writer(), asyncio.Event()
        summing.set()

        async def sum_up(numbers: Collection[int]) -> dict[int, Summary]:
            await summing.wait()
            return {}

        ownership = Ownership(WorkerSettings(), cast("CheckpointWriter", writer), Stats(), sum_up, make, lambda _, last: None)
        await ownership.change([], [0])
        await ownership.recovered()
        summing.clear()
        await ownership.change([], [1])
        recovered = asyncio.create_task(ownership.recovered())
        written = asyncio.create_task(ownership.checkpoint_all())
        await writer.writing.wait()
        changed = asyncio.create_task(ownership.change([0, 1], []))  # the store has dropped their records
        await asyncio.sleep(0)
        summing.set()
        await recovered
        writer.go_on.set()
        await asyncio.gather(changed, written)
        assert ownership.partitions == {}

    asyncio.run(run())
    assert made == [0]
