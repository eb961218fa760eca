"""Segments of the spool: what is whole comes back, what is not is told, and nothing is made up."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.collector.spool_format import (
    ENTRY_BYTES,
    EVENTS,
    HEADER_BYTES,
    MARK,
    REJECTED,
    Drained,
    Segment,
    count_entries,
    decode_header,
    encode_entry,
    encode_header,
    encode_segment,
    halved,
    read_segment,
    records_of,
)
from ingest.contract.event import Event
from ingest.contract.partition import partition_of

Frame = tuple[int, int, bytes]
PAYLOADS = st.binary(max_size=60) | st.text(max_size=20).map(str.encode) | st.just(MARK + b"x")
FRAMES = st.lists(st.tuples(st.sampled_from([EVENTS, REJECTED]), st.integers(0, 1023), PAYLOADS), max_size=6)


def segment_of(frames: list[Frame], partitions: int = 4) -> bytes:
    entries = (encode_entry(number, *frame) + frame[2] for number, frame in enumerate(frames))
    return encode_header(partitions, 1_795_325_937_991) + b"".join(entries)


def found(segment: Segment) -> list[Frame]:
    return [(one.topic, one.partition, one.payload) for one in segment.entries]


def ends_of(frames: list[Frame]) -> list[int]:
    ends = [HEADER_BYTES]
    for frame in frames:
        ends.append(ends[-1] + ENTRY_BYTES + len(frame[2]))
    return ends


@given(FRAMES)
def test_what_is_written_comes_back(frames: list[Frame]) -> None:
    data = segment_of(frames)
    segment = read_segment(data)
    assert found(segment) == frames
    assert [one.number for one in segment.entries] == list(range(len(frames)))
    assert segment.damages == []
    assert (segment.partitions, segment.created) == decode_header(data) == (4, 1_795_325_937_991)
    assert count_entries(data) == (len(frames) or -1)


@given(FRAMES)
@settings(max_examples=30)
def test_torn_at_every_byte_the_whole_entries_stay_and_the_tail_is_told(frames: list[Frame]) -> None:
    data, ends = segment_of(frames), ends_of(frames)
    for size in range(len(data)):
        segment = read_segment(data[:size])
        whole = sum(end <= size for end in ends[1:])
        assert found(segment) == frames[:whole]
        at_an_end = size in ends or size == 0
        begin = ends[whole] if size >= HEADER_BYTES else 0
        assert [(one.kind, one.start, one.end) for one in segment.damages] == ([] if at_an_end else [("tail", begin, size)])


@given(FRAMES.filter(bool), st.data())
def test_a_flipped_bit_costs_its_own_entry_and_no_other(frames: list[Frame], data: st.DataObject) -> None:
    clean = segment_of(frames)
    at = data.draw(st.integers(0, len(clean) - 1))
    broken = bytearray(clean)
    broken[at] ^= 1 << data.draw(st.integers(0, 7))
    segment = read_segment(bytes(broken))
    hit = sum(end <= at for end in ends_of(frames)) - 1
    if hit < 0:  # the header
        assert segment.partitions == 0
        assert found(segment) == frames
        return
    assert found(segment) == frames[:hit] + frames[hit + 1 :]
    (damage,) = segment.damages
    last = hit == len(frames) - 1
    assert (damage.kind, damage.missing) == (("tail", 0) if last else ("middle", 1))
    assert damage.start <= at < damage.end


@given(FRAMES, st.binary(min_size=1, max_size=80), st.integers(0, 6))
def test_what_was_never_written_is_never_read(frames: list[Frame], noise: bytes, place: int) -> None:
    data, ends = segment_of(frames), ends_of(frames)
    at = ends[min(place, len(frames))]
    segment = read_segment(data[:at] + noise + data[at:])
    assert found(segment) == frames
    assert sum(one.end - one.start for one in segment.damages) == len(noise)


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    segment = read_segment(data)
    assert sum(one.end - one.start for one in segment.damages) == len(data) or decode_header(data) != (0, 0)
    count_entries(data)


def test_entries_that_are_gone_without_a_trace_are_told() -> None:
    frames = [(EVENTS, 0, b"%d" % number) for number in range(5)]
    ends = ends_of(frames)
    data = segment_of(frames)
    segment = read_segment(data[: ends[1]] + data[ends[3] :])
    assert found(segment) == [frames[0], frames[3], frames[4]]
    assert [(one.kind, one.missing) for one in segment.damages] == [("middle", 2)]


def test_zeros_that_a_crashed_file_system_leaves_are_a_tail() -> None:
    frames = [(EVENTS, 0, b"one")]
    segment = read_segment(segment_of(frames) + bytes(4096))
    assert found(segment) == frames
    assert [one.kind for one in segment.damages] == ["tail"]
    assert count_entries(segment_of(frames) + bytes(4096)) == 1


def test_small_frames_of_a_partition_become_one_in_order_and_rejected_records_stay_alone() -> None:
    frames = [
        (EVENTS, 0, b"a"),
        (REJECTED, 0, b"r1"),
        (EVENTS, 1, b"b"),
        (EVENTS, 0, b"c" * 6),
        (EVENTS, 0, b"d"),
        (REJECTED, 0, b"r2"),
    ]
    records, _ = records_of(read_segment(segment_of(frames)), 4, most=9)
    assert [(one.topic, one.partition, one.value) for one in records] == [
        (REJECTED, 0, b"r1"),
        (EVENTS, 0, b"a\n" + b"c" * 6),
        (REJECTED, 0, b"r2"),
        (EVENTS, 1, b"b"),
        (EVENTS, 0, b"d"),
    ]


@given(st.lists(st.lists(st.sampled_from([f"u:{number}" for number in range(30)]), min_size=1, max_size=4), max_size=8))
def test_with_another_partition_count_every_event_goes_where_its_person_is_now(frames: list[list[str]]) -> None:
    lines = [[line_of(person, f"{number}-{index}") for index, person in enumerate(one)] for number, one in enumerate(frames)]
    segment = read_segment(segment_of([(EVENTS, 0, b"\n".join(one)) for one in lines], partitions=1))
    out, unreadable = records_of(segment, 7, most=400)
    assert unreadable == []
    sent = [(one.partition, msgspec.json.decode(line, type=Event)) for one in out for line in one.value.split(b"\n")]
    assert sorted(event.id for _, event in sent) == sorted(f"{n}-{i}" for n, one in enumerate(frames) for i in range(len(one)))
    assert all(partition == partition_of(event.person, 7) for partition, event in sent)
    for person in {event.person for _, event in sent}:
        mine = [tuple(map(int, event.id.split("-"))) for _, event in sent if event.person == person]
        assert mine == sorted(mine)


def test_an_event_that_cannot_be_read_stays_behind_alone_where_its_partition_is_asked_for() -> None:
    good, bad = [line_of("u:1", str(number)) for number in range(3)], b'{"person": 7}'
    segment = read_segment(segment_of([(EVENTS, 1, b"\n".join([good[0], bad, good[1]])), (EVENTS, 2, good[2])]))
    records, unreadable = records_of(segment, 1, most=10_000)
    assert [one.value for one in records] == [b"\n".join(good)]
    assert unreadable == [(EVENTS, 1, bad)]
    again = read_segment(b"".join(encode_segment(4, 7, unreadable)))
    assert again.damages == []
    assert records_of(again, 4, most=10_000).records == [(EVENTS, 1, bad)], "with the old count nobody asks"


def test_what_was_set_aside_of_a_segment_without_a_header_is_placed_anew() -> None:
    line = line_of("u:1", "1")
    segment = read_segment(b"".join(encode_segment(0, 7, [Drained(EVENTS, 3, line)])))
    assert (segment.partitions, segment.created, segment.damages) == (0, 7, [])
    assert records_of(segment, 4, most=10).records == [(EVENTS, partition_of("u:1", 4), line)]


@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda line: b"\n" not in line), min_size=1, max_size=20))
def test_a_frame_is_halved_down_to_its_events(lines: list[bytes]) -> None:
    found, left = [], [b"\n".join(lines)]
    while left:
        frame = left.pop(0)
        parts = halved(frame)
        assert len(parts) == (2 if b"\n" in frame else 0)
        left = parts + left
        found += [] if parts else [frame]
    assert found == lines


def line_of(person: str, identity: str) -> bytes:
    return msgspec.json.encode(Event(id=identity, app="bank", person=person, event="e", time=1, received=1))
