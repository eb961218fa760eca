"""Sets of days or hours as whole numbers: bit k stands for the one k before the newest (the anchor).

Adding a newer one shifts; what leaves the mask is older than the horizon and forgotten. Join is `|` at a common anchor, so it
is commutative, associative and idempotent.
"""

from __future__ import annotations

from collections.abc import Iterator

#: How far a trailing window reaches beyond the day that it counts: windows end up to 29 days after it.
REACH = 29


def each(bits: int) -> Iterator[int]:
    """The positions of the bits that are set, lowest first."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def cover_7(bits: int) -> int:
    """The trailing 7-day windows that hold at least one of the days.

    Bit k of the result stands for the window that ends REACH - k days after the anchor (it may end after the newest day).
    """
    bits <<= REACH
    bits |= bits >> 1
    bits |= bits >> 2
    return bits | bits >> 3


def cover_30(bits: int) -> int:
    """The trailing 30-day windows that hold at least one of the days; bits as in `cover_7`."""
    bits <<= REACH
    bits |= bits >> 1
    bits |= bits >> 2
    bits |= bits >> 4
    bits |= bits >> 8
    return bits | bits >> 14


class BitCounts:
    """How many of the numbers that were added have each bit set.

    The counts are kept sliced: slices[i] holds bit i of all counts at once, so that adding a number is a ripple-carry over a
    few whole numbers (two on average), however many bits it has.
    """

    __slots__ = ("_slices",)

    def __init__(self) -> None:
        self._slices: list[int] = []

    def add(self, bits: int) -> None:
        """Counts each set bit once more."""
        slices = self._slices
        for index, counted in enumerate(slices):
            if not bits:
                return
            slices[index] = counted ^ bits
            bits &= counted
        if bits:
            slices.append(bits)

    def merge(self, other: BitCounts) -> None:
        """Counts all that another has counted."""
        for level, counted in enumerate(other._slices):
            if level < len(self._slices):
                self._add_at(level, counted)
            else:
                self._slices.append(counted)

    def _add_at(self, level: int, bits: int) -> None:
        slices = self._slices
        for index in range(level, len(slices)):
            slices[index], bits = slices[index] ^ bits, slices[index] & bits
            if not bits:
                return
        slices.append(bits)

    def items(self) -> Iterator[tuple[int, int]]:
        """(position, count) of each bit that was set in any number."""
        any_bits = 0
        for counted in self._slices:
            any_bits |= counted
        for position in each(any_bits):
            yield position, sum((counted >> position & 1) << index for index, counted in enumerate(self._slices))


class Tally:
    """Changes of counts by bit: so many more, so many fewer."""

    __slots__ = ("_less", "_more")

    def __init__(self) -> None:
        self._more = BitCounts()
        self._less = BitCounts()

    def change(self, was: int, now: int) -> None:
        """What was counted as `was` counts as `now`."""
        if now & ~was:
            self._more.add(now & ~was)
        if was & ~now:
            self._less.add(was & ~now)

    def merge(self, other: Tally) -> None:
        """Takes over the changes of another."""
        self._more.merge(other._more)
        self._less.merge(other._less)

    def items(self) -> Iterator[tuple[int, int]]:
        """(position, difference) of each bit that changed."""
        yield from self._more.items()
        for position, count in self._less.items():
            yield position, -count
