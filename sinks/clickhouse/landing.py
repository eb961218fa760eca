"""Getting rows in although some are refused: the bad rows are found and all others land. No I/O of its own."""

from __future__ import annotations

from typing import Protocol

from sinks.clickhouse.errors import Remedy
from sinks.clickhouse.rows import Insert, Row


class Target(Protocol):
    """Where rows go."""

    def insert(self, rows: list[Row], offset: int) -> Remedy | None:
        """Inserts rows stamped with offset: None when they are in, TOO_LARGE or BAD_ROW; all else it waits out, or raises."""

    def insert_readable(self, rows: list[Row], offset: int) -> int | None:
        """Inserts those of the rows that can be read, and passes over the others: how many went in, None where nobody knows."""

    def doubt(self, row: Row) -> str:
        """Why a row may be refused, in words: it does not read as its writer writes them. "" if it does."""

    def refuse(self, rows: list[Row], why: list[str]) -> None:
        """Puts rows aside that ClickHouse will not take; returns once they are safe there.

        why: in words, of each; "" for what ClickHouse said last.
        """


def land(insert: Insert, target: Target) -> int:
    """Gets all rows of an insert in, except those that are refused. Returns how many were refused.

    A part that goes in before the rest is stamped with the offset before the batch. So if the process ends in between, the
    batch comes again as a whole, and what is already there has the same identity.
    """
    outcome = target.insert(insert.rows, insert.last)
    if outcome is None:
        return 0
    if len(insert.rows) == 1:
        target.refuse(insert.rows, [target.doubt(insert.rows[0])])
        return 1
    if outcome is Remedy.BAD_ROW:
        return _sift(insert, target)
    return _halve(insert, target)


def _sift(insert: Insert, target: Target) -> int:
    """Of rows with a bad one among them. Halving takes a dozen inserts for each bad row, and minutes for a batch of nothing else,
    so those that there is doubt about go first, and together.
    """
    doubts = {at: why for at, row in enumerate(insert.rows) if (why := target.doubt(row))}
    doubtful = [insert.rows[at] for at in doubts]
    if len(doubtful) < len(insert.rows):
        if not doubtful:
            return _halve(insert, target)
        others = [row for at, row in enumerate(insert.rows) if at not in doubts]
        refused = land(Insert(doubtful, insert.before, insert.before), target)
        return refused + land(Insert(others, insert.before, insert.last), target)
    if target.insert_readable(insert.rows, insert.before) == 0:
        target.refuse(insert.rows, list(doubts.values()))
        return len(insert.rows)
    return _halve(insert, target)


def _halve(insert: Insert, target: Target) -> int:
    middle = len(insert.rows) // 2
    return land(Insert(insert.rows[:middle], insert.before, insert.before), target) + land(
        Insert(insert.rows[middle:], insert.before, insert.last), target
    )
