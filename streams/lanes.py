"""Many equal sets of bits side by side in one whole number: what is done to the number is done to each of them at once.

A **lane** is as many bits as one set is given; lane k begins at bit k * lane_bits. A set that is shifted within its lane must
have room there: see `spaced`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

#: Lanes that are worked on at a time: they should fit into the processor's cache.
PIECE_LANES = 2048

_DIGITS = bytes.maketrans(b"01", b"\0\1")


@lru_cache(maxsize=256)
def repeated(value: int, lane_bits: int, lanes: int = PIECE_LANES) -> int:
    """The same value in each lane."""
    return value * int.from_bytes((b"\1" + bytes(lane_bits // 8 - 1)) * lanes, "little")


def pieces(column: bytes, lane_bytes: int) -> Iterator[int]:
    """The lanes of a column, PIECE_LANES at a time."""
    step = PIECE_LANES * lane_bytes
    for start in range(0, len(column), step):
        yield int.from_bytes(column[start : start + step], "little")


def spaced(lanes: int, lane_bits: int) -> tuple[int, int]:
    """The same lanes with as much room above each: those with an even number, and those with an odd one."""
    every_other = repeated((1 << lane_bits) - 1, 2 * lane_bits, PIECE_LANES // 2)
    return lanes & every_other, lanes >> lane_bits & every_other


class LaneCounts:
    """How many of the lanes that were added have each bit set.

    Numbers of the same weight wait until there are three; a full adder makes two of them: their sum, and the carries, which
    weigh twice as much. So all bits of all lanes are counted at once, with some five operations for each number added.
    """

    __slots__ = ("_lane_bits", "_lanes", "_waiting")

    def __init__(self, lane_bits: int, lanes: int = PIECE_LANES) -> None:
        self._lane_bits = lane_bits
        self._lanes = lanes
        self._waiting: list[list[int]] = []

    def add(self, lanes: int, level: int = 0) -> None:
        """Counts the bits of each lane 2 ** level times more."""
        waiting = self._waiting
        while lanes:
            while level >= len(waiting):
                waiting.append([])
            row = waiting[level]
            if len(row) < 2:
                row.append(lanes)
                return
            one, two = row
            odd = one ^ two
            row[:] = (odd ^ lanes,)
            lanes = one & two | odd & lanes
            level += 1

    def by_position(self) -> list[int]:
        """The count of each bit of a lane."""
        slices, lanes = self._slices(), self._lanes
        while lanes > 1:  # the upper half of the lanes is added to the lower one
            lanes = (lanes + 1) // 2
            slices = _sums(slices, lanes * self._lane_bits)
        ones, found = self._lane_bits, [0] * self._lane_bits
        for low in range(0, len(slices), 8):  # eight slices at a time make a byte for each position
            total = 0
            for level, bits in enumerate(slices[low : low + 8]):
                total += int.from_bytes(f"{bits:0{ones}b}".encode().translate(_DIGITS), "big") << level
            for position, count in enumerate(total.to_bytes(ones, "little")):
                found[position] += count << low
        return found

    def _slices(self) -> list[int]:
        """Bit i of the counts of all lanes, for each i."""
        slices: list[int] = []
        carry = 0
        for row in self._waiting:
            one, two = (*row, 0, 0)[:2]
            odd = one ^ two
            slices.append(odd ^ carry)
            carry = one & two | odd & carry
        return [*slices, carry] if carry else slices


def _sums(slices: list[int], bits: int) -> list[int]:
    """The slices of the sums of those counts that lie below so many bits, and those above."""
    mask, carry, sums = (1 << bits) - 1, 0, []
    for both in slices:
        low, high = both & mask, both >> bits
        odd = low ^ high
        sums.append(odd ^ carry)
        carry = low & high | odd & carry
    return [*sums, carry] if carry else sums
