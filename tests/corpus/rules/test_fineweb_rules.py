"""FineWeb's rules by hand and by a plain definition."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus import english, words
from seedbed.corpus.rules.fineweb import FINEWEB, FineWeb
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import FineWebRules

LONG = "x" * 31
PAGES = st.one_of(
    st.lists(st.sampled_from(["a.", "b", LONG, "\n", " ", "!", "。", "\n\n"])).map("".join), st.text(max_size=60)
)


def scores(text: str, splitter: str = "datatrove") -> list[float]:
    return list(FineWeb(FineWebRules()).examine(TextView(text, splitter), {})[0])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lines_ending_in_punctuation", "a.\nb\n\nc。\nd ", 2 / 4),
        ("short_lines", f"{LONG}\nb\n{'x' * 30}", 2 / 3),
        ("duplicate_line_characters", "abc\nd\nabc\nabc\n", 6 / 10),
        ("newlines_per_word", "an ox.\n\nis", 2 / 4),
        ("newlines_per_word", " \n", math.nan),
    ],
)
def test_scores(name: str, text: str, expected: float) -> None:
    at = [score.name for score in FINEWEB.scores].index(name)
    assert scores(text)[at] == pytest.approx(expected, nan_ok=True)


@settings(deadline=None)
@given(PAGES, st.sampled_from(sorted(words.SPLITTERS)))
def test_scores_are_the_plain_definition(text: str, splitter: str) -> None:
    lines = [line for line in text.split("\n") if line.strip() != ""]
    found = scores(text, splitter)
    if not lines:
        assert all(map(math.isnan, found))
        return
    repeated = sum(len(line) for at, line in enumerate(lines) if line in lines[:at])
    assert found == [
        sum(line.endswith(tuple(english.tables().line_ends)) for line in lines) / len(lines),
        sum(len(line) <= 30 for line in lines) / len(lines),
        repeated / len(text.replace("\n", "")),
        text.count("\n") / len(TextView(text, splitter).words),
    ]


def test_spans_show_where() -> None:
    text = f"open\n\nclosed.\n{LONG}\nopen\n"
    view, worker = TextView(text), FineWeb(FineWebRules())
    shown = {
        rule.name: [text[span.start : span.end] for span in worker.explain(view, {}, rule.name)]
        for rule in FINEWEB.rules
    }
    assert shown == {
        "min_lines_ending_in_punctuation": ["open", LONG, "open"],
        "max_short_lines": ["open", "closed.", "open"],
        "max_duplicate_line_characters": ["open"],
        "max_newlines_per_word": [],
    }
