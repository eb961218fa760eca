"""Rewrites JSON by what it holds: members are left out, strings and numbers replaced; all else stays to the letter.

Objects are decoded level by level and their values passed on as texts, so that numbers keep their digits and members their order.
"""

from __future__ import annotations

import re
from typing import Protocol

import msgspec

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_NUMBER = b"-0123456789"
#: A whole number, also one that was a float.
WHOLE_NUMBER = re.compile(r"(?P<sign>-?)(?P<digits>[0-9]+)(?:\.0+)?")


class Change(Protocol):
    """What is done with what is met. `name` is the name of the member that a value is, or is inside of."""

    def leaves_out(self, name: str, top: bool) -> bool:
        """Whether a member goes; `top`: it is one of the document's own."""

    def name(self, name: str) -> str:
        """A member's new name, or the same."""

    def text(self, value: str, name: str) -> str | None:
        """A string's new value, or the same; None for null."""

    def number(self, value: str, name: str) -> str | None:
        """What stands for a number, as a string; None where it stays."""


def rewrite(raw: bytes, change: Change) -> bytes:
    """A JSON text, changed. The text must be good JSON; raises what msgspec raises otherwise."""
    return _rewrite(raw.strip(), change, "", True)


def _rewrite(raw: bytes, change: Change, name: str, top: bool) -> bytes:
    first = raw[:1]
    if first == b"{":
        members: dict[str, msgspec.Raw] = {}
        for key, value in _object(raw).items():
            if not change.leaves_out(key, top):
                members[change.name(key)] = msgspec.Raw(_rewrite(bytes(value), change, key, False))
        return _encode(members)
    if first == b"[":
        return _encode([msgspec.Raw(_rewrite(bytes(value), change, name, False)) for value in _array(raw)])
    if first == b'"':
        text = _string(raw)
        changed = change.text(text, name)
        return raw if changed == text else _encode(changed)
    if first in _NUMBER:
        replaced = change.number(raw.decode(), name)
        return raw if replaced is None else _encode(replaced)
    return raw
