"""Which numbers are taken for somebody's ID card, phone or bank card, and which are not."""

from __future__ import annotations

import json
import random
import uuid
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.privacy import MaskStyle
from ingest.privacy.detectors import Detectors
from ingest.privacy.numbers import is_bank_card, is_id_card, is_old_id_card, luhn

YEAR = 2026
ID_CARD = "11010519491231002X"  # the example of the standard, GB 11643-1999
MOBILE = "13800138000"
CARD = "6222021234567890128"


def detectors(style: MaskStyle = "mask", *more: str) -> Detectors:
    kinds = ("id_card", "mobile", "bank_card", *more)
    return Detectors(kinds, style, lambda kind, digits: f"<{kind}{len(digits)}>")  # type: ignore[arg-type]


def masked(text: str, *more: str) -> tuple[str, set[str]]:
    """What is left, and what was found; the cheap questions before must agree."""
    one = detectors("mask", *more)
    found: set[str] = set()
    left = one.mask(text, YEAR, found)
    for written in (json.dumps({"a": text}), json.dumps({"a": text}, ensure_ascii=False)):
        data = written.encode()
        assert one.finds(data, YEAR) is (left != text), text
        assert one.may_find(data) or left == text, text
    return left, found


def with_check_digit(first: str) -> str:
    """Luhn's, the other way round: the digit for which the sum comes out."""
    return next(first + str(digit) for digit in range(10) if luhn(first + str(digit)))


@pytest.mark.parametrize(
    ("text", "left", "kind"),
    [
        (ID_CARD, "**************002X", "id_card"),
        (ID_CARD.lower(), "**************002x", "id_card"),
        (f"身份证{ID_CARD}号", "身份证**************002X号", "id_card"),
        (MOBILE, "*******8000", "mobile"),
        ("+86 13800138000", "***********8000", "mobile"),
        ("+8613800138000", "**********8000", "mobile"),
        ("8613800138000", "*********8000", "mobile"),
        ("008613800138000", "***********8000", "mobile"),
        ("86-13800138000", "**********8000", "mobile"),
        ("138 0013 8000", "*********8000", "mobile"),
        ("138-0013-8000", "*********8000", "mobile"),
        ("tel13800138000", "tel*******8000", "mobile"),
        ("手机13800138000，谢谢", "手机*******8000，谢谢", "mobile"),
        ("https://bank.example/?phone=13800138000&x=1", "https://bank.example/?phone=*******8000&x=1", "mobile"),
        (CARD, "***************0128", "bank_card"),
        ("4111 1111 1111 1111", "***************1111", "bank_card"),
        ("5555555555554444", "************4444", "bank_card"),
        ("378282246310005", "***********0005", "bank_card"),
    ],
)
def test_numbers_of_persons_are_masked_but_for_their_last_four(text: str, left: str, kind: str) -> None:
    assert masked(text) == (left, {kind})


@pytest.mark.parametrize(
    "text",
    [
        "1795312800123",  # a time in milliseconds
        "1795312800",  # in seconds
        "20261122123456789012",  # an order number that begins with its day
        "202611221234567890",  # of 18 digits
        "110105194912310021",  # an ID card but for its checksum
        "110105194913310024",  # a 13th month
        "990105194912310023",  # no such region
        "11010520991231002X",  # not born yet
        "12800138000",  # 12 begins no mobile number
        "138001380001",  # 12 digits
        "913800138000",  # 12 digits, a mobile number's behind
        "1380013800",
        "6222021234567890129",  # Luhn's checksum is wrong
        "7992739871300000009",  # no bank's prefix
        "4200001234202611229876543210",  # 28 digits
        "0.13800138000123",
        "9361fccb-f967-4e35-aa40-13800138000a",  # a UUID
        "9361fccb-f967-4e35-aa40-138001380001",
        "da39a3ee5e6b13800138000bef95601890afd807",  # a hash
        "trace-4f13800138000",
        "1a201cda49b57e-0e5447a34acc61-11543b4c-480000-1a201cda49b583",
        "987654321",  # a track id
        "010-88888888",  # a landline
        "2026-11-22 10:00:00.123456",
        "",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert masked(text) == (text, set())


def test_the_old_form_of_id_cards_only_if_it_is_asked_for() -> None:
    assert is_old_id_card("110105491231002")
    assert not is_old_id_card("110105491331002")
    assert masked("110105491231002") == ("110105491231002", set())
    assert masked("110105491231002", "id_card_15") == ("***********1002", {"id_card_15"})


def test_styles() -> None:
    text = f"{MOBILE} and 138-0013-8000, {CARD}."
    found: set[str] = set()
    assert detectors("drop").mask(text, YEAR, found) == "[mobile] and [mobile], [bank_card]."
    assert detectors("hash").mask(text, YEAR, found) == "[mobile:<mobile11>] and [mobile:<mobile11>], [bank_card:<bank_card19>]."
    assert found == {"mobile", "bank_card"}


def test_checksums_against_numbers_that_are_known_to_be_good() -> None:
    for good in (ID_CARD, "34052419800101001X", "53010219200508011X"):
        assert is_id_card(good, YEAR)
        wrong = [good[:17] + check for check in "0123456789X" if check != good[17]]
        assert not any(is_id_card(one, YEAR) for one in wrong)
    for good in ("4111111111111111", "5555555555554444", "2223003122003222", "3530111333300000", "6250941006528599"):
        assert is_bank_card(good)


@given(st.integers(0, 10**10 - 1), st.text("0123456789", min_size=9, max_size=12))
@settings(max_examples=300, deadline=None)
def test_every_card_with_its_check_digit_is_found_and_no_other(number: int, account: str) -> None:
    card = with_check_digit("622202" + account)
    assert masked(card)[1] == {"bank_card"}
    wrong = card[:-1] + str((int(card[-1]) + 1 + number % 9) % 10)
    assert "bank_card" not in masked(wrong)[1]
    mobile = f"1{3 + number % 7}{number % 10**9:09d}"
    assert masked(f"电话 {mobile}.")[1] == {"mobile"}


def test_of_random_numbers_of_eighteen_digits_hardly_any_is_taken_for_an_id_card() -> None:
    rng = random.Random(7)
    taken = sum(is_id_card(f"{rng.randrange(10**17, 10**18)}", YEAR) for _ in range(50_000))
    assert taken < 15
    # order numbers that begin with a day, as most do
    day = date(2020, 1, 1)
    orders = [f"{day + timedelta(days=one % 3000):%Y%m%d}{rng.randrange(10**10):010d}" for one in range(4_000)]
    assert not any(masked(one)[1] for one in orders)
    ids = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(1000)]
    assert not any(masked(one)[1] for one in ids)


@given(st.text(alphabet="0123456789 -+xX.abc手", max_size=60))
@settings(max_examples=500, deadline=None)
def test_the_cheap_question_never_misses_what_the_thorough_one_finds(text: str) -> None:
    masked(text)
