"""Shell: the journal of a run: what was sent, and what of it was acknowledged.

A gzip file of JSON lines. Each batch is written before it is sent, and its acknowledgement after; each line is a gzip member of
its own, so that the file of a run that was killed can be read up to its last whole line. A batch without acknowledgement may
or may not have arrived.
"""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from deploy.simulator.traffic import SimEvent
from ingest.contract.errors import ConfigError
from ingest.contract.event import Merge


class Sent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One event as it was sent; times in ms. `received` is 0 where the collector decides on it."""

    id: str
    app: str
    person: str
    event: str
    type: str = "track"
    time: int
    received: int = 0
    platform: str = ""
    version: str = ""
    channel: str = ""
    duration: int = 0
    props: dict[str, Any] = {}
    merge: Merge | None = None


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line: a batch with its events and when it was first sent, or (without events) when it was acknowledged."""

    batch: int
    at: int
    events: list[Sent] = []


class Batch(msgspec.Struct, kw_only=True):
    """A batch as read back: acked is 0 for one that may or may not have arrived."""

    sent: int
    acked: int
    events: list[Sent]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


def sent(event: SimEvent, received: int) -> Sent:
    """The journal's form of an event."""
    return Sent(
        id=event.id,
        app=event.app,
        person=event.person,
        event=event.event,
        type=event.type,
        time=event.time,
        received=received,
        platform=event.platform,
        version=event.version,
        channel=event.channel,
        duration=event.duration,
        props=event.props,
        merge=event.merge,
    )


class Journal:
    """Writes a journal; with path None it only numbers batches. May be used by several threads."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._batches = 0
        self._file = None
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("wb")
            except OSError as error:
                raise ConfigError(f"the journal {path} cannot be written: {error.strerror}; choose another path") from error

    def send(self, events: list[Sent], at: int) -> int:
        """Notes a batch that is about to be sent; returns its number."""
        with self._lock:
            self._batches += 1
            number = self._batches
        self._write(Entry(batch=number, at=at, events=events))
        return number

    def acked(self, batch: int, at: int) -> None:
        """Notes that all of a batch is safe."""
        self._write(Entry(batch=batch, at=at))

    def close(self) -> None:
        """Ends the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, entry: Entry) -> None:
        if self._file is None:
            return
        member = gzip.compress(_encoder.encode(entry) + b"\n", compresslevel=1)
        with self._lock:
            self._file.write(member)
            self._file.flush()


def read_journals(paths: Iterable[Path]) -> Iterator[Batch]:
    """All batches of one or more journals. Raises ConfigError for a file that is none."""
    for path in paths:
        open_batches: dict[int, Batch] = {}
        for entry in _entries(path):
            if entry.events:
                open_batches[entry.batch] = Batch(sent=entry.at, acked=0, events=entry.events)
            elif (batch := open_batches.pop(entry.batch, None)) is not None:
                batch.acked = entry.at
                yield batch
        yield from open_batches.values()


def _entries(path: Path) -> Iterator[Entry]:
    try:
        with path.open("rb") as file:
            if not b"\x1f\x8b".startswith(file.read(2)):
                raise ConfigError(f"{path} is no journal of `footfall simulate --sent`")
        with gzip.open(path, "rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield _decoder.decode(line)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return  # the run was killed while it wrote the last line
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path} is no journal of `footfall simulate --sent`: {error}") from error
