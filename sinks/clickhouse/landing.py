"""Getting rows in although some are refused: halving, so that the bad row is found and all others land. No I/O of its own."""

from __future__ import annotations

from typing import Protocol

from sinks.clickhouse.errors import Remedy
from sinks.clickhouse.rows import Insert, Row


class Target(Protocol):
    """Where rows go."""

    def insert(self, rows: list[Row], offset: int) -> Remedy | None:
        """Inserts rows stamped with offset: None when they are in, TOO_LARGE or BAD_ROW; all else it waits out, or raises."""

    def refuse(self, row: Row) -> None:
        """Puts a row aside that ClickHouse will not take; returns once it is safe there."""


def land(insert: Insert, target: Target) -> int:
    """Gets all rows of an insert in, except those that are refused one by one. Returns how many were refused.

    A part that goes in before the rest is stamped with the offset before the batch. So if the process ends in between, the
    batch comes again as a whole, and what is already there has the same identity.
    """
    outcome = target.insert(insert.rows, insert.last)
    if outcome is None:
        return 0
    if len(insert.rows) == 1:
        target.refuse(insert.rows[0])
        return 1
    middle = len(insert.rows) // 2
    return land(Insert(insert.rows[:middle], insert.before, insert.before), target) + land(
        Insert(insert.rows[middle:], insert.before, insert.last), target
    )
