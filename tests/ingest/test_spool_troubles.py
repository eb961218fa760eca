"""The spool when something is wrong with the process, the disk or a file: nothing that was acknowledged is out of it for good."""

from __future__ import annotations

import asyncio
import errno
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from ingest.collector.spool import Spool
from ingest.collector.spool_files import SegmentFile, SpoolFiles
from ingest.collector.spool_format import EVENTS, Drained
from ingest.collector.stats import Stats
from ingest.contract.settings import Settings
from tests.ingest.conftest import settings_on

#: A process that may open no file any more drains, and may again; it says what it saw.
WITHOUT_FILES = """
import asyncio, json, os, resource, socket, sys
import msgspec
from ingest.collector.spool import Spool
from ingest.collector.stats import Stats
from ingest.contract.settings import Settings

async def main():
    settings = msgspec.json.decode(sys.stdin.read(), type=Settings)
    folder = settings.data_dir + "/spool"
    woken = asyncio.Event()
    spool = Spool(settings, Stats(), lambda *_: None, woken.set)
    spool.open()
    await spool._in_thread(lambda: None)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(socket.socket())
    except OSError as error:
        seen = [error.errno]
    for _ in range(8):  # more often than a file that is broken is tried
        for segment in spool.files.segments:
            segment.due = 0.0
        seen.append(await spool.oldest())
    for one in taken:
        one.close()
    seen += [spool.entries, sorted(os.listdir(folder))]
    for segment in spool.files.segments:
        segment.due = 0.0
    found = await spool.oldest()
    seen.append([one.payload.decode() for one in found[1].entries])
    await asyncio.wait_for(woken.wait(), 60)
    await spool.close(1.0)
    print(json.dumps(seen))

asyncio.run(main())
"""


def spooled(settings: Settings, *payloads: bytes) -> Path:
    """A spool with a segment for each payload; its folder."""
    folder = Path(settings.data_dir) / "spool"
    files = SpoolFiles(folder, settings.kafka.partitions, 0)
    for payload in payloads:
        files.append([(EVENTS, 0, payload)])
        files.seal()
    files.close()
    return folder


def with_spool(settings: Settings, work: Callable[[Spool, Stats], Awaitable[None]]) -> None:
    """Runs it with the spool opened, as a start does."""

    async def run() -> None:
        stats = Stats()
        spool = Spool(settings, stats, lambda *_: None, lambda: None)
        spool.open()
        try:
            await work(spool, stats)
        finally:
            await spool.close(5.0)

    asyncio.run(run())


async def drain(spool: Spool) -> list[bytes]:
    """All that can be drained now; it is gone from the spool afterwards."""
    found = []
    while (one := await spool.oldest()) is not None:
        file, segment = one
        found += [entry.payload for entry in segment.entries]
        await spool.drained(file)
    return found


def damaged(stats: Stats, kind: str) -> float:
    return stats.registry.get_sample_value("footfall_collector_spool_damaged_total", {"kind": kind}) or 0.0


def test_a_process_without_a_free_file_leaves_the_segment_where_it_is() -> None:
    settings = settings_on("127.0.0.1:1", "files")
    folder = spooled(settings, b"one")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FILES],
        input=msgspec.json.encode(settings).decode(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = ["000000000001.spool", "spool.lock"]
    assert json.loads(done.stdout) == [errno.EMFILE, *[None] * 8, 1, names, ["one"]]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_file_that_the_disk_does_not_give_is_set_aside_at_last_and_tried_again_at_the_next_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_on("127.0.0.1:1", "eio")
    folder = spooled(settings, b"one", b"two")
    read = SpoolFiles.read

    def fail(files: SpoolFiles, file: SegmentFile) -> object:
        if file.path.name == "000000000001.spool":
            raise OSError(errno.EIO, "Input/output error")
        return read(files, file)

    async def broken(spool: Spool, stats: Stats) -> None:
        assert await drain(spool) == [b"two"], "what is behind it does not wait"
        for tries in range(2, 6):
            assert (spool.entries, damaged(stats, "whole")) == (1, 0)
            assert spool.files.segments[0].due > time.monotonic()
            spool.files.segments[0].due = 0.0
            assert await drain(spool) == [], tries
        assert (spool.entries, damaged(stats, "whole")) == (0, 1)

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFiles, "read", fail)
        with_spool(settings, broken)
    (kept,) = (folder / "damaged").iterdir()
    assert kept.name.endswith("-whole.spool")

    async def mended(spool: Spool, stats: Stats) -> None:
        assert spool.entries == 1
        assert await drain(spool) == [b"one"]

    with_spool(settings, mended)
    assert list((folder / "damaged").iterdir()) == []


def test_damage_that_cannot_be_set_aside_now_holds_up_nothing_behind_it() -> None:
    settings = settings_on("127.0.0.1:1", "full")
    folder = spooled(settings, b"first", b"second", b"third")
    (folder / "000000000001.spool").write_bytes((folder / "000000000001.spool").read_bytes() + b"torn")
    (folder / "damaged").touch()  # as little can be written there as on a full disk

    async def run(spool: Spool, stats: Stats) -> None:
        assert await drain(spool) == [b"second", b"third"]
        assert (spool.entries, damaged(stats, "tail")) == (1, 0)
        (folder / "damaged").unlink()
        spool.files.segments[0].due = 0.0
        assert await drain(spool) == [b"first"]
        assert (spool.entries, damaged(stats, "tail")) == (0, 1)

    with_spool(settings, run)
    assert [path.read_bytes() for path in (folder / "damaged").iterdir()] == [b"torn"]


def test_a_start_takes_back_no_more_than_a_part_of_the_spool_and_others_the_next_time() -> None:
    settings = settings_on("127.0.0.1:1", "back")
    collector = msgspec.structs.replace(settings.collector, spool_bytes=40_000)
    settings = msgspec.structs.replace(settings, collector=collector)
    payloads = [b"%d" % number * 4000 for number in range(5)]
    folder = spooled(settings, *payloads)
    files = SpoolFiles(folder, 4, 0)
    for file in list(files.segments):
        files.put_aside(file)
    files.close()
    seen: list[bytes] = []

    async def still_bad(spool: Spool, _: Stats) -> None:
        while (found := await spool.oldest()) is not None:
            file, segment = found
            seen.extend(one.payload for one in segment.entries)
            await spool.keep_records(file, "unfit", 4, [Drained(EVENTS, 0, segment.entries[0].payload)], "are too large")
            await spool.drained(file)
        assert len(seen) % 2 == 0

    for _ in range(3):
        with_spool(settings, still_bad)
    assert seen == [*payloads, payloads[0]]
    assert len(list((folder / "damaged").iterdir())) == 5
