"""JSON as text: taken apart without being interpreted, so that what an SDK sent can be kept to the letter.

Whole bodies go through msgspec, which slices an array's elements without decoding them. Where that fails, because one element is
broken, `split_broken` finds the elements by brackets and quotes alone: the others are still good.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import orjson

from ingest.limits import MAX_COMMAS, MAX_DEPTH, Limits
from ingest.reasons import Reason, RefusedError
from ingest.sizes import check_sizes

_array = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder(msgspec.Raw)
#: Strings as a whole (an open one up to the end), brackets, commas. Possessive: linear in the text, whatever it is.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)
_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_MAX_TOKENS = 1_000_000
#: Bytes of the shortest member of an object after the first: `,"":1`.
_LEAST_MEMBER = 5
_WHITESPACE = b" \t\r\n"
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def is_plain(body: bytes, limits: Limits) -> bool:
    """Whether none of a body's events can have a line break, an escaped quote, or a name or a text that is too long.

    All events of a body are asked at once: most bodies are so, and their events then need not be looked at one by one.
    """
    return not (
        b"\n" in body
        or b"\r" in body
        or (b"\\" in body and b'\\"' in body)  # a single byte is found ten times as fast
        or _has_run(body, min(limits.name_chars, limits.value_chars))
    )


def check_event(raw: bytes, limits: Limits, plain: bool = False) -> tuple[bytes, str]:
    """One event's JSON, on one line, as bytes and as text; `plain`: what `is_plain` said of the body that it is in, or of it
    alone. Raises RefusedError.

    What is refused here would pass our own decoder, which skips what it need not know, and stop a reader after us: numbers
    beyond a double, invalid UTF-8, texts too deep. To parse it once more is the cheapest way to know (1 us; a regular expression
    takes 10).
    """
    size = len(raw)
    if size > limits.event_bytes:
        raise RefusedError(Reason.TOO_LARGE, f"the event has {size} bytes, at most {limits.event_bytes} are allowed")
    if not plain and (b"\n" in raw or b"\r" in raw):
        raw = raw.translate(_LINE_BREAKS)  # outside of strings they are whitespace; inside they are an error already
    # to count costs several times as much as to find that there are none
    if raw.count(b"{") + (raw.count(b"[") if b"[" in raw else 0) > MAX_DEPTH and depth(raw) > MAX_DEPTH:
        raise RefusedError(Reason.TOO_DEEP, f"more than {MAX_DEPTH} objects and arrays inside each other")
    try:
        found, text = orjson.loads(raw), raw.decode()
    except (orjson.JSONDecodeError, UnicodeDecodeError) as error:
        raise RefusedError(Reason.BAD_JSON, str(error)) from error
    # An escaped quote is no end of a text, though it looks like one: such an event is not plain.
    many = size > limits.properties * _LEAST_MEMBER and raw.count(b":") > limits.properties
    if many or not (plain or is_plain(raw, limits)):
        check_sizes(found, limits)
    return raw, text


def _has_run(raw: bytes, length: int) -> bool:
    """Whether there may be more than that many bytes without a quote between them: a name or a text that is too long.

    It goes from quote to quote in steps as long as may be: a tenth of the cost of looking at all names and texts.
    """
    at, last = 0, len(raw) - length
    while at <= last:
        found = raw.rfind(b'"', at, at + length)
        if found < 0:
            return True
        at = found + 1
    return False


def depth(raw: bytes) -> int:
    """How deep objects and arrays lie inside each other; stops counting where it is too deep."""
    level = deepest = 0
    for token in _BRACKET.finditer(raw):
        first = raw[token.start()]
        if first in b"[{":
            level += 1
            if level > deepest:
                deepest = level
                if level > MAX_DEPTH:
                    break
        elif first in b"]}":
            level -= 1
    return deepest


def elements(body: bytes) -> list[bytes]:
    """The texts of a JSON array's elements. Elements that are no JSON are among them; whatever follows the array is ignored.

    Raises RefusedError when the body is no array, or has far too many elements.
    """
    if body.count(b",") > MAX_COMMAS:
        raise RefusedError(Reason.TOO_LARGE, f"more than {MAX_COMMAS} commas in one body")
    try:
        return [bytes(raw) for raw in _array.decode(body)]
    except DECODE_ERRORS:
        pass
    if body.lstrip(_WHITESPACE)[:1] != b"[":
        raise RefusedError(Reason.BAD_BODY, "expected a JSON array")
    return [value for _, value in split_broken(body)]


def is_json(text: bytes) -> bool:
    """Whether the text is one JSON value (its strings' UTF-8 is not looked at)."""
    try:
        _any.decode(text)
    except DECODE_ERRORS:
        return False
    return True


def split_broken(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The members of the object, or the elements of the array, that a text begins with: (key, value) with the key's text b"" in
    an array. Works on text that is no JSON too: it looks at quotes, brackets, commas and colons alone, and ends where the text
    ends. Raises RefusedError when there are too many of them."""
    level = 0
    start = -1
    key = b""
    in_object = False
    for count, token in enumerate(_TOKEN.finditer(body), 1):
        if count > _MAX_TOKENS:
            raise RefusedError(Reason.TOO_LARGE, "a broken body with too many parts to look for good events in it")
        at = token.start()
        first = body[at]
        if first in b"[{":
            level += 1
            if level == 1:
                start = at + 1
                in_object = first in b"{"
        elif first in b"]}":
            level -= 1
            if level == 0:
                value = body[start:at].strip(_WHITESPACE)
                if value or key:
                    yield key, value
                return
        elif level == 1 and first in b",":
            yield key, body[start:at].strip(_WHITESPACE)
            key, start = b"", at + 1
        elif level == 1 and first in b":" and in_object and not key:
            key, start = body[start:at].strip(_WHITESPACE), at + 1
    if level and start >= 0:
        value = body[start:].strip(_WHITESPACE)
        if value or key:
            yield key, value


def words(error: Exception, path: str) -> str:
    """A decoder's words with the path from the request's own root."""
    if isinstance(error, RecursionError):
        return f"too deep to read - at `{path}`"
    text = str(error)
    if "`$" in text:
        return text.replace("`$", f"`{path}", 1)
    return f"{text} - at `{path}`"
