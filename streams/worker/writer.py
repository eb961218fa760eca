"""Shell: writes checkpoints. One transactional producer for each partition that this worker owns.

Taking the transactional id fences whoever had the partition before: its open transaction is aborted and its next write fails,
so a worker that lost a partition without noticing can never overwrite a newer record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, ProducerFenced

from ingest.contract.errors import FencedError, WriteError
from ingest.contract.topics import TopicNames
from streams.contract.merge import merge_frames
from streams.partition import Taken

log = logging.getLogger(__name__)

_BATCH_BYTES = 512 * 1024
_MAX_REQUEST_BYTES = 900_000
_STOP_SECONDS = 5
_RETRY_SECONDS = 1


def by_reader(merges: Iterable[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    """Messages' lines by the partition that they are for."""
    found: dict[int, list[bytes]] = {}
    for partition, line in merges:
        found.setdefault(partition, []).append(line)
    return found


def patient(lookup: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A client's way to ask for its coordinator, asked again when the broker goes away over the question.

    aiokafka asks again after most failures, but a connection that closes just then ends its sender, and the worker with it.
    """

    async def ask(*arguments: Any) -> Any:
        try:
            return await lookup(*arguments)
        except KafkaConnectionError as error:
            raise NodeNotReadyError(str(error)) from error

    return ask


class CheckpointWriter:
    """Writes what a partition's `take` gave, all or nothing."""

    def __init__(self, names: TopicNames, options: dict[str, Any]) -> None:
        self._names = names
        self._options = options
        self._producers: dict[int, AIOKafkaProducer] = {}
        #: Partition of the merges topic -> offset after the last message that was written there.
        self.merges_written: dict[int, int] = {}

    @property
    def clients(self) -> list[Any]:
        """The producers in use."""
        return list(self._producers.values())

    async def own(self, partition: int) -> None:
        """Takes the partition's transactional id; from here on, nobody else writes its records. Waits while Kafka is away."""
        await self.disown(partition)
        producer = None
        while producer is None:
            producer = await self._started(partition)
        self._producers[partition] = producer

    async def _started(self, partition: int) -> AIOKafkaProducer | None:
        """A producer that has the partition's transactional id; None, after a pause, when no broker takes a connection."""
        producer = AIOKafkaProducer(
            **self._options,
            transactional_id=f"{self._names.worker_app}-{partition}",
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=_MAX_REQUEST_BYTES,
            transaction_timeout_ms=60_000,
        )
        producer.client.coordinator_lookup = patient(producer.client.coordinator_lookup)
        try:
            await producer.start()
        except KafkaConnectionError as error:
            log.warning("partition %d: waits for Kafka to take it over: %s", partition, error)
            await producer.stop()
            await asyncio.sleep(_RETRY_SECONDS)
            return None
        return producer

    async def disown(self, partition: int) -> None:
        """Lets go of a partition that is no longer this worker's."""
        producer = self._producers.pop(partition, None)
        if producer is not None:
            with contextlib.suppress(KafkaError, TimeoutError):  # it may be fenced already: nothing is lost by that
                await asyncio.wait_for(producer.stop(), _STOP_SECONDS)

    async def close(self) -> None:
        """Lets go of all partitions."""
        for partition in list(self._producers):
            await self.disown(partition)

    async def write(self, partition: int, taken: Taken) -> int | None:
        """Writes a checkpoint in one transaction and returns the last changelog offset of it (None: no record in it).

        Raises FencedError when another worker has the partition now, WriteError for any other failure: nothing of the
        checkpoint is visible then, and the process must not go on.
        """
        producer = self._producers[partition]
        try:
            await producer.begin_transaction()
            last = await self._send_batches(producer, self._names.changelog, partition, [*taken.records, *taken.snapshot])
            await self._send_batches(producer, self._names.metrics, partition, taken.totals)
            told = [
                await producer.send(self._names.merges, frame, partition=reader)
                for reader, lines in by_reader(taken.merges).items()
                for frame in merge_frames(lines)
            ]
            for line in taken.rejected:
                await producer.send(self._names.rejected, line, partition=0)
            await producer.commit_transaction()
            for future in told:
                place = await future
                self.merges_written[place.partition] = max(place.offset + 1, self.merges_written.get(place.partition, 0))
        except ProducerFenced as error:
            raise FencedError(f"partition {partition} was taken over by another worker") from error
        except KafkaError as error:
            raise WriteError(f"the checkpoint of partition {partition} could not be written: {error!r}") from error
        return last

    async def _send_batches(
        self, producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[tuple[bytes, bytes | None]]
    ) -> int | None:
        """Sends records in batches built by hand (50 times cheaper than one by one); returns the last one's offset."""
        now = int(time.time() * 1000)
        batch = producer.create_batch()
        count = 0
        sent: list[tuple[asyncio.Future[Any], int]] = []

        async def flush() -> None:
            batch.close()
            sent.append((await producer.send_batch(batch, topic, partition=partition), count))

        for key, value in records:
            if batch.append(key=key, value=value, timestamp=now) is None:
                await flush()
                batch, count = producer.create_batch(), 0
                if batch.append(key=key, value=value, timestamp=now) is None:
                    raise WriteError(
                        f"a record of {len(value or b'')} bytes for {topic} is larger than a batch of {_BATCH_BYTES}"
                    )
            count += 1
        if count:
            await flush()
        last: int | None = None
        for future, records_in_batch in sent:
            metadata = await future
            last = metadata.offset + records_in_batch - 1
        return last
