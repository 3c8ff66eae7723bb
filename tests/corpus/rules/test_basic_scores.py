"""The basic rules' scores against values counted by hand and plain definitions."""

import collections
import math
import unicodedata
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.corpus.rules.basic import BASIC, Basic
from seedbed.corpus.view import TextView

NAMES = [score.name for score in BASIC.scores]


def score(text: str) -> dict[str, float]:
    values, spans = Basic().examine(TextView(text), {})
    assert not spans
    return dict(zip(NAMES, values, strict=True))


def value(name: str, text: str) -> float:
    return score(text)[name]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("characters", "naïve", 5),
        ("words", "one two\nthree", 3),
        ("words", "我们今天去学校", 4),
        ("mean_word_length", "one three", 4),
        ("symbol_fraction", "a+b!", 0.5),
        ("letter_fraction", "ab 1+", 0.5),
        ("letter_fraction", "हिन्दी", 1.0),  # vowel signs count as letters
        ("duplicate_line_fraction", "aa\nbb\n  aa\n\n\n", 2 / 6),
        ("top_bigram_fraction", "a b a b a b", 1.0),
        ("top_bigram_fraction", "a b c d", 0.0),
        ("top_bigram_fraction", "aa bb cc aa bb", 2 * 4 / 10),
        ("replacement_fraction", "a\ufffdbc", 0.25),
    ],
)
def test_by_hand(name: str, text: str, expected: float) -> None:
    assert value(name, text) == pytest.approx(expected)


def test_scripts_without_spaces_have_no_mean_word_length() -> None:
    assert math.isnan(value("mean_word_length", "我们今天去学校学习，老师说。"))
    assert value("mean_word_length", "A long English text that quotes 北京 once.") < 8


def test_compression_ratio_is_zlib_at_level_1() -> None:
    text = "abc" * 1000
    assert value("compression_ratio", text) == 3000 / len(zlib.compress(text.encode(), 1))


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_classes_are_those_of_each_character(text: str) -> None:
    plain = collections.Counter(
        "Z" if c.isspace() else {"L": "L", "M": "L", "N": "N"}.get(unicodedata.category(c)[0], "S") for c in text
    )
    assert +TextView(text).classes == plain


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_every_text_has_every_score_and_shares_are_shares(text: str) -> None:
    values = score(text)
    assert all(math.isfinite(v) for name, v in values.items() if name != "mean_word_length")
    assert all(0 <= v <= 1 for name, v in values.items() if name.endswith("_fraction"))
