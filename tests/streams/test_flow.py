"""What comes during a rebalance is passed over, and nothing behind it may be joined before it comes again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from ingest.contract.settings import Settings
from streams.worker.app import make_app
from streams.worker.others import Others
from streams.worker.pacing import Pacing


class _Message:
    partition = 0

    def __init__(self, offset: int) -> None:
        self.offset = offset


def test_to_resume_what_flows_takes_nothing_out_of_a_queue(demo_settings: Settings) -> None:
    async def run() -> None:
        kafka = msgspec.structs.replace(demo_settings.kafka, bootstrap_servers="127.0.0.1:1")
        app = make_app(msgspec.structs.replace(demo_settings, kafka=kafka))
        await app.door.start()
        await app.door.stop()  # it has its port from the beginning
        queue: Any = app.FlowControlQueue(maxsize=10, clear_on_resume=True)  # as an agent has it
        app.flow_control.resume()
        queue.put_nowait("frame")
        app.flow_control.resume()  # Faust does so once it has sought the committed offsets
        assert queue.qsize() == 1
        app.flow_control.suspend()
        app.flow_control.resume()
        assert queue.qsize() == 0, "what is left from before a rebalance comes again"

    asyncio.run(run())


def test_a_recovery_that_ends_during_the_next_rebalance_opens_nothing() -> None:
    async def run() -> None:
        joined: list[int] = []

        async def join(event: Any) -> None:
            joined.append(event.message.offset)

        async def safe() -> None:
            pass

        fetching = SimpleNamespace(unacked=set())
        others = SimpleNamespace(events_read=None, merges_read=None, merges_written=None)
        pacing = Pacing(cast("Others", others), join, join, safe, lambda: cast("Any", fetching), 1, lambda: True, dict)

        async def come(offset: int) -> None:
            message = _Message(offset)
            await pacing.merge(SimpleNamespace(message=message))

        await come(1)
        pacing.let_go()
        pacing.assigned()
        first = pacing.recovering
        await come(2)
        pacing.let_go()  # the next rebalance begins while the first one's partitions are summed up
        pacing.go_on(first)
        await come(3)
        pacing.assigned()
        pacing.go_on(first)
        await come(4)
        pacing.go_on(pacing.recovering)
        await come(5)
        assert joined == [1, 5]

    asyncio.run(run())
