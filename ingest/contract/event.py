"""The event line and the frame: the one format between ingest and everything after it.

A **frame** is the value of one Kafka record: one or more JSON lines, separated by a newline, all of persons of that partition.
Each line is one `Event`. ClickHouse reads frames as they are (JSONEachRow), so field names here are column names there.

All times are milliseconds since 1970 in UTC, as JSON numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec

from ingest.contract.errors import BadLineError

EventType = Literal["track", "page", "screen", "identify", "alias", "group", "bind", "unbind", "profile", "item"]

#: Event types that are something a person did, so that they may count as activity. The others only tell about a person.
ACTIVE_TYPES = frozenset({"track", "page", "screen"})

#: 1970 to 2100: outside of it a time is a mistake of unit, not a time.
MAX_TIME_MS = 4_102_444_800_000

Time = Annotated[int, msgspec.Meta(ge=0, lt=MAX_TIME_MS)]
ShortText = Annotated[str, msgspec.Meta(max_length=256)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Person = Annotated[str, msgspec.Meta(min_length=3, max_length=258, pattern="^[ua]:")]


class Merge(msgspec.Struct, frozen=True, omit_defaults=True):
    """Two ids that are one person, as an SDK told it (identify, alias, track_signup, bind). Kept as sent, applied in streams."""

    source: Person
    target: Person
    how: ShortText


class Props(msgspec.Struct, frozen=True):
    """Stands for the properties where only their being an object matters."""


class EventHead(msgspec.Struct, kw_only=True):
    """The fields that make a line valid: what the numbers are computed from. Every reader of frames checks at least these.

    A line that decodes as this is a good line; all readers must agree on it, or their numbers would differ.
    """

    id: Name
    app: Name
    person: Person
    event: Name
    type: EventType = "track"
    time: Time
    received: Time
    platform: ShortText = ""
    version: ShortText = ""
    channel: ShortText = ""
    duration: Annotated[int, msgspec.Meta(ge=0)] = 0
    props: Props = Props()
    merge: Merge | None = None


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One tracked event, as ingest writes it.

    id           identity given by the SDK, or made from the content; the same event sent twice has the same id
    app          app id of the plan
    person       `u:<user id>` once known, else `a:<anonymous id>`: the partition key
    event        name as sent, any Unicode
    time         when it happened: device_time, corrected only for a clock off by more than a minute, never after `received`
    received     when the collector took it
    device_time  as the device said it; sent: when the device said it sent it; 0 if not told
    duration     milliseconds up to `time` that the SDK itself measured (0: none)
    props        the event's properties; context: what the SDK told about the device, library, page
    ids          every id that came with it, by name (anonymous_id, user_id, session_id, device_id, ...)
    merge        ids that the SDK says are one person
    raw          the event verbatim as the SDK sent it, where translation could lose something
    violations   what is wrong with it by the tracking plan, each `rule` or `rule:property` (ingest.contract.tracking.RULES)
    """

    id: str
    app: str
    person: str
    event: str
    type: EventType = "track"
    time: int
    received: int
    device_time: int = 0
    sent: int = 0
    platform: str = ""
    version: str = ""
    channel: str = ""
    duration: int = 0
    props: dict[str, Any] = {}
    context: dict[str, Any] = {}
    ids: dict[str, str] = {}
    merge: Merge | None = None
    protocol: str = "native"
    lib: str = ""
    lib_version: str = ""
    raw: str = ""
    violations: list[str] = []


class BadLine(NamedTuple):
    """A line that cannot be read: its number in the frame (from 0), its bytes, and why."""

    line: int
    payload: bytes
    reason: str


_head_decoder = msgspec.json.Decoder(EventHead)

#: What a decoder raises on a line that it cannot read: no JSON, no such fields, no UTF-8, nested too deep.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def make_frame(lines: Iterable[bytes]) -> bytes:
    """Joins encoded event lines into one frame."""
    return b"\n".join(lines)


T = TypeVar("T")


def read_frame(frame: bytes, decoder: msgspec.json.Decoder[T]) -> tuple[list[T], list[BadLine]]:
    """Decodes all lines of a frame with a decoder of EventHead or of a struct that asks for more of the same fields.

    Returns the good events in order, and the lines that are none. A frame whose lines are all good (all but every one)
    costs a single call; otherwise line by line, so that a bad line costs the others nothing.
    """
    try:
        return decoder.decode_lines(frame), []
    except UNREADABLE:
        pass
    good: list[T] = []
    bad: list[BadLine] = []
    for number, line in enumerate(frame.split(b"\n")):
        if not line or line.isspace():
            continue
        try:
            good.append(decoder.decode(line))
        except UNREADABLE as error:
            bad.append(BadLine(number, line, str(error)))
    return good, bad


def good_lines(frame: bytes) -> tuple[list[tuple[EventHead, bytes]], list[BadLine]]:
    """Like `read_frame` with EventHead, and gives each good event's own bytes too (for those who pass lines on)."""
    good: list[tuple[EventHead, bytes]] = []
    bad: list[BadLine] = []
    for number, line in enumerate(frame.split(b"\n")):
        if not line or line.isspace():
            continue
        try:
            good.append((_head_decoder.decode(line), line))
        except UNREADABLE as error:
            bad.append(BadLine(number, line, str(error)))
    return good, bad


def check_line(line: bytes) -> EventHead:
    """Decodes one line; raises BadLineError with the path into the JSON."""
    try:
        return _head_decoder.decode(line)
    except UNREADABLE as error:
        raise BadLineError(str(error)) from error
