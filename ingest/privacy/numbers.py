"""Numbers that say who somebody is: Chinese ID cards, mobile phones, bank cards. By their form, their checksums, their ranges."""

from __future__ import annotations

from datetime import date

#: The first two digits of an ID card: provinces, and what stands for Taiwan, Hong Kong, Macau and permanent residents.
_REGIONS = frozenset(
    map(
        str,
        (*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83, 91),
    )
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
_FIRST_YEAR = 1900

#: Prefixes of bank cards and how many digits such a card has. UnionPay's, those that Chinese banks issued before it, and the
#: international ones.
_CARDS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("62", (16, 17, 18, 19)),
    *((prefix, (19,)) for prefix in ("955880", "955881", "955882", "955888", "436742", "456351", "601382")),
    *((prefix, (19,)) for prefix in ("95595", "95596", "95597", "95598", "95599")),
    ("601428", (17,)),
    ("4", (16,)),
    *((prefix, (16,)) for prefix in ("51", "52", "53", "54", "55")),
    *((str(prefix), (16,)) for prefix in range(223, 272)),
    ("2720", (16,)),
    *((f"222{digit}", (16,)) for digit in range(1, 10)),
    ("34", (15,)),
    ("37", (15,)),
    *((f"352{digit}", (16,)) for digit in (8, 9)),
    *((str(prefix), (16,)) for prefix in range(353, 359)),
)
_PREFIXES: dict[int, tuple[str, ...]] = {
    length: tuple(prefix for prefix, lengths in _CARDS if length in lengths) for length in range(15, 20)
}


def is_id_card(text: str, year: int) -> bool:
    """An ID card of 18 characters: a region, a birthday up to the end of `year`, the checksum of ISO 7064 mod 11-2."""
    if len(text) != 18 or text[:2] not in _REGIONS or not _is_birthday(text[6:10], text[10:14], year):
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, text, strict=False))
    return _CHECKS[total % 11] == text[17].upper()


def is_old_id_card(text: str) -> bool:
    """An ID card of 15 digits, as issued until 1999: a region and a birthday; it has no checksum."""
    return len(text) == 15 and text[:2] in _REGIONS and _is_birthday(f"19{text[6:8]}", text[8:12], 1999)


def is_bank_card(digits: str) -> bool:
    """A bank card: a known prefix, the length that goes with it, and Luhn's checksum."""
    return digits.startswith(_PREFIXES.get(len(digits), ())) and luhn(digits)


def luhn(digits: str) -> bool:
    """Luhn's checksum (ISO/IEC 7812)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        if place % 2:
            value = value * 2 - (9 if value > 4 else 0)
        total += value
    return total % 10 == 0


def _is_birthday(year: str, month_day: str, latest: int) -> bool:
    if not _FIRST_YEAR <= int(year) <= latest:
        return False
    try:
        date(int(year), int(month_day[:2]), int(month_day[2:]))
    except ValueError:
        return False
    return True
