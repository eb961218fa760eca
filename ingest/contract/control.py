"""Control lines: what an operator tells the readers of the events topic, in order with the events.

A control line is a frame of its own, in the partition of the persons that it is about. It is no event line, by construction: the
collector writes events only, so nobody outside can send one. Every reader of frames finds it among the lines that are no events
(`read_frame`, `good_lines`) and asks `read_control`; a reader that is not meant passes over it.

    forget   for the worker: the person's record goes, and with it what it counts in windows that are still open. Afterwards the
             person is new. Done again, it changes nothing but what came in between
    erase    for the sink of events: rows go that came up to an offset of this partition, and what is rejected of the same ids.
             It is sent once the numbers are right without them
"""

from __future__ import annotations

from typing import Literal

import msgspec

_BEGINS = b'{"control":'
VERSION = 1


class Erasure(msgspec.Struct, frozen=True):
    """A person, and the offset in the events topic up to (and with) which the person's events go."""

    person: str
    upto: int


class Control(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One control line. version: a reader that does not know it must stop rather than pass over it."""

    control: Literal["forget", "erase"]
    version: int = VERSION
    at: int
    person: str = ""
    erase: tuple[Erasure, ...] = ()


class UnknownControlError(ValueError):
    """A control line of a newer Footfall."""


_decoder = msgspec.json.Decoder(Control)


def encode_control(control: Control) -> bytes:
    """The line, which is a frame."""
    return msgspec.json.encode(control)


def read_control(line: bytes) -> Control | None:
    """The control line that it is; None for anything else. Raises UnknownControlError for one of a newer Footfall."""
    if not line.startswith(_BEGINS):
        return None
    try:
        found = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnknownControlError(f"a control line that cannot be read ({error}): update Footfall") from error
    if found.version > VERSION:
        raise UnknownControlError(f"a control line has version {found.version}, this Footfall knows up to {VERSION}: update it")
    return found
