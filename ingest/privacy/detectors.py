"""Finds numbers that say who somebody is in texts, and leaves of each what the mask style says.

Most events have none, so that question comes first, and costs a few microseconds for a kilobyte: digits of any value become one
byte, and the shapes that such numbers have are looked for in that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from ingest.contract.privacy import Detector, MaskStyle
from ingest.privacy.numbers import is_bank_card, is_id_card, is_old_id_card
from ingest.privacy.spelling import read, roughly

#: Says what stands for a number of which nothing may be kept but that it is the same one: (kind, digits) -> text.
NumberHash = Callable[[str, str], str]

_SHAPES = bytes(0x30 if chr(one) in "0123456789" else 0x20 for one in range(256))
_ELEVEN = b" 00000000000 "
_FIFTEEN = b"0" * 15
_GROUPS = b" 0000 0000 "
_EIGHT = b" 00000000 "
_BESIDE_EIGHT = re.compile(rb" 000 00000000 | 00000000 000")
_COUNTRY = b"861"
_WITH_COUNTRY = re.compile(rb"861[3-9][0-9]{9}(?![0-9])")
_WITH_TRUNK = re.compile(rb"01[3-9][0-9]{9}(?![0-9])")

#: Where candidates may be: digits, with single separators between them. `+` is how forms write a blank.
_RUN = re.compile(r"\+?[0-9](?:[0-9]|[ .+-](?=[0-9])){10,}+[Xx]?")
_START = re.compile(r"(?<![0-9])[0-9]|\+(?=86)")
_MOBILE = re.compile(
    r"(?:(?:\+|00?)?86[ .+-]?|0)?1[3-9][0-9]"
    r"(?:(?P<gap>[ .+-]?)[0-9]{4}(?P=gap)[0-9]{4}|(?P<one>[ -])(?P<eight>[0-9]{8}))(?![0-9])"
)
_LONG = re.compile(r"[0-9]{15,19}(?![0-9])")
_ID_CARD = re.compile(
    r"(?:[0-9]{17}|[0-9]{3}[ .+-]?[0-9]{3}[ .+-][0-9]{4}[ .+-]?[0-9]{4}[ .+-][0-9]{3}|(?:[0-9]{4}[ .+-]){4}[0-9])"
    r"[0-9Xx](?![0-9])"
)
_CARD = re.compile(r"[0-9]{4}(?P<gap>[ .+-])[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}(?:(?P=gap)[0-9]{1,3})?(?![0-9])")
_SEPARATORS = frozenset(" .+-")
#: Eight digits that are rather a day than the rest of a phone number: 150-20261122.
_DAY = re.compile(r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BEFORE = re.compile(r"[0-9A-Za-z]*\Z")
_AFTER = re.compile(r"[0-9A-Za-z]*")
_AROUND = 64
#: Characters that a number has at least: most texts and names have less.
_SHORTEST = 11
_KEPT = 4


class Detectors:
    """The detectors that are asked for, and what is left of what they find."""

    def __init__(self, kinds: Iterable[Detector], style: MaskStyle, number_hash: NumberHash) -> None:
        self._kinds = frozenset(kinds)
        self._style = style
        self._hash = number_hash

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def may_find(self, data: bytes) -> bool:
        """Whether JSON (or any text) has digits in the shape of such a number. Cheap, and says yes too often rather than no."""
        data = roughly(data)
        shape = data.translate(_SHAPES)
        if _FIFTEEN in shape or _ELEVEN in shape or _GROUPS in shape:
            return True
        if _EIGHT in shape and _BESIDE_EIGHT.search(shape):
            return True
        if _COUNTRY in data and _WITH_COUNTRY.search(data):
            return True
        return _WITH_TRUNK.search(data) is not None

    def finds(self, data: bytes, year: int) -> bool:
        """Whether JSON has such a number, in whatever place. `year`: the newest birthdays that there can be."""
        return any(self._found(read(data.decode("utf-8", "replace")).text, year))

    def mask(self, text: str, year: int, found: set[str]) -> str:
        """The text with all such numbers masked; their kinds are added to `found`."""
        if len(text) < _SHORTEST:
            return text
        reading = read(text)
        left: list[str] = []
        done = 0
        for kind, start, end in self._found(reading.text, year):
            found.add(kind)
            left += (text[done : reading.place(start)], self._left_of(kind, reading.text[start:end]))
            done = reading.place(end)
        return "".join((*left, text[done:])) if left else text

    def _left_of(self, kind: str, number: str) -> str:
        if self._style == "drop":
            return f"[{kind}]"
        if self._style == "hash":
            return f"[{kind}:{self._hash(kind, _bare(kind, number))}]"
        return "*" * (len(number) - _KEPT) + number[-_KEPT:]

    def _found(self, text: str, year: int) -> Iterator[tuple[str, int, int]]:
        """(kind, start, end) of each number, from left to right."""
        for run in _RUN.finditer(text):
            at = run.start()
            while start := _START.search(text, at, run.end()):
                kind, end = self._at(text, start.start(), year)
                if kind and not _in_token(text, start.start(), end):
                    yield kind, start.start(), end
                    at = end
                else:
                    at = start.end()

    def _at(self, text: str, start: int, year: int) -> tuple[str, int]:
        """(kind, end) of the number that begins at a place; ("", 0) for none."""
        kinds = self._kinds
        if "mobile" in kinds and (match := _MOBILE.match(text, start)) and _is_mobile(match, text):
            return "mobile", match.end()
        if "id_card" in kinds and (match := _ID_CARD.match(text, start)) and is_id_card(_joined(match[0]), year):
            return "id_card", match.end()
        long = _LONG.match(text, start)
        if "bank_card" in kinds and (match := long or _CARD.match(text, start)) and is_bank_card(_joined(match[0])):
            return "bank_card", match.end()
        if "id_card_15" in kinds and long and is_old_id_card(long[0]):
            return "id_card_15", long.end()
        return "", 0


def _is_mobile(match: re.Match[str], text: str) -> bool:
    """Whether groups of digits are a phone number: a blank or a hyphen is often one's, others and other groups are also a day's
    (150-20261122) or a version's, and of those that go on there is always more."""
    gap = match["gap"] or match["one"]
    if not gap or (match["gap"] and gap in " -"):
        return True
    if match["eight"] and _DAY.fullmatch(match["eight"]):
        return False
    start, end = match.span()
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return not ((before[1:] == gap and before[0].isdigit()) or (after[:1] == gap and after[1:].isdigit()))


def _joined(number: str) -> str:
    """Digits without what separates them; "" where that is not the same everywhere."""
    if number.isalnum():
        return number
    one = next(filter(_SEPARATORS.__contains__, number))
    joined = number.replace(one, "")
    return joined if joined.isalnum() else ""


def _bare(kind: str, number: str) -> str:
    """The number however it was written, so that its hash is the same."""
    digits = "".join(one for one in number.upper() if one in "0123456789X")
    return digits[-11:] if kind == "mobile" else digits


def _in_token(text: str, start: int, end: int) -> bool:
    """Whether digits are a part of something longer: a UUID, a hash, an id in letters and digits."""
    low, high = max(0, start - _AROUND), end + _AROUND
    before, after = _BEFORE.search(text, low, start), _AFTER.match(text, end, high)
    beside = (before[0] if before else "") + (after[0] if after else "")
    if any(one.isdigit() for one in beside):
        return True
    return any(one.start() <= start and end <= one.end() for one in _UUID.finditer(text, low, high))
