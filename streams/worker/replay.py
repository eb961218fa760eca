"""Shell: makes a new layout's records and totals from the history of raw events, up to where a worker goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.contract.errors import LayoutError, UnavailableError
from ingest.contract.settings import Settings
from ingest.contract.topics import TopicNames, topic_names
from streams.contract.history import History
from streams.partition import Taken
from streams.replay import Replay
from streams.rules import Rules
from streams.worker.kafka_options import aiokafka_options
from streams.worker.writer import CheckpointWriter, by_reader

#: Claims so young may still be on their way through the workers that serve.
_UNDECIDED_MS = 3_600_000


class Replayed(NamedTuple):
    """What a replay has made."""

    events: int
    persons: int
    refused: int
    totals: int
    seconds: float


def replay(settings: Settings, history: History, progress: Callable[[int], None]) -> Replayed:
    """Fills the layout of `settings` (project.layout) by their plan; its topics must be there, and empty.

    A worker with the same settings then goes on where the history ends: events that it reads again are joined again, which
    changes nothing, and the merges topic it reads from its start, since claims may be heard twice but not missed.

    progress: called with the number of events done. All persons of all partitions are in this process's memory.
    Raises LayoutError when the layout is in use, UnavailableError and WriteError when Kafka fails (what is there of the layout
    then is of no use: take another name for the next try).
    """
    try:
        return asyncio.run(_replay(settings, history, progress))
    except KafkaError as error:
        raise UnavailableError(f"Kafka failed during the replay: {error!r}") from error


async def _replay(settings: Settings, history: History, progress: Callable[[int], None]) -> Replayed:
    began = time.monotonic()
    names = topic_names(settings)
    count = settings.kafka.partitions
    options = aiokafka_options(settings.kafka)
    group = AIOKafkaConsumer(**options, group_id=names.worker_app, enable_auto_commit=False)
    writer = CheckpointWriter(names, options)
    await group.start()
    try:
        await _refuse_if_used(group, names, settings)
        undecided = _now() - _UNDECIDED_MS
        made = Replay(Rules(settings), names.events, count, history.merges, settings.worker.cached_records, undecided)
        await asyncio.gather(*(writer.own(number) for number in range(count)))
        totals = 0
        for lines in history.slices():
            made.feed(lines, _now())
            totals += await _settle(made, writer)
            progress(made.events)
        totals += await _settle(made, writer)
        for number, told in by_reader(made.news).items():
            await writer.write(number, Taken([], [], [(number, line) for line in told], []))
        await _hand_on(group, names, history)
    finally:
        await writer.close()
        await group.stop()
    return Replayed(made.events, made.persons, made.refused, totals, time.monotonic() - began)


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _settle(made: Replay, writer: CheckpointWriter) -> int:
    """Writes until no partition has anything to say; returns the number of totals written."""
    totals, now, busy = 0, _now(), True
    while busy:
        busy = False
        for step in made.round(now):
            busy = True
            if any(step.taken):
                await writer.write(step.number, step.taken)
            totals += len(step.taken.totals)
            made.wrote(step)
    return totals


async def _refuse_if_used(group: AIOKafkaConsumer, names: TopicNames, settings: Settings) -> None:
    layout, count = settings.project.layout, settings.kafka.partitions
    events = [TopicPartition(names.events, number) for number in range(count)]
    changelog = [TopicPartition(names.changelog, number) for number in range(count)]
    group.assign(events + changelog)
    ends = await group.end_offsets(changelog)
    committed = [await group.committed(one) for one in events]
    if any(ends.values()) or any(offset is not None for offset in committed):
        raise LayoutError(
            f'layout "{layout}" has records already (a worker ran with it, or a replay was begun): '
            "name one that was never used with --layout"
        )


async def _hand_on(group: AIOKafkaConsumer, names: TopicNames, history: History) -> None:
    """Tells the consumer group of the layout's workers where to begin; partitions that nothing is known of: at the start."""
    offsets = {TopicPartition(names.events, number): offset for number, offset in history.offsets.items()}
    if offsets:
        await group.commit(offsets)
