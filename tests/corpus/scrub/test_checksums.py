"""IBANs and cards: every valid one is found in each of its written forms, and one wrong digit makes it none."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.corpus.scrub import find
from seedbed.corpus.scrub.money import IBAN_LENGTHS, has_iban_checksum, has_luhn_checksum, is_card_number

# From the IBAN Registry: the examples of their countries.
REGISTRY = [
    "DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606", "NO9386011117947",
    "MT84MALT011000012345MTLCAST001S", "CH9300762011623852957", "NL91ABNA0417164300", "SA0380000000608010167519",
]  # fmt: skip
# Numbers that issuers publish for testing.
CARDS = [
    "4242424242424242", "5555555555554444", "2223003122003222", "378282246310005", "6011111111111117", "30569309025904",
    "3530111333300000", "6200000000000005",
]  # fmt: skip


def found(text: str, kind: str) -> list[str]:
    return [text[place.start : place.end] for name, place in find(text) if name == kind]


def in_fours(number: str) -> str:
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def as_on_card(digits: str, separator: str) -> str:
    sizes = {14: (4, 6, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4), 19: (4, 4, 4, 4, 3)}[len(digits)]
    ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return separator.join(digits[a:b] for a, b in pairwise(ends))


@st.composite
def ibans(draw: st.DrawFn) -> str:
    country = draw(st.sampled_from(sorted(IBAN_LENGTHS)))
    size = IBAN_LENGTHS[country] - 4
    account = draw(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=size, max_size=size))
    number = "".join(str(int(character, 36)) for character in account + country + "00")
    return f"{country}{98 - int(number) % 97:02}{account}"


@pytest.mark.parametrize("account", REGISTRY)
def test_the_registrys_examples_are_found(account: str) -> None:
    assert found(f"IBAN: {account}.", "iban") == [account]
    assert found(f"pay to {in_fours(account)}, please", "iban") == [in_fours(account)]


@given(ibans(), st.integers(4, 14), st.integers(1, 9))
def test_an_iban_is_found_and_with_one_other_digit_is_none(account: str, place: int, shift: int) -> None:
    assert found(f"to {account} by", "iban") == [account]
    assert found(in_fours(account), "iban") == [in_fours(account)]
    if account[place].isdigit():
        wrong = account[:place] + str((int(account[place]) + shift) % 10) + account[place + 1 :]
        assert not has_iban_checksum(wrong)
        assert found(f"to {wrong} by", "iban") == []


@pytest.mark.parametrize(
    "text",
    [
        "DE89370400440532013000X",  # longer than Germany's
        "XDE89370400440532013000",
        "de89370400440532013000",
        "DE89 370400440532013000",  # grouped in no known way
        "ZZ89370400440532013000",
        "SHA1 DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
    ],
)
def test_what_an_iban_is_not(text: str) -> None:
    assert found(text, "iban") == []


@pytest.mark.parametrize("digits", CARDS)
def test_the_issuers_test_numbers_are_found(digits: str) -> None:
    for separator in (" ", "-"):
        assert found(f"paid with {as_on_card(digits, separator)}.", "card") == [as_on_card(digits, separator)]
    assert found(f"Visa or other card: {digits}, cvv 123", "card") == [digits]
    assert found(f"checksum of {digits} bytes", "card") == []  # nothing speaks of cards


@given(st.sampled_from(CARDS), st.integers(1, 13), st.integers(1, 9))
def test_one_other_digit_makes_a_card_none(digits: str, place: int, shift: int) -> None:
    wrong = digits[:place] + str((int(digits[place]) + shift) % 10) + digits[place + 1 :]
    assert not has_luhn_checksum(wrong)
    assert found(as_on_card(wrong, " "), "card") == []


@given(st.integers(0, 10**19))
def test_no_number_of_another_length_or_issuer_is_a_card(number: int) -> None:
    digits = str(number)
    if digits[0] not in "23456" or len(digits) not in (14, 15, 16, 19):
        assert not is_card_number(digits)


@pytest.mark.parametrize(
    "text",
    [
        "4242 4242-4242 4242",  # two separators
        "4242 4242 4242 4242 4242 4242",  # a row of a table
        "card 4242424242424242.5, card #4242424242424242, v4242424242424242",
        "1700000000000000 1700000000000000000 9783161484100",  # microseconds, nanoseconds, an ISBN
        "card 0000000000000000 or 1111 1111 1111 1111",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_a_card_is_not(text: str) -> None:
    assert found(text, "card") == []
