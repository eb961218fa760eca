"""What could not be accepted, and why: one JSON line per record of the rejected topic."""

from __future__ import annotations

import base64
import gzip
from typing import NamedTuple

import msgspec

#: Longest payload that is kept, in bytes, compressed where that helps; beyond, it is cut and `truncated` is set. Of an event, and
#: of a whole request, which the collector keeps.
MAX_PAYLOAD_BYTES = 256 * 1024
MAX_REQUEST_PAYLOAD_BYTES = 2560 * 1024
_QUOTES = 64
#: The name, among an event's ids, of the rejection that it was sent again after.
REJECTION_ID = "rejection"


class Rejected(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One rejected line or request.

    at         when it was rejected (ms, UTC)
    stage      collector, worker or sink
    reason     one of a closed list of short codes (bad_line, unknown_key, ...); detail: the words, with the path into the JSON
    topic, partition, offset, line   where it lay, for what had reached Kafka (-1 otherwise)
    context    of the request: protocol, path, method, index (of the event in it), query, envelope (what a batch said of all its
               events), content type, user agent
    payload    the bytes as text; with `encoding` base64 where they are no UTF-8, gzip+base64 where they are very long
    """

    at: int
    stage: str
    reason: str
    detail: str
    app: str = ""
    topic: str = ""
    partition: int = -1
    offset: int = -1
    line: int = -1
    payload: str = ""
    encoding: str = "utf-8"
    truncated: bool = False
    context: dict[str, str] = {}


def payload_fields(payload: bytes, limit: int = MAX_PAYLOAD_BYTES) -> tuple[str, str, bool]:
    """(payload, encoding, truncated) for any bytes, so that they fit a Rejected and can be had back.

    In JSON they take a third more than themselves, and than `limit`, at most.
    """
    if len(payload) > limit:
        packed = gzip.compress(payload, 1, mtime=0)
        if len(packed) <= limit:
            return base64.b64encode(packed).decode(), "gzip+base64", False
    truncated = len(payload) > limit
    payload = payload[:limit]
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode(), "base64", truncated
    if len(msgspec.json.encode(text)) > len(payload) * 4 // 3 + _QUOTES:
        return base64.b64encode(payload).decode(), "base64", truncated
    return text, "utf-8", truncated


def payload_of(row: Rejected) -> bytes:
    """The payload's own bytes."""
    if row.encoding == "gzip+base64":
        return gzip.decompress(base64.b64decode(row.payload))
    return base64.b64decode(row.payload) if row.encoding == "base64" else row.payload.encode()


class Resend(NamedTuple):
    """A request to the collector; the write key comes on top."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Prospect(NamedTuple):
    """What would become of a rejected row that is sent again: the request, its write key, how many events would be taken.

    why says what speaks against it: the reason and detail by which it would be refused again, or why it cannot be sent at all.
    """

    id: str
    request: Resend | None
    key: str
    events: int
    why: str
