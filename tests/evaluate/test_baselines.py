"""gzip, xz and the byte n-gram model, against the programs and a plain float64 version."""

import gzip
import lzma
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.evaluate import baselines
from seedbed.evaluate.baselines import count_bytes, distinct_ngrams, gzip_bits, ngram_bits, training_text, xz_bits
from seedbed.model.ngram import count, estimate_discounts
from seedbed.tokens.tokenizer import Tokenizer


def plain_kneser_ney(text: bytes, order: int) -> Callable[[bytes, int], float]:
    """Probability of a byte after a context, from dictionaries (Chen & Goodman 1999, section 4)."""
    grams = {order: Counter(text[i : i + order] for i in range(len(text) - order + 1))}
    for n in range(order - 1, 0, -1):
        grams[n] = Counter(gram[1:] for gram in grams[n + 1])
    followers = {n: {} for n in grams}  # type: ignore[var-annotated]
    for n in grams:
        for gram, number in grams[n].items():
            followers[n].setdefault(gram[:-1], {})[gram[-1]] = number
    discounts = {n: (0.0, *estimate_discounts(np.array(list(grams[n].values())))) for n in range(2, order + 1)}
    unigrams = sum(grams[1].values()) + 128

    def probability(context: bytes, byte: int, n: int = order) -> float:
        if n == 1:
            return (grams[1][bytes([byte])] + 0.5) / unigrams
        lower = probability(context, byte, n - 1)
        seen = followers[n].get(context[len(context) - n + 1 :])
        if seen is None:
            return lower
        held_back = sum(discounts[n][min(number, 3)] for number in seen.values())
        own = seen.get(byte, 0)
        return (own - discounts[n][min(own, 3)] + held_back * lower) / sum(seen.values())

    return probability


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8),
    st.text("abc d", min_size=9, max_size=200).map(str.encode),
    st.text("abcx ", max_size=40).map(str.encode),
)
def test_ngram_bits_equal_a_plain_version(order: int, text: bytes, held_out: bytes) -> None:
    probability = plain_kneser_ney(text, order)
    padded = bytes(order) + held_out
    expected = -sum(math.log2(probability(padded[i + 1 : i + order], padded[i + order])) for i in range(len(held_out)))
    assert ngram_bits(count_bytes(text, order), held_out) == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_agrees_with_the_counter_of_tokens(texts: list[str]) -> None:
    data = np.frombuffer(texts[0].encode(), np.uint8)
    other, _, _ = count(data, np.zeros(len(data), np.int64), 256, 5)
    held_out = texts[1].encode()
    # that one also counts the few n-grams that begin before the text
    assert ngram_bits(count_bytes(texts[0].encode(), 5), held_out) == pytest.approx(
        ngram_bits(other, held_out), rel=1e-3
    )


def test_probabilities_sum_to_one(texts: list[str]) -> None:
    expert = count_bytes(texts[0].encode(), 5)
    for history in (b"def ", b"zzzz", b"    "):
        probabilities, _ = expert.distribution(np.frombuffer(history, np.uint8))
        assert probabilities.sum() == pytest.approx(1, abs=1e-4)
        assert probabilities.min() > 0


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=120), st.integers(1, 8), st.integers(1, 30))
def test_chunks_change_nothing(data: bytes, order: int, chunk: int) -> None:
    before = baselines.CHUNK_BYTES
    try:
        baselines.CHUNK_BYTES = chunk
        keys, counts = distinct_ngrams(np.frombuffer(data, np.uint8), order)
    finally:
        baselines.CHUNK_BYTES = before
    expected = Counter(data[i : i + order] for i in range(len(data) - order + 1))
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == {
        int.from_bytes(gram, "big"): number for gram, number in expected.items()
    }


@pytest.mark.parametrize("text", [b"", b"a", b"tiny text", bytes(range(256))])
def test_short_texts(text: bytes) -> None:
    assert math.isfinite(ngram_bits(count_bytes(text, 5), b"anything"))
    assert ngram_bits(count_bytes(b"abc", 3), text) >= 0
    assert gzip_bits(text) == 8 * len(gzip.compress(text, 9))


def test_a_dictionary_of_the_text_loses_nothing(texts: list[str]) -> None:
    for text in ("".join(texts).encode(), texts[0].encode(), b"", b"x"):
        assert xz_bits(text) == 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def test_training_text_is_the_shards_text(
    write_shards: Callable[..., Path], tokenizer: Tokenizer, texts: list[str]
) -> None:
    folder = write_shards([("code", text) for text in texts[:3]], "train", max_shard_tokens=5000)
    joined = "".join(texts[:3]).encode()
    assert training_text(folder, tokenizer) == joined
    assert training_text(folder, tokenizer, 12_345) == joined[:12_345]
