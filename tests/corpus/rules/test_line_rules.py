"""RefinedWeb's line correction: lines by hand, edits that only cut."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.chain import apply_spans
from seedbed.corpus.rules.lines import Lines
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import RefinedWebLines

PIECES = [
    "ABC DEF",
    "Abc def ghi.",
    "123",
    "3 likes",
    "Sign-in ",
    " read more...",
    "items in cart",
    "\n",
    " ",
    "x",
    "É",
]


def run(text: str, **fields: object) -> tuple[float, str]:
    values, spans = Lines(RefinedWebLines(**fields)).examine(TextView(text), {})  # type: ignore[arg-type]
    return values[0], apply_spans(text, spans)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("BREAKING NEWS TODAY\nIt rained here.", "It rained here."),
        ("AB cd is half\nIt rained here.", "AB cd is half\nIt rained here."),
        ("2024\nIt rained here.", "It rained here."),
        ("1,234 Likes!\n3.5k views\n12 people came.", "12 people came."),
        ("Menu\nIt rained here.\n\nOn Monday.", "It rained here.\n\nOn Monday."),
        ("It rained here. Read more...\nSign-in now please", "It rained here.\nnow please"),
        ("3 items in cart\nRead more...", "3"),
        ("a b c d e f g h i j read more...", "a b c d e f g h i j read more..."),  # 12 words
        ("", ""),
    ],
)
def test_lines_that_stay(text: str, left: str) -> None:
    assert run(text)[1] == left


def test_share_of_words_removed() -> None:
    assert run("MENU HERE\none two three four five six, seven eight.")[0] == pytest.approx(2 / 10)
    assert math.isnan(run("...")[0])
    assert run("MENU HERE\nword by word", max_uppercase=None, min_words_per_line=None)[0] == 0


@settings(deadline=None)
@given(st.one_of(st.lists(st.sampled_from(PIECES)).map("".join), st.text(max_size=80)))
def test_edits_only_cut_and_capitals_are_counted_plainly(text: str) -> None:
    text = "\n".join(text.splitlines())
    values, spans = Lines(RefinedWebLines()).examine(TextView(text), {})
    assert all(span.replacement == "" and span.start < span.end for span in spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert math.isnan(values[0]) or 0 <= values[0] <= 1
    loud = [line for line in text.split("\n") if line and sum(map(str.isupper, line)) / len(line) > 0.5]
    left = apply_spans(text, spans).split("\n")
    assert [line for line in left if line and sum(map(str.isupper, line)) / len(line) > 0.5] == [] or any(
        span.kind == "phrase" for span in spans
    )
    assert sum(span.kind == "capitals" for span in spans) == len(loud)


def test_spans_show_where() -> None:
    text = "LOUD LINE HERE\nIt rained."
    spans = Lines(RefinedWebLines()).explain(TextView(text), {}, "max_removed_words")
    assert [(text[s.start : s.end], s.kind, s.replacement) for s in spans] == [("LOUD LINE HERE\n", "capitals", None)]
