"""The event line as the collector writes it: `ingest.contract.event.Event`, with the parts that are passed on verbatim as texts.

Properties and context are never decoded and encoded again: integers keep all their digits, keys their order, and it is faster.
"""

from __future__ import annotations

import hashlib

import msgspec

from ingest.contract.event import EventType, Merge
from ingest.limits import MAX_TEXT
from ingest.reasons import Reason, RefusedError

EMPTY = msgspec.Raw(b"{}")
NO_RAW = msgspec.Raw()


class EventLine(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The fields of `Event`, in its order; props and context are JSON texts of objects, without line breaks."""

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
    props: msgspec.Raw = EMPTY
    context: msgspec.Raw = EMPTY
    ids: dict[str, str] = {}
    merge: Merge | None = None
    protocol: str = "native"
    lib: str = ""
    lib_version: str = ""
    raw: str = ""
    violations: list[str] = []


encode_line = msgspec.json.Encoder().encode


def content_id(*parts: bytes | str | int) -> str:
    """An id made of content: the same parts give the same id, whoever computes it and when."""
    content = ""
    for part in parts:
        if isinstance(part, bytes):
            break
        content += f"{len(str(part))}:{part}"
    else:
        if content.isascii():  # most often; a character is a byte then
            return hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return hashlib.sha1(b"".join([b"%d:%b" % (len(one), one) for one in encoded]), usedforsecurity=False).hexdigest()


def id_text(value: str | int | None, path: str) -> str:
    """An id of a person as text; "" when there is none. Raises RefusedError when it is longer than the contract allows."""
    if value is None:
        return ""
    text = value if type(value) is str else number_text(value)
    if len(text) > MAX_TEXT:
        raise RefusedError(Reason.BAD_EVENT, f"an id of more than {MAX_TEXT} characters - at `{path}`")
    return text


def name_text(value: str | None, path: str) -> str:
    """An event's name. Raises RefusedError when it is missing, empty or too long."""
    if not value:
        raise RefusedError(Reason.BAD_EVENT, f"an event needs a name - at `{path}`")
    if len(value) > MAX_TEXT:
        raise RefusedError(Reason.BAD_EVENT, f"a name of more than {MAX_TEXT} characters - at `{path}`")
    return value


def short(value: object) -> str:
    """A value for a column of short texts, cut to its limit; "" for what is no text and no number."""
    if value is None:  # most often
        return ""
    if type(value) is str:
        return value[:MAX_TEXT]
    if type(value) is int or type(value) is float:
        return number_text(value)[:MAX_TEXT]
    return ""


def number_text(value: object) -> str:
    """A number as text. Python refuses to print integers of thousands of digits: those are as good as too long."""
    try:
        return str(value)
    except ValueError:
        return "9" * (MAX_TEXT + 1)


def is_object(raw: msgspec.Raw) -> bool:
    """Whether a JSON text is an object's."""
    return bytes(raw)[:1] == b"{"  # to copy the few bytes of an event costs less than to look at them through a view
