"""Snapshots of a partition's totals in the changelog: whoever reads it again need not sum all records up. Pure.

A snapshot is the end of a transaction, so it is of the records as the changelog has them up to there. A reader takes the newest,
remembers what the records behind it were before, and counts the difference. The log's compaction may have taken away what a
record was: a digest of all records says whether the reader knows what the snapshot is of. If not, and if a definition has
changed, the records are summed up.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from zlib import crc32

import msgspec

from streams.codec import NOT_PERSON
from streams.contract.total import Window
from streams.totals import Key, TotalsState

#: The changelog keys of a snapshot's pieces begin so.
SNAPSHOT_KEY = NOT_PERSON + b"snapshot"
#: Changes with every change of what totals hold or of how records contribute.
VERSION = 2
#: Pieces are no larger: they must fit the producer's batches.
PIECE_BYTES = 256 * 1024
#: Where more than one in so many records have changed since a snapshot, all are summed up as quickly.
MOST_CHANGED = 4
_FEW_CHANGED = 5_000
_COMPRESSION = 1
_DIGEST_MASK = (1 << 64) - 1


class Snapshot(msgspec.Struct, array_like=True):
    """Totals, and what they are of.

    at           wall clock (ms, UTC)
    definitions  what the records' meaning depends on, as text
    digest       of all records (`digest`)
    names        how many names there were
    values       of each metric and window: scope, facet, start, value, ... (streams.totals.Key)
    minutes      scope, facet, minute, persons, ...
    """

    version: int
    at: int
    definitions: str
    digest: int
    names: int
    values: list[tuple[str, Window, list[int]]]
    minutes: list[int]


class _Piece(msgspec.Struct, array_like=True):
    """One of `count` pieces of the snapshot of `at`."""

    at: int
    index: int
    count: int
    data: bytes


class Recovered(NamedTuple):
    """What a reader of a changelog has found: a snapshot, as bytes, and of each record that changed behind it what it was before
    (None: there was none)."""

    snapshot: bytes
    before: Mapping[bytes, bytes | None]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode
_decode_piece = msgspec.msgpack.Decoder(_Piece).decode


def digest(records: Mapping[bytes, bytes]) -> int:
    """A sum over the records of persons: the same for the same ones in any order, and easily kept up to date (`moved`)."""
    return sum([_digest_of(key, value) for key, value in records.items() if not key.startswith(NOT_PERSON)]) & _DIGEST_MASK


def _digest_of(key: bytes, value: bytes | None) -> int:
    if value is None:
        return 0
    first = crc32(value, crc32(key))
    return first << 32 | crc32(key, first ^ len(value))


def moved(total: int, key: bytes, was: bytes | None, now: bytes | None) -> int:
    """The digest after a person's record has changed."""
    return (total - _digest_of(key, was) + _digest_of(key, now)) & _DIGEST_MASK


def snapshot_records(state: TotalsState, at: int, definitions: str, digest: int, names: int) -> list[tuple[bytes, bytes]]:
    """The changelog records of a snapshot, in order."""
    values: dict[tuple[str, Window], list[int]] = {}
    for key, value in state.values.items():
        if value:
            values.setdefault((key.metric, key.window), []).extend((key.scope, key.facet, key.start, value))
    minutes: list[int] = []
    for (scope, facet), persons in state.minutes.items():
        for minute, count in persons.items():
            if count:
                minutes += (scope, facet, minute, count)
    rows = [(metric, window, row) for (metric, window), row in values.items()]
    data = zlib.compress(_encode(Snapshot(VERSION, at, definitions, digest, names, rows, minutes)), _COMPRESSION)
    parts = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
    return [(b"%b/%d" % (SNAPSHOT_KEY, index), _encode(_Piece(at, index, len(parts), part))) for index, part in enumerate(parts)]


class ChangelogReader:
    """Takes a partition's changelog, in order, into a map of its records, and finds the newest whole snapshot in it."""

    def __init__(self, records: dict[bytes, bytes]) -> None:
        self._records = records
        self._snapshot = b""
        self._pieces: list[_Piece] = []
        #: What records were at the snapshot, of those that have changed since; None: there is no snapshot, or too much has.
        self._before: dict[bytes, bytes | None] | None = None

    def read(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Takes the next records; a value of None removes the key."""
        records, before = self._records, self._before
        for key, value in changes:
            if key.startswith(SNAPSHOT_KEY):
                self._piece(value)
                before = self._before
                continue
            if before is not None and key not in before:
                before[key] = records.get(key)
            if value is None:
                records.pop(key, None)
            else:
                records[key] = value
        if before is not None and len(before) > max(_FEW_CHANGED, len(records) // MOST_CHANGED):
            self._before = None

    def _piece(self, value: bytes | None) -> None:
        """One that cannot be read is as good as none."""
        try:
            piece = _decode_piece(value or b"")
        except msgspec.DecodeError:
            self._pieces = []
            return
        if piece.index == 0:
            self._pieces = []
        if piece.index != len(self._pieces) or (self._pieces and self._pieces[0].at != piece.at):
            self._pieces = []
            return
        self._pieces.append(piece)
        if len(self._pieces) == piece.count:
            self._snapshot = b"".join([one.data for one in self._pieces])
            self._pieces = []
            self._before = {}

    def found(self) -> Recovered | None:
        """The newest snapshot with what changed since, if there was one."""
        return None if self._before is None else Recovered(self._snapshot, self._before)


class Start(NamedTuple):
    """Totals as of a snapshot, when it was taken (ms), and of the records that have changed since what they were (None: nothing).

    digest  of all records as they are now
    """

    totals: TotalsState
    at: int
    before: Mapping[bytes, bytes | None]
    digest: int


def start_from(recovered: Recovered, records: Mapping[bytes, bytes], definitions: str, names: int) -> Start | None:
    """Where to start from with these records, as they are now; None where the snapshot is not of what the reader knows, or too
    much has changed since. names: how many there are."""
    before = {key: was for key, was in recovered.before.items() if not key.startswith(NOT_PERSON)}
    try:
        snapshot = _decode(zlib.decompress(recovered.snapshot))
    except (msgspec.DecodeError, zlib.error):
        return None
    if snapshot.version != VERSION or snapshot.definitions != definitions or snapshot.names > names:
        return None
    now = then = digest(records)
    for key, was in before.items():
        then = moved(then, key, records.get(key), was)
    return Start(_totals(snapshot), snapshot.at, before, now) if then == snapshot.digest else None


def _totals(snapshot: Snapshot) -> TotalsState:
    values = {
        Key(metric, scope, facet, window, start): value
        for metric, window, row in snapshot.values
        for scope, facet, start, value in _rows(row)
    }
    minutes: dict[tuple[int, int], dict[int, int]] = {}
    for scope, facet, minute, persons in _rows(snapshot.minutes):
        minutes.setdefault((scope, facet), {})[minute] = persons
    return TotalsState(values, minutes)


def _rows(row: list[int]) -> Iterable[tuple[int, int, int, int]]:
    return zip(row[::4], row[1::4], row[2::4], row[3::4], strict=True)
