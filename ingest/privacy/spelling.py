"""Texts as a reader takes them: full-width digits and odd blanks as plain ones, URLs' and JSON's escapes as what they stand for.

SDKs put whole addresses into `$url` and `$referrer` by themselves, in which a number stands between escapes: `%2213800138000%22`,
or escaped twice where one address is a parameter of another.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

#: Characters that people and keyboards write in a plain one's place.
_PLAIN = {
    **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
    **dict.fromkeys(map(chr, (0xA0, *range(0x2002, 0x200C), 0x202F, 0x3000)), " "),
    **dict.fromkeys(map(chr, (*range(0x2010, 0x2016), 0x2212, 0xFF0D)), "-"),
    "\uff0b": "+",
    "\uff0e": ".",
    "\uff38": "X",
    "\uff58": "x",
}
_UNUSUAL = re.compile(f"[{''.join(map(re.escape, _PLAIN))}]")
#: The same in UTF-8.
_UNUSUAL_BYTES = re.compile(
    rb"\xef\xbc[\x8b\x8d\x8e\x90-\x99\xb8]|\xef\xbd\x98|\xc2\xa0|\xe2\x80[\x82-\x8b\x90-\x95\xaf]|\xe2\x88\x92|\xe3\x80\x80"
)

#: What URLs escape: no letters and no digits, so that "13 %13800138000" stays a number; `%25` is a % that was escaped once more.
_BYTE = r"%(?:25)*(?:0[9AaDd]|2[0-9A-Fa-f]|3[A-Fa-f]|40|[57][B-Fb-f]|60)"
_LEAD, _NEXT = r"%(?:25)*[C-Fc-f][0-9A-Fa-f]", r"%(?:25)*[89ABab][0-9A-Fa-f]"
#: One escape; JSON inside of JSON gives it more backslashes.
_ESCAPE = re.compile(rf"{_LEAD}(?:{_NEXT})+|{_NEXT}|{_BYTE}|(?<!\\)\\++u[0-9A-Fa-f]{{4}}")
#: The same quickly. What they begin with is what the engine skips to: keep the two apart.
_IN_URLS = re.compile(rb"%(?:25)*(?:0[9AaDd]|2[0-9A-Fa-f]|3[A-Fa-f]|40|[57][B-Fb-f]|60|[89A-Fa-f][0-9A-Fa-f])")
_IN_JSON = re.compile(rb"\\u[0-9A-Fa-f]{4}")
#: Escapes that may stand for a part of a number: digits, and what is between them.
_TELLING_URLS = re.compile(
    rb"%(?:25)*(?i:EF%(?:25)*(?:BC%(?:25)*(?:8[BDE]|9[0-9]|B8)|BD%(?:25)*98)|C2%(?:25)*A0|E3%(?:25)*80%(?:25)*80"
    rb"|E2%(?:25)*(?:80%(?:25)*(?:8[2-9AB]|9[0-5]|AF)|88%(?:25)*92))"
)
_TELLING_JSON = re.compile(
    rb"\\u(?i:ff(?:0[bde]|1[0-9]|[35]8)|00(?:2[0bde]|3[0-9]|a0)|20(?:0[2-9ab]|1[0-5]|2f)|2212|3000)",
)
_OTHER = "/"
_PARTS = frozenset("0123456789+-. Xx")


class Reading(NamedTuple):
    """A text as it is read, and where each of its characters begins in the text as it was written; None for the same places."""

    text: str
    places: list[int] | None

    def place(self, at: int) -> int:
        """Where a place of what is read is in what was written."""
        return at if self.places is None else self.places[at]


def read(text: str) -> Reading:
    """The reading of a text, which may be JSON. Characters that are no part of a number may come out as another."""
    if not text.isascii():
        text = _UNUSUAL.sub(_plain, text)
    if "%" not in text and "\\u" not in text:
        return Reading(text, None)
    parts: list[str] = []
    places: list[int] = []
    done = 0
    for escape in _ESCAPE.finditer(text):
        start = escape.start()
        parts += (text[done:start], _meaning(escape[0]))
        places.extend(range(done, start + 1))
        done = escape.end()
    if not parts:
        return Reading(text, None)
    parts.append(text[done:])
    places.extend(range(done, len(text) + 1))
    return Reading("".join(parts), places)


def roughly(data: bytes) -> bytes:
    """A text as it is read, in UTF-8, so far as runs of digits and what is between them go: quickly."""
    in_urls, in_json = b"%" in data, b"\\" in data
    if (in_urls and _TELLING_URLS.search(data)) or (in_json and _TELLING_JSON.search(data)):
        return read(data.decode("utf-8", "replace")).text.encode("utf-8", "replace")
    if in_urls:
        data = _IN_URLS.sub(b" ", data)
    if in_json:
        data = _IN_JSON.sub(b" ", data)
    if not data.isascii() and (b"\xef" in data or b"\xe2" in data or b"\xc2" in data or b"\xe3" in data):  # their first bytes
        data = _UNUSUAL_BYTES.sub(_plain_bytes, data)
    return data


def _plain(match: re.Match[str]) -> str:
    return _PLAIN[match[0]]


def _plain_bytes(match: re.Match[bytes]) -> bytes:
    return _PLAIN[match[0].decode()].encode()


@lru_cache(4096)
def _meaning(escape: str) -> str:
    """The one character that an escape stands for, where it may be a part of a number."""
    if escape[0] == "\\":
        char = chr(int(escape[-4:], 16))
    else:
        char = bytes(int(one[-2:], 16) for one in escape.split("%")[1:]).decode("utf-8", "replace")
    char = _PLAIN.get(char, char)
    return char if char in _PARTS else _OTHER
