"""The ids of one event, and what stands for them wherever they are written again.

Most often an id stands again as a string of its own, which is replaced as bytes; only where it seems to be somewhere else too is
the JSON looked through value by value.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from ingest.limits import MAX_TEXT
from ingest.line import EventLine
from ingest.privacy.documents import WHOLE_NUMBER
from ingest.privacy.elsewhere import more_ids
from ingest.privacy.hashing import ITEM, LONG_ID, Hasher

#: Ids that are the same in every way of writing JSON.
_PLAIN = re.compile(r"[A-Za-z0-9_.:@+=|$~-]+")
#: What URLs leave as it is.
_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]+")
#: How an id goes on that was cut to its column's length.
_REST = r"[^\s\"'<>&?#,;(){}\[\]\\]*"
_COMPILED = 4096
_ITEM_IDS = ("item_type", "item_id")
#: So short a text may be equal to an id by chance: in what is counted from, it is one only under a name like an id's.
_MEDIUM_ID = 5
_ID_NAME = re.compile(r"id|user|login|account|member|customer|person|device|phone|mobile", re.IGNORECASE)
_ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

#: verbatim: what nothing is counted from, where every equal value is taken for the id.
Place = Literal["counted", "verbatim"]


class EventIds:
    """id -> hash, for one event."""

    def __init__(self, event: EventLine, hasher: Hasher) -> None:
        self.hashes: dict[str, str] = {}
        for name, value in event.ids.items():
            if value and name not in _ITEM_IDS:
                self.hashes[value] = hasher.id(value)
        persons = (event.person, event.merge.source, event.merge.target) if event.merge else (event.person,)
        for person in persons:
            if not person.startswith(ITEM):
                self.hashes[person[2:]] = hasher.id(person[2:])
        for value in more_ids(event):
            if value:
                self.hashes[value] = hasher.id(value[:MAX_TEXT])
        self._long = [one for one in self.hashes if len(one) >= LONG_ID]
        if len(self._long) > 1:
            self._long.sort(key=len, reverse=True)
        self._plain = [value.encode() for value in self.hashes if _PLAIN.fullmatch(value)]

    def replace_strings(self, data: bytes, place: Place) -> tuple[bytes, bool]:
        """(the JSON with strings that are an id replaced, whether an id may stand in it in another way)."""
        more = len(self._plain) < len(self.hashes)
        for value in self._plain:
            if value in data:
                if place == "verbatim" or len(value) >= _MEDIUM_ID:
                    data = data.replace(b'"%b"' % value, b'"%b"' % self.hashes[value.decode()].encode())
                more = more or (value in data if len(value) >= LONG_ID else _stands(data, value))
        if not more and b"%" in data:
            more = any(form.data.search(data) for value in self._long if (form := _in_urls(value)))
        return data, more

    def of_text(self, text: str, name: str, place: Place) -> str:
        """A string's text without ids: `name` is the name of the member that it is."""
        hashed = self.hashes.get(text)
        if hashed is not None and (place == "verbatim" or len(text) >= _MEDIUM_ID or _ID_NAME.search(name)):
            return hashed
        if len(text) > MAX_TEXT:
            for value in self._long:
                if len(value) == MAX_TEXT and text.startswith(value):
                    return self.hashes[value]
        return self.within(text)

    def of_number(self, text: str, name: str, place: Place) -> str | None:
        """The hash of a number that is an id; None for another."""
        whole = WHOLE_NUMBER.fullmatch(text)
        if whole is None:
            return None
        text = whole["digits"]
        hashed = self.hashes.get(text)
        likely = place == "verbatim" or len(text) >= LONG_ID or _ID_NAME.search(name) is not None
        return hashed if likely else None

    def within(self, text: str) -> str:
        """A text without the long ids that are a part of it."""
        for value in self._long:
            if value in text:
                hashed = self.hashes[value]
                text = text.replace(value, hashed) if len(value) < MAX_TEXT else _with_rest(value).sub(hashed, text)
        if "%" in text:
            for value in self._long:
                form = _in_urls(value)
                if form:
                    text = form.text.sub(self.hashes[value], text)
        return text


class _Form(NamedTuple):
    """What finds an id as URLs write it, in a text and in its bytes."""

    text: re.Pattern[str]
    data: re.Pattern[bytes]


@lru_cache(_COMPILED)
def _in_urls(value: str) -> _Form | None:
    """How an id is found that was escaped for a URL, once or more often, in whole or in part; None where nothing of it is."""
    if _UNRESERVED.fullmatch(value):
        return None
    parts = []
    for char in value:
        plain = re.escape(char)
        if not _UNRESERVED.fullmatch(char):
            escaped = "".join(f"%(?:25)*{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
            plain = f"(?:{plain}|(?i:{escaped}){'|[+]' if char == ' ' else ''})"
        parts.append(plain)
    found = "".join(parts)
    return _Form(re.compile(found), re.compile(found.encode("utf-8", "surrogatepass")))


@lru_cache(_COMPILED)
def _with_rest(value: str) -> re.Pattern[str]:
    return re.compile(re.escape(value) + _REST)


def _stands(data: bytes, value: bytes) -> bool:
    """Whether a short id stands by itself somewhere, and not inside of a longer word or number."""
    at = data.find(value)
    while at >= 0:
        end = at + len(value)
        if (at == 0 or data[at - 1] not in _ALNUM) and (end >= len(data) or data[end] not in _ALNUM):
            return True
        at = data.find(value, end)
    return False
