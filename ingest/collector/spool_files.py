"""Shell: the spool's folder: segments written, fsynced, read and deleted. One owner, and one thread of it, at a time."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ingest.collector.spool_format import (
    ENTRY_BYTES,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    Damage,
    DamageKind,
    Drained,
    Segment,
    count_entries,
    decode_header,
    encode_entry,
    encode_header,
    encode_segment,
    read_segment,
)
from ingest.contract.errors import ConfigError, UnavailableError

log = logging.getLogger(__name__)

#: A segment that has grown beyond this is followed by another.
SEGMENT_BYTES = 8 * 1024 * 1024
_SUFFIX = ".spool"
_LOCK = "spool.lock"
_DAMAGED = "damaged"
#: Where the last entry of a segment is looked for first.
_END_BYTES = 64 * 1024
#: Buffers that one writev takes (IOV_MAX is 1024).
_MOST_BUFFERS = 512


class SegmentFile:
    """A segment: its path, bytes and entries that are safe in it, and when it was begun (ms).

    delays   how often it was put off; not before `due` (monotonic) is it tried again
    faults   how often it could not be read for something of its own
    """

    __slots__ = ("created", "delays", "due", "entries", "faults", "path", "size", "whole")

    def __init__(self, path: Path, size: int, entries: int, created: int, whole: bool) -> None:
        self.path = path
        self.size = size
        self.entries = entries
        self.created = created
        #: Written by this process: nothing beyond `size` was ever told to be safe.
        self.whole = whole
        self.delays = self.faults = 0
        self.due = 0.0


class SpoolFiles:
    """The segments of a folder, oldest first. `size` (bytes) and `entries` are those of all of them."""

    def __init__(self, folder: Path, partitions: int, keep_free_bytes: int) -> None:
        """Takes the folder. Raises ConfigError when it cannot be used, or another process has it."""
        self._folder = folder
        self._partitions = partitions
        self._keep_free = keep_free_bytes
        self._fd = -1
        self._next = 1
        self.segments: list[SegmentFile] = []
        try:
            _make(folder)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the spool's folder {folder} cannot be used ({error.strerror}): set collector.spool_dir to one that can be "
                "written, or collector.spool_bytes = 0 to go without"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise ConfigError(
                f"the spool's folder {folder} belongs to another collector (process {holder or 'unknown'}): stop that first, or "
                "give each its own collector.spool_dir"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        try:
            self._find()
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(
                f"the spool's folder {folder} cannot be read ({error.strerror}): what is in it was acknowledged and waits for "
                "Kafka, so make it readable; or set another collector.spool_dir"
            ) from error

    def _find(self) -> None:
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path.stem.isdecimal():
                self.segments.append(_look(path))
                self._next = int(path.stem) + 1
        for path in (self._folder / _DAMAGED).glob(f"*{_SUFFIX}"):
            number = path.name.partition("-")[0]
            self._next = max(self._next, int(number) + 1 if number.isdecimal() else 0)

    def take_back(self, most: int) -> int:
        """Puts segments that were set aside behind the others, about `most` bytes of them, and returns how many.

        What they were set aside for may be mended by now. Where it is not they are set aside again, under a later number, so that
        next time it is the turn of others.
        """
        taken = 0
        for path in sorted((self._folder / _DAMAGED).glob(f"*{_SUFFIX}")):
            where = self._folder / f"{self._next:012d}{_SUFFIX}"
            try:
                file = _look(path)
                if taken and file.size > most:
                    break
                _move(path, where)
            except OSError as error:
                log.error("%s still cannot be used, and stays where it is: %s", path, error.strerror or error)
                continue
            log.warning("%s is tried again, as %s", path, where.name)
            most -= file.size
            file.path = where
            self._next += 1
            self.segments.append(file)
            taken += 1
        return taken

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(one.size for one in self.segments)

    @property
    def entries(self) -> int:
        """Entries of all segments."""
        return sum(one.entries for one in self.segments)

    def append(self, frames: Sequence[tuple[int, int, bytes]]) -> float:
        """Writes (topic, partition, payload) of frames behind each other and returns when all are on disk: the seconds of fsync.

        Raises UnavailableError when the disk has no room, and OSError: then none of them is safe.
        """
        self.check_room(sum(len(payload) + ENTRY_BYTES for _, _, payload in frames))
        if self._fd < 0:
            self._begin()
        segment = self.segments[-1]
        buffers: list[bytes] = []
        number = segment.entries
        for topic, partition, payload in frames:
            buffers += (encode_entry(number, topic, partition, payload), payload)
            number += 1
        try:
            for first in range(0, len(buffers), _MOST_BUFFERS):
                _write(self._fd, buffers[first : first + _MOST_BUFFERS])
            started = time.monotonic()
            os.fdatasync(self._fd)
            took = time.monotonic() - started
        except OSError:
            # what the kernel says of these pages from now on is worth nothing: never this file again
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, segment.size)
            self.seal()
            if not segment.entries:
                with contextlib.suppress(OSError):
                    segment.path.unlink()
                self.segments.remove(segment)
            raise
        segment.size += sum(map(len, buffers))
        segment.entries = number
        if segment.size >= SEGMENT_BYTES:
            self.seal()
        return took

    def check_room(self, size: int) -> None:
        """Raises UnavailableError when so many bytes more would leave the disk too little."""
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize - size < self._keep_free:
            raise UnavailableError(
                f"the disk of the spool has {disk.f_bavail * disk.f_frsize:,} bytes left (collector.spool_keep_free_bytes)"
            )

    def probe(self, size: int) -> None:
        """Raises as `append` would, by beginning a segment."""
        self.check_room(size)
        if self._fd < 0:
            self._begin()

    def _begin(self) -> None:
        path = self._folder / f"{self._next:012d}{_SUFFIX}"
        created = time.time_ns() // 1_000_000
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._next += 1
        try:
            _write(fd, [encode_header(self._partitions, created)])
            os.fsync(fd)
            _sync(self._folder)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self._fd = fd
        self.segments.append(SegmentFile(path, HEADER_BYTES, 0, created, whole=True))

    def seal(self) -> None:
        """Nothing more goes into the newest segment."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)

    def oldest(self) -> SegmentFile | None:
        """The oldest segment with something in it that is not put off, sealed if it was the open one; None when there is none."""
        now = time.monotonic()
        first = next((one for one in self.segments if (one.entries or not one.whole) and one.due <= now), None)
        if first is not None and first is self.segments[-1]:
            self.seal()
        return first

    def read(self, file: SegmentFile) -> tuple[Segment, list[DamageKind]]:
        """What is in a segment, and what had to be set aside of it. Raises OSError when it cannot be read; as `keep`."""
        data = file.path.read_bytes()
        if file.whole:
            data = data[: file.size]
        segment = read_segment(data)
        for damage in segment.damages:
            self._set_aside(file, damage, data)
        if file.whole and len(segment.entries) < file.entries and not segment.damages:
            log.error("the spool's %s lost its end: %d entries", file.path.name, file.entries - len(segment.entries))
            return segment, ["tail"]
        return segment, [damage.kind for damage in segment.damages]

    def _set_aside(self, file: SegmentFile, damage: Damage, data: bytes) -> None:
        piece = data[damage.start : damage.end]
        where = self.keep(file, f"{damage.start:08d}.{damage.kind}", piece)
        if damage.kind == "tail":
            log.warning("the spool's %s ends in %d bytes that are no frame, kept in %s", file.path.name, len(piece), where)
        else:
            log.error(
                "the spool's %s is damaged: %d bytes, %d frames lost there, kept in %s",
                file.path.name,
                len(piece),
                damage.missing,
                where,
            )

    def keep(self, file: SegmentFile, name: str, *data: bytes) -> Path:
        """Puts bytes of a segment that cannot go to Kafka beside the spool, and returns where they are.

        Raises UnavailableError when that cannot be done at the moment.
        """
        folder = self._folder / _DAMAGED
        path = folder / f"{file.path.stem}-{file.created}-{name}"
        try:
            _make(folder)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                for first in range(0, len(data), _MOST_BUFFERS):
                    _write(fd, data[first : first + _MOST_BUFFERS])
                os.fsync(fd)
            finally:
                os.close(fd)
            _sync(folder)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be written ({error.strerror or error})") from error
        return path

    def keep_records(self, file: SegmentFile, name: str, partitions: int, records: Sequence[Drained]) -> Path:
        """Sets records aside as a segment of their own, which `take_back` finds; as `keep`."""
        return self.keep(file, f"{name}{_SUFFIX}", *encode_segment(partitions, file.created, records))

    def put_aside(self, file: SegmentFile) -> Path:
        """Takes a segment that cannot be used out of the spool, as a whole; returns where it is now."""
        self.segments.remove(file)
        where = self._folder / _DAMAGED / f"{file.path.stem}-{file.created}-whole{_SUFFIX}"
        try:
            _make(where.parent)
            _move(file.path, where)
        except OSError:
            return where if where.exists() else file.path
        return where

    def delete(self, file: SegmentFile) -> None:
        """Everything in a segment is in Kafka. Raises OSError."""
        file.path.unlink(missing_ok=True)
        self.segments.remove(file)

    def close(self) -> None:
        """Lets go of the folder; an empty segment goes away."""
        self.seal()
        for file in [one for one in self.segments if one.whole and not one.entries]:
            with contextlib.suppress(OSError):
                self.delete(file)
        os.close(self._lock)


def _look(path: Path) -> SegmentFile:
    """A segment that was there before. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        _, created = decode_header(file.read(HEADER_BYTES))
        entries = -1
        for span in (_END_BYTES, MAX_PAYLOAD_BYTES + _END_BYTES):
            file.seek(max(0, size - span))
            entries = count_entries(file.read())
            if entries >= 0:
                break
    created = created or int(path.stat().st_mtime * 1000)
    return SegmentFile(path, size, max(entries, 0), created, whole=False)


def _make(folder: Path, mode: int = 0o700) -> None:
    """A folder that is there after a power cut too, as are the ones above it that had to be made. Raises OSError."""
    if folder.is_dir():
        with contextlib.suppress(PermissionError):  # not ours to read: then it is not of this process's making
            _sync(folder.parent)
        return
    above = folder.parent
    if not above.is_dir():
        _make(above, 0o777)
    folder.mkdir(exist_ok=True, mode=mode)
    _sync(above)


def _sync(folder: Path) -> None:
    """What was made, renamed or deleted in a folder is on disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _move(path: Path, where: Path) -> None:
    """Renames into another folder, for good. Raises OSError."""
    path.replace(where)
    _sync(where.parent)
    _sync(path.parent)


def _write(fd: int, buffers: Sequence[bytes]) -> None:
    """All of the buffers, however often the kernel takes only a part."""
    left = [memoryview(one) for one in buffers if one]
    while left:
        done = os.writev(fd, left)
        while left and done >= len(left[0]):
            done -= len(left.pop(0))
        if left and done:
            left[0] = left[0][done:]
