"""Shell: the Faust app: an agent for frames and one for merges, one table, one checkpointing task.

An exception never leaves the agent: Faust would acknowledge the message and go on. A bad line is rejected inside
streams.partition; anything unforeseen ends the process, and the replay after it is harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import cached_property
from typing import Any

import faust
from faust.sensors.monitor import Monitor

from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from streams.partition import Partition, Summary
from streams.rules import Rules
from streams.snapshot import Start
from streams.snapshotting import SnapshotRule, start_of
from streams.worker.background import check_alive
from streams.worker.consumer import InOrderConsumer
from streams.worker.door import Door
from streams.worker.flow import FlowControl
from streams.worker.kafka_options import aiokafka_options, faust_credentials
from streams.worker.others import Others
from streams.worker.ownership import Ownership
from streams.worker.pacing import Pacing
from streams.worker.process import end
from streams.worker.recovery import install
from streams.worker.stats import Stats
from streams.worker.store import FAUST_LOG, PersonTable
from streams.worker.summing import summaries
from streams.worker.writer import CheckpointWriter

log = logging.getLogger(__name__)

#: Between checkpoints once the worker has been told to stop.
STOPPING_CHECKPOINT_S = 0.05


class _FatalSendErrors(Monitor):
    """Faust only logs a failed send, and commits past it."""

    logger = FAUST_LOG

    def on_send_error(self, producer: Any, exc: BaseException, state: Any) -> None:
        end(exc)


class WorkerApp(faust.App):
    """faust.App with what the store and recovery look up on it."""

    logger = FAUST_LOG

    ownership: Ownership
    pacing: Pacing
    kafka_options: dict[str, Any]
    door: Door
    stopping: asyncio.Event

    @cached_property
    def flow_control(self) -> FlowControl:
        """What holds frames up during a rebalance."""
        return FlowControl(loop=self.loop)

    async def on_start(self) -> None:
        await super().on_start()
        await self.door.start()

    async def on_stop(self) -> None:
        self.stopping.set()
        await super().on_stop()  # waits until all frames that it has begun with are acknowledged
        await self.pacing.close()
        await self.ownership.close()
        await self.door.stop()


def make_app(settings: Settings) -> WorkerApp:
    """The worker for these settings."""
    install()
    names = topic_names(settings)
    kafka = settings.kafka
    session_s = settings.worker.session_timeout_ms / 1000
    app = WorkerApp(
        names.worker_app,
        broker=[f"kafka://{server}" for server in kafka.servers()],
        broker_credentials=faust_credentials(kafka),
        store="memory://",
        Table=PersonTable,
        Monitor=_FatalSendErrors,
        topic_partitions=kafka.partitions,
        topic_replication_factor=kafka.replication_factor,
        topic_disable_leader=True,
        topic_allow_declare=False,  # topics are created and checked before a worker starts
        table_standby_replicas=0,
        processing_guarantee="at_least_once",
        agent_supervisor="mode.CrashingSupervisor",
        cython_optimizations=True,
        stream_buffer_maxsize=64,  # frames, not events
        consumer_max_fetch_size=4 << 20,
        consumer_auto_offset_reset="earliest",
        broker_commit_every=None,
        broker_commit_interval=1.0,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=min(3.0, session_s / 4),
        broker_request_timeout=90.0,
        web_enabled=False,
        web_tables_enabled=False,
    )
    app.transport.Consumer = InOrderConsumer
    rules = Rules(settings)
    app.kafka_options = aiokafka_options(kafka)
    app.stopping = asyncio.Event()
    table = app.Table("person", key_type=bytes, value_type=bytes, partitions=kafka.partitions)

    def topic(name: str) -> Any:
        raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
        return app.topic(name, partitions=kafka.partitions, **raw)

    snapshots = SnapshotRule(settings.worker.snapshot_records, settings.worker.snapshot_ms)
    starts: dict[int, Start] = {}  # of partitions about to be made, where a snapshot was found

    async def find_starts(numbers: Collection[int]) -> None:
        starts.clear()
        for number in numbers:
            recovered = table.data.recovered(number)
            start = start_of(rules, table.data.partition(number), recovered) if recovered is not None else None
            if start is not None:
                starts[number] = start
            await asyncio.sleep(0)  # heartbeats and health between partitions
        if starts:
            changed = sum(len(start.before) for start in starts.values())
            log.info("partitions %s go on from snapshots, %d records have changed since", sorted(starts), changed)

    async def sum_up(numbers: Collection[int]) -> dict[int, Summary]:
        store = table.data
        await find_starts(numbers)
        bases = {number: store.partition(number) for number in numbers if number not in starts}
        found = await summaries(settings, bases, kafka.partitions)
        # one that went and came back meanwhile has other records
        return {number: summary for number, summary in found.items() if store.partition(number) is bases[number]}

    def make_partition(number: int, summary: Summary | None) -> Partition:
        base = table.data.partition(number)
        gc.disable()  # nothing of what a sum takes apart is garbage in a ring
        try:
            cached, start = settings.worker.cached_records, starts.pop(number, None)
            table.data.at_work(number)
            return Partition(rules, names.events, number, kafka.partitions, base, cached, summary, start, snapshots)
        finally:
            gc.enable()

    def applied(number: int, last: int) -> None:
        table.data.apply(number, (), last)  # the records are in the map already: the partition shares it

    stats = Stats()
    writer = CheckpointWriter(names, app.kafka_options)
    ownership = app.ownership = Ownership(settings.worker, writer, stats, sum_up, make_partition, applied)
    stats.watch(lambda: ownership.partitions)
    app.door = Door(settings.worker.host, settings.worker.port, stats.registry, lambda: ownership.ready)

    async def apply(stream: Any, join: Callable[[Any], Awaitable[None]]) -> None:
        async for event in stream.noack().events():
            try:
                await join(event)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                end(error)

    def is_alone() -> bool:
        return len(ownership.partitions) == kafka.partitions

    async def safe() -> None:
        await ownership.checkpoint_all()
        if not is_alone():  # another worker may wait for this one
            await app.consumer.commit()

    others = Others(names, kafka.partitions, app.kafka_options)
    pacing = app.pacing = Pacing(
        others,
        ownership.frame,
        ownership.merge,
        safe,
        lambda: app.consumer,
        kafka.partitions,
        is_alone,
        lambda: writer.merges_written,
    )
    stats.watch_pace(lambda: pacing.held)

    @app.agent(topic(names.events), concurrency=1)
    async def frames(stream: Any) -> None:
        await apply(stream, pacing.frame)

    @app.agent(topic(names.merges), concurrency=1)
    async def merges(stream: Any) -> None:
        await apply(stream, pacing.merge)

    @app.task
    async def checkpoints() -> None:
        # a task of its own: during a rebalance the agent stands still, and Faust waits for the frames to be acknowledged;
        # it goes on until it is cancelled, because a frame can still be under way when the stop has begun
        try:
            while True:
                if app.stopping.is_set():
                    await asyncio.sleep(STOPPING_CHECKPOINT_S)
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(app.stopping.wait(), settings.worker.checkpoint_ms / 1000)
                await ownership.checkpoint_all()
                check_alive([*app.consumer.clients, *writer.clients, *others.clients])
                if pacing.is_brisk and not app.stopping.is_set():
                    await app.consumer.commit()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end(error)

    @table.on_recover
    async def recovered() -> None:
        round_ = pacing.recovering
        try:  # Faust swallows exceptions here
            await ownership.recovered()
            pacing.go_on(round_)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end(error)

    return app
