"""Finds numbers that say who somebody is in texts, and leaves of each what the mask style says.

Most events have none, so that question comes first, and costs about a microsecond for a kilobyte: digits of any value become one
byte, and the shapes that such numbers have are looked for in that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from ingest.contract.privacy import Detector, MaskStyle
from ingest.privacy.numbers import is_bank_card, is_id_card, is_old_id_card

#: Says what stands for a number of which nothing may be kept but that it is the same one: (kind, digits) -> text.
NumberHash = Callable[[str, str], str]

_SHAPES = bytes(0x30 if chr(one) in "0123456789" else 0x20 for one in range(256))
_ELEVEN = b" 00000000000 "
_FIFTEEN = b"0" * 15
_GROUPS = b" 0000 0000 "
#: Escapes in JSON's strings end in hex digits: what follows them would seem to go on a run of digits.
_ESCAPES = re.compile(rb"\\\\|\\u[0-9a-fA-F]{4}")
_COUNTRY = b"861"
_WITH_COUNTRY = re.compile(rb"(?<![0-9])861[3-9][0-9]{9}(?![0-9])")

#: Where candidates may be: digits, with single spaces or hyphens between them.
_RUN = re.compile(r"\+?[0-9](?:[0-9]|[ -](?=[0-9])){10,}+[Xx]?")
_CANDIDATE = re.compile(
    r"(?<![0-9])(?:"
    r"(?P<mobile>(?:(?:\+|00)?86[ -]?)?1[3-9][0-9](?P<gap>[ -]?)[0-9]{4}(?P=gap)[0-9]{4})"
    r"|(?P<long>[0-9]{15,19})(?P<x>[Xx]?)"
    r"|(?P<card>[0-9]{4}(?P<space>[ -])[0-9]{4}(?P=space)[0-9]{4}(?P=space)[0-9]{4}(?:(?P=space)[0-9]{1,3})?)"
    r")(?![0-9])"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BEFORE = re.compile(r"[0-9A-Za-z]*\Z")
_AFTER = re.compile(r"[0-9A-Za-z]*")
_AROUND = 64
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
        if b"\\" in data:
            data = _ESCAPES.sub(b"    ", data)
        shape = data.translate(_SHAPES)
        if _FIFTEEN in shape or _ELEVEN in shape or _GROUPS in shape:
            return True
        return _COUNTRY in data and _WITH_COUNTRY.search(data) is not None

    def finds(self, data: bytes, year: int) -> bool:
        """Whether JSON has such a number, in whatever place. `year`: the newest birthdays that there can be."""
        text = _ESCAPES.sub(b"    ", data).decode("utf-8", "replace")
        return any(self._kind(one, text, year) for one in _candidates(text))

    def mask(self, text: str, year: int, found: set[str]) -> str:
        """The text with all such numbers masked; their kinds are added to `found`."""

        left: list[str] = []
        done = 0
        for match in _candidates(text):
            kind = self._kind(match, text, year)
            if kind:
                found.add(kind)
                number = self._number(match, kind)
                left += (text[done : match.start()], self._left_of(kind, number))
                done = match.start() + len(number)
        return "".join((*left, text[done:])) if left else text

    def _left_of(self, kind: str, number: str) -> str:
        if self._style == "drop":
            return f"[{kind}]"
        if self._style == "hash":
            return f"[{kind}:{self._hash(kind, _bare(kind, number))}]"
        return "*" * (len(number) - _KEPT) + number[-_KEPT:]

    def _kind(self, match: re.Match[str], text: str, year: int) -> str:
        """What a candidate is; "" for nothing of that kind."""
        kind = self._checked(match, year)
        return "" if kind and _in_token(text, match.start(), match.end()) else kind

    def _checked(self, match: re.Match[str], year: int) -> str:
        kinds = self._kinds
        if match["mobile"]:
            return "mobile" if "mobile" in kinds else ""
        long = match["long"]
        if long:
            if "id_card" in kinds and is_id_card(long + match["x"] if len(long) == 17 else long, year):
                return "id_card"
            if "bank_card" in kinds and is_bank_card(long):
                return "bank_card"
            return "id_card_15" if "id_card_15" in kinds and is_old_id_card(long) else ""
        card = match["card"]
        return "bank_card" if "bank_card" in kinds and is_bank_card(card.replace(match["space"], "")) else ""

    @staticmethod
    def _number(match: re.Match[str], kind: str) -> str:
        """The number of a candidate: an X behind it belongs to an ID card of 17 digits only."""
        if match["x"] and not (kind == "id_card" and len(match["long"]) == 17):
            return match[0][:-1]
        return match[0]


def _candidates(text: str) -> Iterator[re.Match[str]]:
    for run in _RUN.finditer(text):
        yield from _CANDIDATE.finditer(text, run.start(), run.end())


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
