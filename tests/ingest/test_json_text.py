"""JSON taken apart as text, also when it is none."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable

import psutil
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.inflate import inflate
from ingest.json_text import check_event, depth, elements, split_broken
from ingest.limits import MAX_DEPTH
from ingest.reasons import Reason, RefusedError
from tests.ingest.helpers import LIMITS

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def refused(work: Callable[[], object]) -> Reason | None:
    """Why it was refused; None when it was not. Any other error is one."""
    try:
        work()
    except RefusedError as error:
        return error.reason
    return None


@given(st.lists(values), st.sampled_from([None, 1]))
def test_an_array_is_cut_into_its_elements(items: list[object], indent: int | None) -> None:
    body = json.dumps(items, indent=indent).encode()
    assert [json.loads(part) for part in elements(body)] == items
    assert [json.loads(part) for _, part in split_broken(body)] == items


@given(st.dictionaries(st.text(), values))
def test_an_object_is_cut_into_its_members(members: dict[str, object]) -> None:
    found = {json.loads(key): json.loads(value) for key, value in split_broken(json.dumps(members).encode())}
    assert found == members


BROKEN = [b"NaN", b'{"a":}', b'{"a":"\xff"}', b"01", b'{"a":"\\ud800"}']
SLOW = {
    "brackets": b"[" * 3_000_000,
    "quotes": b'["' * 1_500_000,
    "escaped quotes": b"[" + b'\\"' * 1_500_000,
    "backslashes": b'["' + b"\\" * 3_000_000,
    "elements": b"[1" + b",1" * 1_500_000,
    "objects": b'{"a":' * 600_000,
}


@given(st.lists(values, min_size=1, max_size=5), st.integers(0, 4), st.sampled_from(BROKEN))
def test_a_broken_element_leaves_the_others_whole(items: list[object], at: int, broken: bytes) -> None:
    parts = [json.dumps(item).encode() for item in items]
    at = min(at, len(parts))
    parts.insert(at, broken)
    found = elements(b"[" + b",".join(parts) + b"]")
    assert found == parts


def test_what_was_cut_off_leaves_the_events_before_it() -> None:
    assert elements(b'[{"a":1},{"b":2},{"c":"x') == [b'{"a":1}', b'{"b":2}', b'{"c":"x']


@given(st.binary())
def test_any_bytes_are_cut_or_refused(body: bytes) -> None:
    list(split_broken(body))
    assert refused(lambda: elements(body)) in (None, Reason.BAD_BODY)


@pytest.mark.parametrize("body", SLOW.values(), ids=SLOW.keys())
def test_a_body_made_to_be_slow_is_not(body: bytes) -> None:
    started = time.process_time()
    assert refused(lambda: elements(body)) in (None, Reason.TOO_LARGE, Reason.BAD_BODY)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(("text", "levels"), [(b"1", 0), (b"{}", 1), (b'{"a":[{"b":"[[["}]}', 3), (b"[[[", 3), (b"]]]", 0)])
def test_depth(text: bytes, levels: int) -> None:
    assert depth(text) == levels


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"a":"\xff"}', Reason.BAD_JSON),
        (b'{"a":1e999}', Reason.BAD_JSON),
        (b'{"a":[-1E+400]}', Reason.BAD_JSON),
        (b'{"a":1' + b"0" * 400 + b".5}", Reason.BAD_JSON),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", Reason.TOO_DEEP),
        (b'{"a":"' + b"x" * 100_000 + b'"}', Reason.TOO_LARGE),
    ],
)
def test_what_would_stop_a_reader_after_us_is_refused(raw: bytes, reason: Reason) -> None:
    with pytest.raises(RefusedError) as caught:
        check_event(raw, LIMITS)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":123456789012345678901234567890}',
        b'{"a":"9e999"}',
        b'{"id":"1e9991e9-8e99-4e99"}',
        b'{"a":1e300}',
        b'{"a":"' + b"[" * 100 + b'"}',
        b"[" + b"{}," * 99 + b"{}]",
    ],
)
def test_what_only_looks_like_it_passes(raw: bytes) -> None:
    assert check_event(raw, LIMITS) == (raw, raw.decode())


def test_line_breaks_between_the_parts_of_an_event_cannot_break_a_frame() -> None:
    assert check_event(b'{\r\n "a": 1\n}', LIMITS)[0] == b'{   "a": 1 }'


class TestInflate:
    def test_gzip_is_known_by_its_first_bytes_whatever_the_header_says(self) -> None:
        body = gzip.compress(b"[1]")
        for encoding in ("", "gzip", "identity", "deflate"):
            assert inflate(body, encoding, 100) == b"[1]"
        assert inflate(b"[1]", "gzip", 100) == b"[1]"

    def test_members_may_follow_each_other_and_padding_the_last(self) -> None:
        assert inflate(gzip.compress(b"[1,") + gzip.compress(b"2]") + b"\0\0", "", 100) == b"[1,2]"

    def test_deflate_with_and_without_its_header(self) -> None:
        bare = zlib.compressobj(wbits=-15)
        assert inflate(zlib.compress(b"[1]"), "deflate", 100) == b"[1]"
        assert inflate(bare.compress(b"[1]") + bare.flush(), "deflate", 100) == b"[1]"

    def test_a_bomb_costs_no_more_than_the_limit(self) -> None:
        bomb = gzip.compress(bytes(200_000_000), 9)
        tracemalloc.start()
        try:
            with pytest.raises(RefusedError) as caught:
                inflate(bomb, "gzip", 1_000_000)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()
        assert caught.value.reason is Reason.TOO_LARGE

    def test_zstd_is_known_by_its_first_bytes_or_the_header(self) -> None:
        packed = zstandard.compress(b"[1]")
        skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00more"
        for encoding in ("", "zstd", "gzip", "deflate"):
            assert inflate(packed, encoding, 100) == b"[1]"
            assert inflate(zstandard.compress(b"[1,") + skipped + zstandard.compress(b"2]"), encoding, 100) == b"[1,2]"
        assert inflate(skipped + packed, "zstd", 100) == b"[1]"
        assert inflate(b"[1]", "zstd", 100) == b"[1]"
        assert inflate(packed, "", 3) == b"[1]"

    @pytest.mark.parametrize("level", [-5, 3, 19])
    def test_zstd_of_every_usual_level(self, level: int) -> None:
        body = json.dumps(list(range(20_000))).encode()
        stream = zstandard.ZstdCompressor(level).compressobj()  # does not know the size: asks for the level's whole window
        for packed in (zstandard.compress(body, level), stream.compress(body) + stream.flush()):
            assert inflate(packed, "zstd", len(body)) == body

    def test_zstd_that_is_cut_off_or_broken(self) -> None:
        packed = zstandard.ZstdCompressor(write_checksum=True).compress(b'{"event":"e"}' * 40)
        assert inflate(packed, "", 1000) == b'{"event":"e"}' * 40
        dictionary = zstandard.ZstdCompressionDict(b"what only the sender has " * 8)
        for body in (
            *(packed[:size] for size in range(4, len(packed))),
            packed[:-1] + bytes([packed[-1] ^ 1]),  # its checksum
            packed + b"{}",
            zstandard.ZstdCompressor(dict_data=dictionary).compress(b"what only the sender has"),
        ):
            assert refused(lambda body=body: inflate(body, "", 1000)) is Reason.BAD_ENCODING  # type: ignore[misc]

    def test_zstd_cannot_have_more_memory_than_the_standard_allows(self) -> None:
        for window, expected in ((23, None), (24, Reason.BAD_ENCODING), (27, Reason.BAD_ENCODING)):
            parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window)
            stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
            frame = stream.compress(b"[1]") + stream.flush()
            assert refused(lambda frame=frame: inflate(frame, "zstd", 1000)) is expected  # type: ignore[misc]

    @pytest.mark.parametrize("empty", [gzip.compress(b""), zstandard.compress(b"")], ids=["gzip", "zstd"])
    def test_members_without_end_are_refused_soon(self, empty: bytes) -> None:
        started = time.process_time()
        assert refused(lambda: inflate(empty * 100_000, "", 1000)) is Reason.BAD_ENCODING
        assert time.process_time() - started < 1

    def test_a_bomb_of_zstd_costs_no_more_than_the_limit(self) -> None:
        stream = zstandard.ZstdCompressor().compressobj()
        bomb = b"".join(stream.compress(bytes(10_000_000)) for _ in range(40)) + stream.flush()
        assert len(bomb) < 100_000
        for body in (bomb, bomb[: len(bomb) // 2], zstandard.compress(bytes(900_000)) + bomb):
            before = psutil.Process().memory_info().rss
            assert refused(lambda body=body: inflate(body, "", 1_000_000)) is Reason.TOO_LARGE  # type: ignore[misc]
            assert psutil.Process().memory_info().rss - before < 24_000_000

    @given(st.binary(), st.sampled_from(["", "gzip", "deflate", "br", "zstd", "x"]))
    def test_any_bytes_are_inflated_or_refused(self, body: bytes, encoding: str) -> None:
        for raw in (body, b"\x1f\x8b" + body, b"\x28\xb5\x2f\xfd" + body, zstandard.compress(body)[:-1] + body[:1]):
            reason = refused(lambda raw=raw: inflate(raw, encoding, 1000))  # type: ignore[misc]
            assert reason in (None, Reason.BAD_ENCODING, Reason.TOO_LARGE)
