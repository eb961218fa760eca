"""Shell: the person table's store: what the changelog holds, one map per partition, and up to which offset.

Faust's own memory store mixes partitions and keeps the keys of revoked ones; sums over it would count persons twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from faust.stores.base import Store
from faust.tables.table import Table

from streams.snapshot import ChangelogReader, Recovered
from streams.worker.ownership import Ownership

#: Faust logs each service under its class's module; ours belong with its own.
FAUST_LOG = logging.getLogger("faust")


class PartitionStore(Store):
    """Partition -> key -> value, with the last changelog offset that is in it."""

    logger = FAUST_LOG

    def __post_init__(self) -> None:
        self.partitions: dict[int, dict[bytes, bytes]] = {}
        self.offsets: dict[int, int] = {}
        self.data: dict[Any, Any] = {}  # Faust looks at it; always empty
        self._generation: int | None = None  # of the group, at the last assignment
        self._readers: dict[int, ChangelogReader] = {}

    @property
    def ownership(self) -> Ownership:
        """Who is told when partitions come and go; set on the app by streams.worker.app."""
        ownership: Ownership = self.app.ownership
        return ownership

    def partition(self, number: int) -> dict[bytes, bytes]:
        """The map of a partition, the same object as long as it is owned."""
        return self.partitions.setdefault(number, {})

    def apply(self, number: int, records: Iterable[tuple[bytes, bytes | None]], last: int) -> None:
        """Takes over records of the changelog up to offset `last`; a value of None removes the key."""
        reader = self._readers.get(number)
        if reader is None:
            reader = self._readers[number] = ChangelogReader(self.partition(number))
        reader.read(records)
        self.offsets[number] = max(last, self.offsets.get(number, -1))

    def recovered(self, number: int) -> Recovered | None:
        """The snapshot that was read among the records of a partition, if any, until it is at work."""
        reader = self._readers.get(number)
        return reader.found() if reader is not None else None

    def at_work(self, number: int) -> None:
        """The partition's map changes from here on without `apply`: what was read says no more what changed."""
        self._readers.pop(number, None)

    # --- what Faust calls

    def persisted_offset(self, tp: Any) -> int | None:
        return self.offsets.get(tp.partition)

    def set_persisted_offset(self, tp: Any, offset: int) -> None:
        self.offsets[tp.partition] = max(offset, self.offsets.get(tp.partition, -1))

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Callable[..., Any], to_value: Callable[..., Any]) -> None:
        for event in batch:
            message = event.message
            self.apply(message.partition, [(message.key, message.value)], message.offset)

    def reset_state(self) -> None:
        for number in [*self.partitions, *self.offsets]:
            self._drop(number)

    def _drop(self, number: int) -> None:
        self.partitions.pop(number, None)
        self.offsets.pop(number, None)
        self._readers.pop(number, None)

    async def on_rebalance(self, assigned: set[Any], revoked: set[Any], newly_assigned: set[Any], generation_id: int = 0) -> None:
        """Before recovery: forgets what is another's now, and fences whoever had what is ours now."""
        self.app.pacing.assigned()
        changelog = self.table.changelog_topic.topics
        lost = {tp.partition for tp in revoked if tp.topic in changelog}
        for number in lost:
            self._drop(number)
        gained = {tp.partition for tp in newly_assigned if tp.topic in changelog}
        if self._generation is not None and generation_id != self._generation + 1:
            # The group has shared partitions out without this worker. Those that Faust thinks it has kept were perhaps another's:
            # its records are to be read, behind the ones that are here, and it is to be fenced.
            back = {tp.partition for tp in assigned if tp.topic in changelog} - gained
            lost |= back
            gained |= back
        self._generation = generation_id
        await self.ownership.change(sorted(lost), sorted(gained))

    async def backup_partition(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("the changelog is the backup")

    def restore_backup(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("the changelog is the backup")


class PersonTable(Table):
    """A table that is only ever written by checkpoints."""

    logger = FAUST_LOG

    def _new_store(self) -> PartitionStore:
        return PartitionStore(
            "memory://",
            self.app,
            self,
            table_name=self.name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            loop=self.loop,
        )
