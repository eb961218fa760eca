"""The spool's folder on a real file system: kept over restarts, one owner, damage set aside, and errors of the disk told."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.collector.spool_files import SpoolFiles
from ingest.collector.spool_format import EVENTS, HEADER_BYTES, REJECTED, Drained
from ingest.contract.errors import ConfigError, UnavailableError

FRAMES = [(EVENTS, 1, b"one"), (REJECTED, 0, b"two"), (EVENTS, 3, b"three" * 50_000)]


def payloads(files: SpoolFiles) -> list[bytes]:
    """All that is in the spool; it is empty afterwards."""
    found = []
    while (file := files.oldest()) is not None:
        segment, _ = files.read(file)
        found += [one.payload for one in segment.entries]
        files.delete(file)
    return found


def test_frames_are_there_after_a_restart_with_their_number_and_age(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path / "a" / "spool", 4, 0)
    files.append(FRAMES[:1])
    files.append(FRAMES[1:])
    created, size = files.segments[0].created, files.size
    os.close(files._lock)  # as a kill does
    again = SpoolFiles(tmp_path / "a" / "spool", 4, 0)
    assert (again.entries, again.size, again.segments[0].created) == (3, size, created)
    again.append([(EVENTS, 0, b"four")])
    assert payloads(again) == [b"one", b"two", b"three" * 50_000, b"four"]
    assert (again.entries, again.size) == (0, 0)
    again.close()
    assert sorted(path.name for path in (tmp_path / "a" / "spool").iterdir()) == ["spool.lock"]


def test_segments_are_cut_and_drained_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.collector.spool_files.SEGMENT_BYTES", 500)
    files = SpoolFiles(tmp_path, 4, 0)
    for number in range(40):
        files.append([(EVENTS, 0, b"%03d" % number * 20)])
    assert len(files.segments) > 5
    assert payloads(files) == [b"%03d" % number * 20 for number in range(40)]
    files.close()


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path, 4, 0)
    program = f"""
from pathlib import Path
from ingest.collector.spool_files import SpoolFiles
SpoolFiles(Path({str(tmp_path)!r}), 4, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"belongs to another collector (process {os.getpid()})" in done.stderr
    files.close()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"collector\.spool_dir"):
        SpoolFiles(tmp_path / "file" / "spool", 4, 0)


def test_a_torn_tail_and_a_broken_middle_are_set_aside_and_the_rest_is_used(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path, 4, 0)
    for number in range(5):
        files.append([(EVENTS, 0, b"payload %d" % number)])
    path = files.segments[0].path
    os.close(files._lock)
    data = bytearray(path.read_bytes())
    at = data.index(b"payload 2")
    data[at] ^= 4
    path.write_bytes(data[:-3])
    files = SpoolFiles(tmp_path, 4, 0)
    file = files.oldest()
    assert file is not None
    segment, damaged = files.read(file)
    assert [one.payload for one in segment.entries] == [b"payload 0", b"payload 1", b"payload 3"]
    assert damaged == ["middle", "tail"]
    kept = sorted((tmp_path / "damaged").iterdir())
    assert [one.suffix for one in kept] == [".middle", ".tail"]
    assert bytes(data[at : at + 9]) in kept[0].read_bytes()
    assert kept[1].read_bytes() == data[-28:-3]
    files.close()


def test_a_segment_of_nothing_but_damage_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "000000000007.spool").write_bytes(b"\0" * 5000)
    files = SpoolFiles(tmp_path, 4, 0)
    file = files.oldest()
    assert file is not None
    assert files.read(file)[1] == ["tail"]
    files.delete(file)
    files.append(FRAMES[:1])
    assert files.segments[0].path.name == "000000000008.spool"
    files.close()


@pytest.mark.parametrize("call", ["fdatasync", "writev"])
def test_after_an_error_of_the_disk_the_file_is_never_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    files = SpoolFiles(tmp_path, 4, 0)
    files.append(FRAMES[:1])
    size = files.size

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="Input"):
            files.append(FRAMES[1:])
    assert (files.size, files.entries) == (size, 1)
    files.append(FRAMES[1:2])
    assert len(files.segments) == 2
    assert payloads(files) == [b"one", b"two"]
    assert not (tmp_path / "damaged").exists()
    files.close()


def test_a_partial_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SpoolFiles(tmp_path, 4, 0)
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: writev(fd, [bytes(buffers[0])[:7]]))
    files.append(FRAMES[:2])
    monkeypatch.undo()
    assert payloads(files) == [b"one", b"two"]
    files.close()


def test_the_disk_is_left_what_it_is_to_keep(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    files = SpoolFiles(tmp_path, 4, disk.f_blocks * disk.f_frsize)
    with pytest.raises(UnavailableError, match="spool_keep_free_bytes"):
        files.append(FRAMES)
    assert files.size == 0
    files.close()


def test_many_frames_go_in_at_once(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path, 4, 0)
    files.append([(EVENTS, 0, b"%d" % number) for number in range(3000)])
    assert files.entries == 3000
    assert payloads(files) == [b"%d" % number for number in range(3000)]
    files.append([])
    assert files.size == HEADER_BYTES
    files.close()
    assert files.size == 0


class Calls:
    """What is asked of the file system, in order, by name and path below `root`."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self._root = root
        for name in ("mkdir", "open", "fsync", "fdatasync", "replace", "unlink"):
            patch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(what: Any, *args: Any, **more: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else str(what)
            done = call(what, *args, **more)
            if name != "open" or args[0] & os.O_CREAT:
                self.made.append(f"{name} {os.path.relpath(path, self._root)}")
            return done

        return watched

    def take(self) -> list[str]:
        made, self.made = self.made, []
        return made


def test_whatever_is_said_to_be_safe_is_so_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is on disk once its folder has been fsynced: of each folder, each segment, and all that is set aside."""
    calls = Calls(tmp_path, monkeypatch)
    files = SpoolFiles(tmp_path / "a" / "b" / "spool", 4, 0)
    assert calls.take() == [
        *("mkdir a", "fsync ."),
        *("mkdir a/b", "fsync a"),
        *("mkdir a/b/spool", "fsync a/b"),
        "open a/b/spool/spool.lock",
    ]
    files.append(FRAMES[:1])
    files.append(FRAMES[1:2])
    first = "a/b/spool/000000000001.spool"
    written = [f"open {first}", f"fsync {first}", "fsync a/b/spool", f"fdatasync {first}"]
    assert calls.take() == [*written, f"fdatasync {first}"]
    files.seal()
    for number, folder in enumerate((["mkdir a/b/spool/damaged", "fsync a/b/spool"], ["fsync a/b/spool"])):
        kept = files.keep_records(files.segments[0], f"{number}", 4, [Drained(*FRAMES[0])])
        name = os.path.relpath(kept, tmp_path)
        assert calls.take() == [*folder, f"open {name}", f"fsync {name}", "fsync a/b/spool/damaged"]
    files.delete(files.segments[0])
    assert calls.take() == [f"unlink {first}"]
    files.append(FRAMES[:1])
    calls.take()
    files.put_aside(files.segments[0])
    moved = ["replace a/b/spool/000000000002.spool", "fsync a/b/spool/damaged", "fsync a/b/spool"]
    assert calls.take() == ["fsync a/b/spool", *moved]
    files.close()
    again = SpoolFiles(tmp_path / "a" / "b" / "spool", 4, 0)
    calls.take()
    assert again.take_back(1_000_000) == 3
    back = [one for one in calls.take() if not one.startswith("replace ")]
    assert back == ["fsync a/b/spool", "fsync a/b/spool/damaged"] * 3
    again.close()


def test_what_is_set_aside_is_taken_back_behind_the_others_with_its_age(tmp_path: Path) -> None:
    files = SpoolFiles(tmp_path, 4, 0)
    files.append(FRAMES[:1])
    files.seal()
    file = files.segments[0]
    files.keep_records(file, "unfit", 3, [Drained(EVENTS, 2, b"large"), Drained(REJECTED, 0, b"too")])
    files.delete(file)
    files.append(FRAMES[1:2])
    files.close()
    (tmp_path / "damaged" / "000000000009-1-whole.spool").mkdir()  # cannot be read
    again = SpoolFiles(tmp_path, 4, 0)
    assert (again.take_back(1), again.entries) == (1, 3)
    last = again.segments[-1]
    segment, _ = again.read(last)
    assert (segment.partitions, segment.created, last.created) == (3, file.created, file.created)
    assert [(one.topic, one.partition, one.payload) for one in segment.entries] == [(EVENTS, 2, b"large"), (REJECTED, 0, b"too")]
    assert payloads(again) == [b"two", b"large", b"too"]
    assert [path.name for path in (tmp_path / "damaged").iterdir()] == ["000000000009-1-whole.spool"]
    again.close()
