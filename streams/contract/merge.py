"""Messages about persons that are one: what the worker's partitions tell each other, JSON lines in frames as events are.

They lie in the merges topic, in the partition of `person`. Kinds:

    claim      `person` is told to become part of `target`
    handover   a record that `person` joins into its own: all of a merged person's, or what came later under the old id
    merged     the claim was granted: `person` is `target` from now on (for ClickHouse; the worker passes over it)

A person is granted to the first that claims it, and for good; a later claim by somebody else (a shared device) is passed over.
Of two ids the one that sorts first (user ids before anonymous ids) is the target, so that claims cannot go round in circles.

All layouts of a project share the topic. Claims and grants mean the same to all of them; a record is written by one layout's
plan, so a handover of another layout is passed over: each layout hands over what it has itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

#: A frame is no longer than that, unless a single message is.
FRAME_BYTES = 256 * 1024


class MergeMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One message; `record` is a portable record (streams.codec), `clock` the sender's newest receipt (ms, UTC).

    layout    the sender's; "" is read as the reader's own
    """

    kind: Literal["claim", "handover", "merged"]
    person: str
    target: str = ""
    record: bytes = b""
    clock: int = 0
    at: int = 0
    layout: str = ""


_decoder = msgspec.json.Decoder(MergeMessage)
_encoder = msgspec.json.Encoder()


def encode_merge(message: MergeMessage) -> bytes:
    """The JSON line."""
    return _encoder.encode(message)


def decode_merge(line: bytes) -> MergeMessage:
    """Reads a line; msgspec.DecodeError says what is wrong with it."""
    return _decoder.decode(line)


def merge_frames(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Messages' lines, in order, as the values of as few Kafka records as may be: each costs its readers as much as ten lines."""
    frame: list[bytes] = []
    size = 0
    for line in lines:
        if frame and size + len(line) > FRAME_BYTES:
            yield b"\n".join(frame)
            frame, size = [], 0
        frame.append(line)
        size += len(line) + 1
    if frame:
        yield b"\n".join(frame)


def merge_lines(frame: bytes) -> list[bytes]:
    """The lines in the value of a Kafka record of the merges topic."""
    return frame.split(b"\n")


def order_of_ids(one: str, two: str) -> tuple[str, str]:
    """(target, merged) of two person ids: users before anonymous, then by text."""
    first, second = sorted((one, two), key=lambda person: (not person.startswith("u:"), person))
    return first, second
