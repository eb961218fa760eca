"""Gathers events of a few milliseconds by partition into frames, and tells each request when all of its frames are safe. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ingest.contract.event import make_frame
from ingest.limits import MAX_FRAME_BYTES


class Ticket:
    """One request's claim: `done` is called once, with None when all its frames are safe, or with the first error."""

    __slots__ = ("_done", "_waiting")

    def __init__(self, done: Callable[[Exception | None], None]) -> None:
        self._done: Callable[[Exception | None], None] | None = done
        self._waiting = 0

    def wait_for_one_more(self) -> None:
        """One more frame holds something of the request."""
        self._waiting += 1

    def settle(self, error: Exception | None) -> None:
        """One frame is safe, or is not."""
        self._waiting -= 1
        if self._done is not None and (error is not None or not self._waiting):
            done, self._done = self._done, None
            done(error)


class Frame:
    """What becomes one Kafka record."""

    __slots__ = ("born", "drained", "lines", "partition", "size", "spooled", "tickets", "topic", "value", "ways")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.lines: list[bytes] = []
        self.size = 0
        self.tickets: list[Ticket] = []
        self.value = b""
        self.born = 0.0
        #: How many ways are open on which it may still become safe (Kafka, the spool); whether the spool is or was one of them;
        #: whether it comes from the spool, so that nobody waits for it.
        self.ways = 0
        self.spooled = False
        self.drained = False

    def add(self, line: bytes, ticket: Ticket) -> None:
        """Takes a line of a request."""
        self.lines.append(line)
        self.size += len(line) + 1
        if not self.tickets or self.tickets[-1] is not ticket:
            self.tickets.append(ticket)
            ticket.wait_for_one_more()

    def close(self) -> Frame:
        """Nothing is added any more: the value is made."""
        self.value = make_frame(self.lines)
        self.lines = []
        return self

    def settle(self, error: Exception | None) -> None:
        """Tells the requests, once: what is told first holds."""
        tickets, self.tickets = self.tickets, []
        for ticket in tickets:
            ticket.settle(error)


class Gatherer:
    """Open frames, one a partition at most."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._open: dict[int, Frame] = {}

    def add(self, partition: int, line: bytes, ticket: Ticket) -> Frame | None:
        """Puts a line into its partition's frame; returns a frame that is full by that."""
        full = None
        frame = self._open.get(partition)
        if frame is not None and frame.size + len(line) > MAX_FRAME_BYTES:
            full, frame = frame.close(), None
        if frame is None:
            frame = self._open[partition] = Frame(self._topic, partition)
        frame.add(line, ticket)
        return full

    def take(self) -> list[Frame]:
        """All open frames, closed."""
        frames = [frame.close() for frame in self._open.values()]
        self._open.clear()
        return frames

    def __bool__(self) -> bool:
        return bool(self._open)
