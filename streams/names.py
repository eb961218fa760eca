"""Small numbers for the names of scopes and facets, so that records stay small.

A partition's names only ever grow; they are kept in its state (streams.codec) beside the records that use them, so a plan that
gains an app or a facet does not change what old records say.
"""

from __future__ import annotations


class Names:
    """Name <-> number, first come first numbered. Number 0 is always ""."""

    __slots__ = ("_numbers", "_texts")

    def __init__(self, texts: list[str] | None = None) -> None:
        self._texts: list[str] = list(texts) if texts else [""]
        self._numbers = {text: number for number, text in enumerate(self._texts)}

    def number(self, text: str) -> int:
        """The number of a name; a new name gets the next one."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number

    def text(self, number: int) -> str:
        """The name of a number."""
        return self._texts[number]

    def all(self) -> list[str]:
        """All names by number."""
        return list(self._texts)

    def __len__(self) -> int:
        return len(self._texts)
