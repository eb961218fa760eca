"""Ids as HMACs: the same id is the same hash in every collector that has the key, and nobody without it can tell the id."""

from __future__ import annotations

import hmac
import re
from functools import lru_cache

#: Hex digits of a hash: 128 bits, so that two of a billion ids are the same once in 10^20 times.
_LENGTH = 32
#: What a hash begins with, so that what is sent again after it was hashed is not hashed again.
_MARK = "h-"
_HASHED = re.compile(rf"{_MARK}[0-9a-f]{{{_LENGTH}}}", re.ASCII)
_SHORT = 16
_REMEMBERED = 100_000
#: An item of a catalogue is nobody.
ITEM = "a:$item+"
#: Characters that an id must have so that a part of a longer text that is equal to it is taken for it.
LONG_ID = 8


class Hasher:
    """HMAC-SHA-256 of ids, cut to 32 hex digits: `h-0123...`. A hash of its own is left as it is."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        #: An id of a person, however it is called.
        self.id = lru_cache(_REMEMBERED)(self._id)

    def _id(self, value: str) -> str:
        return value if _HASHED.fullmatch(value) else _MARK + self._hex("id", value)

    def person(self, person: str) -> str:
        """A person (`u:...`, `a:...`) by the hash of the id."""
        return person if person.startswith(ITEM) else person[:2] + self.id(person[2:])

    def event(self, value: str) -> str:
        """An event's own id where it would tell something: one made of content can be found by trying."""
        return _MARK + self._hex("event", value)

    def number(self, kind: str, digits: str) -> str:
        """What stands for a number (16 hex digits), the same wherever the number is."""
        return self._hex(kind, digits)[:_SHORT]

    def _hex(self, kind: str, value: str) -> str:
        return hmac.digest(self._key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), "sha256").hex()[:_LENGTH]
