"""When a partition writes a snapshot of its totals (streams.snapshot), of which records, and how one starts from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streams.codec import NOT_PERSON, STATE_KEY, decode_record, decode_state
from streams.contributions import Scopes, contribute
from streams.record import Record
from streams.rules import Rules
from streams.snapshot import Recovered, Start, digest, moved, snapshot_records, start_from
from streams.totals import Totals

Changes = Sequence[tuple[bytes, bytes | None]]


class SnapshotRule(NamedTuple):
    """When the next snapshot is due: so many records have changed, and so much time (ms) has passed."""

    records: int = 5_000
    passed_ms: int = 120_000


class Snapshotting:
    """Of one partition. base: its records as last committed; start: what its totals were made from, if from a snapshot."""

    def __init__(self, rules: Rules, rule: SnapshotRule, base: Mapping[bytes, bytes], start: Start | None) -> None:
        self._fingerprint = rules.fingerprint
        self._rule = rule
        self._base = base
        self._at = start.at if start is not None else 0
        #: Records that somebody who reads them now would have to sum up.
        self._unsummed = len(base) if start is None else len(start.before)
        self._digest = start.digest if start is not None else None

    @property
    def digest(self) -> int:
        """Of the records as last committed."""
        if self._digest is None:
            self._digest = digest(self._base)
        return self._digest

    def changed(self, records: int) -> None:
        """So many more records have changed."""
        self._unsummed += records

    def is_due(self, now: int) -> bool:
        """Whether to write one at `now` (ms)."""
        # one of the future is of a clock that has been set back since: not to be waited for
        return self._unsummed >= self._rule.records and not 0 <= now - self._at < self._rule.passed_ms

    def take(self, now: int, totals: Totals, records: Changes, names: int) -> list[tuple[bytes, bytes]]:
        """What all records come to, as records of the changelog; `records` are those that are written in front of it."""
        self._at, self._unsummed = now, 0
        return snapshot_records(totals.state(), now, self._fingerprint, self._digest_with(records), names)

    def commit(self, records: Changes) -> None:
        """These records are about to change in the base."""
        if self._digest is not None:
            self._digest = self._digest_with(records)

    def _digest_with(self, records: Changes) -> int:
        total = self.digest
        for key, value in records:
            if not key.startswith(NOT_PERSON):
                total = moved(total, key, self._base.get(key), value)
        return total


def start_of(rules: Rules, base: Mapping[bytes, bytes], recovered: Recovered) -> Start | None:
    """Where a snapshot lets a partition with these records start from, if it does."""
    names = len(decode_state(base[STATE_KEY]).names) if STATE_KEY in base else 0
    return start_from(recovered, base, rules.fingerprint, names)


def sum_since(totals: Totals, scopes: Scopes, base: Mapping[bytes, bytes], start: Start) -> Totals:
    """Fills empty totals with those of a snapshot and with what has changed since, the clocks being where they are now.

    Nothing counts as changed after it.
    """
    totals.restore(start.totals)
    for key, was in start.before.items():
        contribute(totals, scopes, _record(was), _record(base.get(key)))
    totals.forget_changes()
    totals.forget_closed(scopes.clocks)
    return totals


def _record(data: bytes | None) -> Record:
    return Record() if data is None else decode_record(data)
