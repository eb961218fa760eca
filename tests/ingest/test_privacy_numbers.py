"""Which numbers are taken for somebody's ID card, phone or bank card, and which are not."""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.privacy import MaskStyle
from ingest.privacy.detectors import Detectors
from ingest.privacy.numbers import is_bank_card, is_id_card, is_old_id_card, luhn
from ingest.privacy.spelling import read

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
        # as people write them
        ("138-12345678", "********5678", "mobile"),
        ("138 12345678", "********5678", "mobile"),
        ("138.1234.5678", "*********5678", "mobile"),
        ("138+1234+5678", "*********5678", "mobile"),
        ("013812345678", "********5678", "mobile"),
        ("+86.138.1234.5678", "*************5678", "mobile"),
        ("138\u00a01234\u00a05678", "*********5678", "mobile"),
        ("138\u20111234\u20115678", "*********5678", "mobile"),
        ("1２ 110105 19491231 002X", "1２ ****************002X", "id_card"),
        ("110105-19491231-002x", "****************002x", "id_card"),
        ("110105 1949 1231 002X", "*****************002X", "id_card"),
        ("1101 0519 4912 3100 2X", "******************0 2X", "id_card"),
        ("110 105 19491231 002X", "*****************002X", "id_card"),
        ("110105\u00a019491231\u00a0002X", "****************002X", "id_card"),
        ("4111.1111.1111.1111", "***************1111", "bank_card"),
        ("1234567 13812345678", "1234567 *******5678", "mobile"),
        # full-width, as keyboards for Chinese give them
        ("电话：１３８１２３４５６７８", "电话：*******5678", "mobile"),
        ("１３８－１２３４－５６７８", "*********5678", "mobile"),
        ("１１０１０５１９４９１２３１００２Ｘ", "**************002X", "id_card"),
        ("６２２２０２１２３４５６７８９０１２８", "***************0128", "bank_card"),
        # in addresses, once and twice escaped, and JSON inside of JSON
        (
            "https://a.cn/?to=https%3A%2F%2Fb.cn%3Fphone%3D13812345678",
            "https://a.cn/?to=https%3A%2F%2Fb.cn%3Fphone%3D*******5678",
            "mobile",
        ),
        ("?phone=%2B8613812345678&x", "?phone=**********5678&x", "mobile"),
        ("?q=%22phone%22%3A%2213812345678%22", "?q=%22phone%22%3A%22*******5678%22", "mobile"),
        ("?r=%3Fq%3D%252213812345678%2522", "?r=%3Fq%3D%2522*******5678%2522", "mobile"),
        ("?q=138%201234%205678", "?q=*********5678", "mobile"),
        ("?q=%EF%BC%9138%ef%bc%91%EF%BC%92345678.", "?q=*******5678.", "mobile"),
        ("?q=%E5%8D%A1110105%2019491231%20002X", "?q=%E5%8D%A1****************002X", "id_card"),
        ("100%13812345678", "100%*******5678", "mobile"),
        ("100%2513812345678", "100%25*******5678", "mobile"),
        (r'{"a":"\u7535\u8bdd13812345678"}', r'{"a":"\u7535\u8bdd*******5678"}', "mobile"),
        (r'{"a":"\\\u8bdd\\\uff1138\u00a01234\u00a05678"}', r'{"a":"\\\u8bdd*********5678"}', "mobile"),
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
        # groups that are something else
        "150-20261122",  # a serial number and a day
        "166 20261122",
        "2026-138-12345678",
        "138-12345678-1",
        "1.3.6.138.1234.5678",  # an object's id
        "138.1234.5678.1",
        "138.12345678",  # a decimal number
        "138.0.7204.157",  # a browser's version
        "Chrome/138.0.7204.1570 Safari/537.36",
        "150.25 160.75 1381.23",
        "116.397428,39.909230 116.397428 39.909230",
        "20261122 103000 20261122 104500",
        "20261122-000-123",
        "110105 19491231 0021",  # the checksum
        "110105-19491231 002X",  # two kinds of separators
        "1101 0520 9912 3100 2X",
        "%13%81%23%45%67%8",
        "１３８００１３８００",
        r"\u1380\u0138\u0001",
        "0138001380001",
        "20260113800138000",
        "+1 (415) 555-2671",
        "10.13.138.12",
        "02:42:ac:12:00:02",
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


_PIECES = [
    *"0123456789 -+xX.abc手１９Ｘ－。“\u00a0\u200b\u3000%",
    *("138", "1234", "5678", "13812345678", "86", "110105", "19491231", "002X", "6222", "4111", "1111", "111"),
    *("%20", "%2B", "%25", "%22", "%E6%89%8B", "%EF%BC%91", "%252B", "%C2%A0", "\\u0031", "\\u624b", "\\\\u00a0", "\\uff11"),
]


@given(
    st.one_of(
        st.text(alphabet="0123456789 -+xX.abc手", max_size=60), st.lists(st.sampled_from(_PIECES), max_size=20).map("".join)
    )
)
@settings(max_examples=1500, deadline=None)
def test_the_cheap_question_never_misses_what_the_thorough_one_finds(text: str) -> None:
    masked(text)


@given(
    st.lists(st.sampled_from(["x", "%", "手", "３", "%E6%89%8B", "\\u624b", "%2B", "\\\\u00a0", "7"]), max_size=12).map("".join)
)
@settings(deadline=None)
def test_all_around_a_number_stays_to_the_letter(around: str) -> None:
    reading = read(around)
    assert [reading.place(0), reading.place(len(reading.text))] == [0, len(around)]
    assert masked(f"{around} {MOBILE},{around}")[0] == f"{around} *******8000,{around}"


def test_every_way_of_writing_an_unusual_character_is_seen_at_the_first_look() -> None:
    one = detectors()
    for char in "０９－．＋\u00a0\u2009\u200b\u2011\u2212\u3000":
        middle = char if char in "０９" else f"{char}1234{char}"
        number = f"138{middle}" + ("1234567" if char in "０９" else "5678")
        for text in (number, number.replace(char, quote(char)), number.replace(char, quote(quote(char)).lower())):
            assert masked(text)[1] == {"mobile"}
        escaped = json.dumps(number).encode()
        for data in (
            escaped,
            escaped.replace(b"\\u", b"\\\\u"),
            re.sub(rb"u[0-9a-f]{4}", lambda it: b"u" + it[0][1:].upper(), escaped),
        ):
            assert one.may_find(data)
            assert one.finds(data, YEAR)


def test_a_hostile_text_takes_no_longer_than_another_of_its_length() -> None:
    one = detectors()
    started = time.process_time()
    for piece in ("1 ", "138-", "%25", "+86", "1-1-1-1-a", "%EF", "\\", "138.1234.5678.", "２"):
        text = piece * (200_000 // len(piece)) + "x\\u0031"
        one.may_find(text.encode())
        one.mask(text, YEAR, set())
    assert time.process_time() - started < 10


def test_what_apps_send_every_day_has_no_such_numbers() -> None:
    rng = random.Random(11)
    for _ in range(3000):
        at = 1_795_312_800_000 + rng.randrange(10**10)
        when = datetime.fromtimestamp(at / 1000, UTC)
        event = {
            "time": at,
            "seconds": at // 1000,
            "iso": when.isoformat(),
            "day": f"{when:%Y%m%d}",
            "stamp": f"{when:%Y%m%d%H%M%S}",
            "amount": round(rng.random() * 10 ** rng.randrange(8), 2),
            "price": f"{rng.randrange(10**6)}.{rng.randrange(100):02d}",
            "order": f"{when:%Y%m%d}-{rng.randrange(10**4):04d}-{rng.randrange(10**6)}",
            "serial": f"{rng.randrange(100, 200)}-{when:%Y%m%d}",
            "version": f"{rng.randrange(200)}.{rng.randrange(9)}.{rng.randrange(9999)}.{rng.randrange(9999)}",
            "place": f"{rng.uniform(73, 135):.6f},{rng.uniform(18, 53):.6f}",
            "screen": f"{rng.randrange(320, 4000)}x{rng.randrange(320, 4000)}",
            "uuid": str(uuid.UUID(int=rng.getrandbits(128))),
            "url": f"https://a.cn/p/{rng.randrange(10**6)}?from=%E8%BD%AC%E8%B4%A6&t={at}&s={quote(f'{when:%H:%M:%S}')}",
            "agent": f"Android 1{rng.randrange(6)} Chrome/{rng.randrange(100, 199)}.0.{rng.randrange(9999)}.99",
        }
        for value in event.values():
            assert masked(str(value)) == (str(value), set())
