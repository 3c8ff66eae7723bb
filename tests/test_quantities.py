"""Numbers as people read them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.quantities import byte_size, duration, money, printable, quantity, volume, weight


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 "),
        (999, "999 "),
        (999.6, "1 k"),
        (1_234_567, "1.23 M"),
        (123_456, "123 k"),
        (9.996e11, "1 T"),
        (5e18, "5 E"),
    ],
)
def test_quantity(value: float, text: str) -> None:
    assert quantity(value) == text


@given(st.floats(1, 1e20))
def test_a_quantity_is_within_a_percent_and_has_no_exponent(value: float) -> None:
    number, _, prefix = quantity(value).partition(" ")
    size = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}[prefix]
    assert float(number) * size == pytest.approx(value, rel=0.01)
    assert "e" not in number


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3700, "1:01:40"), (-1, "0:00")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_money_weight_volume_and_bytes() -> None:
    assert [money(v) for v in (0, 1e-6, 0.0004, 0.5, 1234.5)] == [
        "$0.00",
        "<0.01 cents",
        "0.04 cents",
        "$0.50",
        "$1,234.50",
    ]
    assert [weight(v) for v in (0.00123, 2.5, 11_390_000)] == ["1.2 g", "2.5 kg", "11390 t"]
    assert [volume(v) for v in (0.004, 3.9, 5_400_000)] == ["4 mL", "3.9 L", "5400 m³"]
    assert [byte_size(v) for v in (12, 64_000_000)] == ["12 B", "64 MB"]


@given(st.text())
def test_printable_text_holds_nothing_that_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in shown)
    shown.encode()


def test_ordinary_text_is_left_as_it_is() -> None:
    text = "Ünïcode, 漢字, \N{NO-BREAK SPACE}a family: \U0001f468\u200d\U0001f469\u200d\U0001f467\n\tindented"
    assert printable(text) == text
