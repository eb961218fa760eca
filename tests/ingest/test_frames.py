"""Frames: every line once, none too large, and a request is told only when all that it gave is safe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.collector.frames import Frame, Gatherer, Ticket
from ingest.contract.event import Event
from ingest.limits import MAX_FRAME_BYTES
from ingest.line import EventLine
from ingest.platforms import platform_of
from tests.ingest.helpers import KEYS


def test_the_line_has_the_contracts_fields_in_its_order() -> None:
    assert EventLine.__struct_fields__ == Event.__struct_fields__
    raw = ("props", "context")
    given_none = Event(id="i", app="a", person="u:1", event="e", time=1, received=1)
    ours = EventLine(id="i", app="a", person="u:1", event="e", time=1, received=1)
    for name in Event.__struct_fields__:
        assert name in raw or getattr(ours, name) == getattr(given_none, name)


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400_000)), max_size=6), max_size=8))
def test_every_line_is_in_one_frame_and_every_request_is_told_after_its_last(requests: list[list[tuple[int, int]]]) -> None:
    gatherer = Gatherer("t")
    told: dict[int, Exception | None] = {}
    frames: list[Frame] = []
    for number, lines in enumerate(requests):
        ticket = Ticket(lambda error, number=number: told.__setitem__(number, error))  # type: ignore[misc]
        for partition, size in lines:
            full = gatherer.add(partition, b"%d" % number * size, ticket)
            frames += [full] if full else []
    frames += gatherer.take()
    assert not gatherer
    assert all(len(frame.value) <= MAX_FRAME_BYTES for frame in frames)
    assert sum(frame.value.count(b"\n") + 1 for frame in frames) == sum(map(len, requests))
    for frame in reversed(frames):
        assert {number for number in told if any(b"%d" % number == line[:1] for line in frame.value.split(b"\n"))} == set()
        frame.settle(None)
        frame.settle(None)
    assert told == {number: None for number, lines in enumerate(requests) if lines}


def test_the_first_error_is_told_at_once_and_only_once() -> None:
    told: list[Exception | None] = []
    ticket = Ticket(told.append)
    frames = [Frame("t", number) for number in range(3)]
    for frame in frames:
        frame.add(b"x", ticket)
    error = OSError("away")
    frames[1].settle(error)
    frames[0].settle(None)
    frames[2].settle(OSError("again"))
    assert told == [error]


def test_keys_know_their_app_and_nothing_else() -> None:
    assert [KEYS.app_of(key) for key in ("SA_TOKEN", "tk3", "", "SA_TOKE", "SA_TOKENx", "\ud800")] == [
        "bank",
        "p3",
        "",
        "",
        "",
        "",
    ]
    assert KEYS.app_of("", "nope", "tk3", "SA_TOKEN") == "p3"


def test_an_unknown_system_keeps_its_name() -> None:
    assert platform_of(" Tizen ") == "tizen"
