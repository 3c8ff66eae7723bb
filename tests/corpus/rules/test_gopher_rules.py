"""Gopher's rules: values counted by hand, and equal to a plain definition that walks word by word."""

import itertools
import math
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus import english, words
from seedbed.corpus.rules.gopher import QUALITY, REPETITION, Quality, Repetition
from seedbed.corpus.view import TextView

LOWER = st.text("ab \n", max_size=120)
ANY = st.one_of(
    LOWER,
    st.text(max_size=60),
    st.lists(st.sampled_from(["a", "b", "ab", "1 2", "x. ", "…", "\n\n", "- "])).map("".join),
)


def scores(worker: Quality | Repetition, text: str, splitter: str = "white-space") -> dict[str, float]:
    values, spans = worker.examine(TextView(text, splitter), {})
    assert not spans
    names = QUALITY.scores if isinstance(worker, Quality) else REPETITION.scores
    return dict(zip([score.name for score in names], values, strict=True))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("words", "one , two .", 2),
        ("mean_word_length", "one , three .", 4),
        ("hashes_per_word", "#a b c #", 0.5),
        ("ellipses_per_word", "a ... b… c d", 2 / 5),
        ("bullet_lines", "• a\n - b\nc\nd", 0.5),
        ("ellipsis_lines", "a...\nb… \nc", 2 / 3),
        ("alphabetic_words", "a1 2 3 b", 0.5),
        ("stop_words", "the the The of", 2),
        ("words", "", 0),
        ("mean_word_length", "...", math.nan),
    ],
)
def test_quality(name: str, text: str, expected: float) -> None:
    assert scores(Quality(), text)[name] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("duplicate_lines", "a\nb\n\na\n", 2 / 4 - 1 / 4),  # lines a, b, a and the empty end
        ("duplicate_line_characters", "abc\nb\nabc", 3 / 9),
        ("duplicate_paragraphs", "x\n\ny\n\n\nx", 1 / 3),
        ("duplicate_paragraph_characters", "xx\n\ny\n\nxx", 2 / 9),
        ("top_2gram", "a b a b c", 2 * 3 / 9),
        ("top_2gram", "a b c", 3 / 5),  # one of each: the first counts once
        ("top_3gram", "a b", 0),
        ("duplicate_5grams", "a b c d e a b c d e", 5 / 19),
        ("duplicate_6grams", "a b c d e a b c d e", 0),
        ("duplicate_5grams", "a a a a a a a a a a a a", 10 / 23),  # places 1 and 6
    ],
)
def test_repetition(name: str, text: str, expected: float) -> None:
    assert scores(Repetition(), text)[name] == pytest.approx(expected)


def plain_repetition(text: str, splitter: str) -> list[float]:
    """Table A1 in the words of datatrove 0.10's gopher_repetition_filter, one step after the other."""
    tokens = TextView(text, splitter).words
    out: list[float] = []
    for pieces in (re.split("\n+", text), re.split("\n{2,}", text.strip())):
        seen: set[str] = set()
        again = [piece for piece in pieces if piece in seen or seen.add(piece)]  # type: ignore[func-returns-value]
        out += [len(again) / len(pieces), sum(map(len, again)) / len(text)]
    out = [out[0], out[2], out[1], out[3]]
    for n in (2, 3, 4):
        grams = [" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
        gram, count = Counter(grams).most_common(1)[0] if grams else ("", 0)
        out.append(len(gram) * count / len(text))
    for n in range(5, 11):
        met: set[str] = set()
        at = characters = 0
        while at + n <= len(tokens):
            gram = "".join(tokens[at : at + n])
            if gram in met:
                characters += len(gram)
                at += n
            else:
                met.add(gram)
                at += 1
        out.append(characters / len(text))
    return out


@settings(deadline=None)
@given(ANY.filter(bool), st.sampled_from(sorted(words.SPLITTERS)))
def test_repetition_is_the_plain_definition(text: str, splitter: str) -> None:
    assert Repetition().examine(TextView(text, splitter), {})[0] == plain_repetition(text, splitter)


@pytest.mark.parametrize("seed", range(8))
def test_repetition_of_long_texts(seed: int) -> None:
    """Few different words in many places, some written together: the same characters parted in different ways."""
    draw = random.Random(seed)
    some = ["a", "aa", "b", "ab", "the", "cat", "12", "1", "2"][: 2 + seed]
    text = " ".join(draw.choice(some) + draw.choice(["", "", "", "\n", ".\n\n"]) for _ in range(600))
    for splitter in words.SPLITTERS:
        assert Repetition().examine(TextView(text, splitter), {})[0] == plain_repetition(text, splitter)


def plain_quality(text: str, splitter: str) -> list[float]:
    """Appendix A.1.1 in the words of datatrove 0.10's gopher_quality_filter."""
    tokens, lines = TextView(text, splitter).words, text.splitlines()
    symbols = english.tables().symbols
    counted = [token for token in tokens if any(sign not in symbols for sign in token)]

    def share(part: float, of: float) -> float:
        return part / of if of else math.nan

    return [
        len(counted),
        share(sum(map(len, counted)), len(counted)),
        share(text.count("#"), len(tokens)),
        share(text.count("...") + text.count("…"), len(tokens)),
        share(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        share(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        share(sum(any(sign.isalpha() for sign in token) for token in tokens), len(tokens)),
        len({"the", "be", "to", "of", "and", "that", "have", "with"} & set(tokens)),
    ]


@settings(deadline=None)
@given(
    st.one_of(ANY, st.lists(st.sampled_from(["the ", "to", " of. ", "#", "that\n"])).map("".join)),
    st.sampled_from(sorted(words.SPLITTERS)),
)
def test_quality_is_the_plain_definition(text: str, splitter: str) -> None:
    found = Quality().examine(TextView(text, splitter), {})[0]
    assert found == pytest.approx(plain_quality(text, splitter), nan_ok=True, abs=0)


@settings(deadline=None)
@given(ANY, st.sampled_from([(QUALITY, Quality()), (REPETITION, Repetition())]))
def test_spans_of_every_rule_lie_in_the_text_in_order(text: str, pair: tuple) -> None:
    group, worker = pair
    for rule in group.rules:
        spans = worker.explain(TextView(text), {}, rule.name)
        assert all(0 <= span.start < span.end <= len(text) and span.replacement is None for span in spans)
        assert all(a.end <= b.start or "gram" in a.kind for a, b in itertools.pairwise(spans))


def test_spans_show_what_was_counted() -> None:
    text = "red blue red blue green\n• one\n• two\nred blue\n"
    view = TextView(text)

    def shown(worker: Quality | Repetition, rule: str) -> list[str]:
        return [text[span.start : span.end] for span in worker.explain(view, {}, rule)]

    assert shown(Repetition(), "max_top_2gram") == ["red blue"] * 3
    assert shown(Quality(), "max_bullet_lines") == ["• one", "• two"]
    text = "one two three four five, six. one two three four five! one two"
    view = TextView(text)
    assert shown(Repetition(), "max_duplicate_5grams") == ["one two three four five"]
