"""Shingles are the sets of word n-grams that the definition says, and bands collide as often as theory says."""

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seedbed.corpus.dedup import signature
from seedbed.corpus.dedup.signature import (
    MinHasher,
    jaccard,
    match_probability,
    plain_words,
    word_hashes,
)

LETTERS = "abcäßİé ,.’—\n\t\u00a0\u3000中文กขデ０9٣🙂\ud800\u0301"
texts = st.text(alphabet=LETTERS, max_size=60) | st.text(max_size=40)


def plain_shingles(text: str, ngram: int = 5) -> set[tuple[str, ...]]:
    words = plain_words(text)
    width = min(ngram, len(words))
    return {tuple(words[at : at + width]) for at in range(len(words) - width + 1)} if words else set()


def plain_jaccard(a: set, b: set) -> float:
    return len(a & b) / max(1, len(a | b))


@settings(deadline=None)
@given(texts)
@example("Don’t stop — 3,000 «mots»!")
@example("東京は晴れ。It rains.")
def test_equal_words_have_equal_hashes_and_different_words_different_ones(text):
    words, hashes = plain_words(text), word_hashes(text).tolist()
    assert len(hashes) == len(words)
    assert len(set(zip(words, hashes, strict=True))) == len(set(words)) == len(set(hashes))


@settings(deadline=None)
@given(texts, texts, st.integers(1, 6))
def test_shingles_have_the_jaccard_similarity_of_word_ngrams(a, b, ngram):
    hasher = MinHasher(ngram=ngram)
    assert jaccard(hasher.shingles(a), hasher.shingles(b)) == pytest.approx(
        plain_jaccard(plain_shingles(a, ngram), plain_shingles(b, ngram))
    )


def test_words_ignore_case_and_punctuation_and_keep_digits_and_accents():
    assert plain_words("“Don't”, said ÉMILE: 3,000 words—\tnow.") == ["dont", "said", "émile", "3000", "words", "now"]
    assert plain_words("東京は晴れ") == list("東京は晴れ")


def test_which_letter_belongs_to_which_word_matters():
    # without mixing the words' polynomials these two would add up to the same number
    assert not np.intersect1d(MinHasher(ngram=2).shingles("x ab"), MinHasher(ngram=2).shingles("b ax")).size


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="ab c中\n", max_size=400), st.integers(20, 50))
def test_a_text_hashed_in_blocks_gives_the_same_words(text, size):
    whole = word_hashes(text)
    before, signature.BLOCK_CHARACTERS = signature.BLOCK_CHARACTERS, size
    signature.powers.cache_clear()
    try:
        if all(len(word) < size for word in text.split()):
            assert word_hashes(text).tolist() == whole.tolist()
    finally:
        signature.BLOCK_CHARACTERS = before
        signature.powers.cache_clear()


def test_a_document_without_words_has_no_key_and_a_short_one_is_one_shingle():
    hasher = MinHasher()
    assert not hasher.bands("... !").any()
    assert len(hasher.shingles("three short words")) == 1
    assert (hasher.bands("three short words") == hasher.bands("Three, short words!")).all()
    assert not (hasher.bands("three short words") == hasher.bands("short three words")).any()


def test_signatures_do_not_change_between_versions():
    """Band keys are kept in indexes for years: raise VERSION and write new numbers here if they have to change."""
    keys = MinHasher(bands=2, rows=2).bands("The quick brown fox jumps over the lazy dog, twice.")
    assert [int(key) for key in keys] == [14880412647154152514, 1167970122977303493]


def planted_pair(similarity: float, rng: random.Random, words: int = 200) -> tuple[str, str]:
    """Two texts of random words that share a beginning, so long that their 5-gram sets have about this similarity."""
    shared = round(2 * words * similarity / (1 + similarity))
    draw = lambda count: [f"w{rng.randrange(10**9)}" for _ in range(count)]  # noqa: E731
    start = draw(shared)
    return " ".join(start + draw(words - shared)), " ".join(start + draw(words - shared))


@pytest.mark.parametrize("similarity", [0.7, 0.8, 0.9])
def test_recall_on_planted_pairs_is_that_of_theory(similarity):
    """1,000 pairs: within 2 points of the curve at each pair's own similarity, plus three standard errors of the draw."""
    hasher, rng = MinHasher(), random.Random(7)
    found, expected = 0, 0.0
    for _ in range(1000):
        a, b = planted_pair(similarity, rng)
        found += bool((hasher.bands(a) == hasher.bands(b)).any())
        expected += match_probability(jaccard(hasher.shingles(a), hasher.shingles(b)))
    error = (max(expected * (1000 - expected), 0) / 1000) ** 0.5
    assert abs(found - expected) <= 20 + 3 * error


def test_match_probability_is_that_of_finewebs_table():
    # Penedo et al. 2024, section 3.4: 56, 77, 92 and 98.8% at .7, .75, .8 and .85
    assert [round(100 * match_probability(s), 1) for s in (0.7, 0.75, 0.8, 0.85)] == [56.5, 77.2, 92.4, 98.8]
