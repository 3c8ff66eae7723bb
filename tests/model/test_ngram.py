"""The counted expert equals interpolated modified Kneser-Ney written down in plain Python."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seedbed.model.ngram import NgramExpert, count, estimate_discounts, key_bits, ngram_keys

Gram = tuple[int, ...]


class PlainKneserNey:
    """Chen & Goodman 1999, section 4: dictionaries of n-grams. Before the first token stands token 0, as often as needed.

    `without`: the number of a block that is not counted; discounts and unigrams stay those of all blocks.
    """

    def __init__(self, tokens: list[int], blocks: list[int], vocab_size: int, order: int, without: int = -1) -> None:
        self.tokens, self.blocks, self.order = tokens, blocks, order
        everything, left = self.counts(-1), self.counts(without)
        self.discounts = {n: (0.0, *estimate_discounts(np.array(list(everything[n].values())))) for n in everything}
        self.left: dict[int, dict[Gram, dict[int, int]]] = {n: defaultdict(dict) for n in left}
        for n, grams in left.items():
            for gram, number in grams.items():
                self.left[n][gram[:-1]][gram[-1]] = number
        self.unigrams = Counter(gram[-1] for gram in everything[2])
        self.vocab_size = vocab_size

    def unigram(self, token: int) -> float:
        return (self.unigrams[token] + 0.5) / (self.unigrams.total() + 0.5 * self.vocab_size)

    def gram(self, position: int, n: int) -> Gram:
        return tuple(self.tokens[i] if i >= 0 else 0 for i in range(position - n + 1, position + 1))

    def counts(self, without: int) -> dict[int, Counter[Gram]]:
        """Occurrences at the highest order; below it, the number of distinct tokens seen before the n-gram."""
        positions = [p for p, block in enumerate(self.blocks) if block != without]
        found = {self.order: Counter(self.gram(p, self.order) for p in positions)}
        for n in range(self.order - 1, 1, -1):
            found[n] = Counter(gram[1:] for gram in {self.gram(p, n + 1) for p in positions})
        return found

    def probability(self, context: Gram, token: int) -> tuple[float, list[float]]:
        """Of `token` after `context` (order - 1 tokens), and the masses, highest order first."""
        result, weight, masses = 0.0, 1.0, []
        for n in range(self.order, 1, -1):
            following = self.left[n].get(context[len(context) - n + 1 :], {})
            total = sum(following.values())
            discount = self.discounts[n]
            if total:
                number = following.get(token, 0)
                result += weight * (number - discount[min(number, 3)]) / total
                weight *= sum(discount[min(number, 3)] for number in following.values()) / total
            masses.append(weight)
        return result + weight * self.unigram(token), masses


def block_numbers(lengths: Sequence[int], total: int) -> list[int]:
    """Blocks of these lengths, the last one taking what is left."""
    numbers = [number for number, length in enumerate(lengths) for _ in range(length)][:total]
    return numbers + [len(lengths)] * (total - len(numbers))


streams = st.tuples(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.lists(st.integers(1, 20), max_size=5),
    st.integers(2, 5),
    st.sampled_from([5, 300, 70_000, 2**20]),  # the last two do not fit 64 bits at order 4 and 5: keys are hashed
)


def spread(tokens: list[int], vocab_size: int) -> list[int]:
    """Five symbols across the whole vocabulary, so that every bit of a key is used; 0 stays the padding's token."""
    return [token * (vocab_size - 1) // 4 for token in tokens]


@settings(max_examples=60, deadline=None)
@given(streams)
@example(([0, 0, 0, 1, 0, 0, 1], [3], 3, 5))  # the first token's padding is a context of the text as well
@example(([1], [], 5, 5))
@example(([2, 2, 2, 2, 2, 2], [], 2, 5))  # one block: without it nothing was counted
def test_each_token_is_predicted_as_if_its_block_were_not_there(stream: tuple[list[int], list[int], int, int]) -> None:
    symbols, lengths, order, vocab_size = stream
    tokens = spread(symbols, vocab_size)
    blocks = block_numbers(lengths, len(tokens))
    _, probabilities, masses = count(np.array(tokens), np.array(blocks), vocab_size, order)
    for number in set(blocks):
        plain = PlainKneserNey(tokens, blocks, vocab_size, order, without=number)
        for position in [p for p, block in enumerate(blocks) if block == number]:
            expected, expected_masses = plain.probability(plain.gram(position, order)[:-1], tokens[position])
            np.testing.assert_allclose(masses[position], expected_masses, atol=2e-5)
            np.testing.assert_allclose(probabilities[position], expected, rtol=2e-4, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(streams, st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_new_text_is_predicted_as_plain_kneser_ney_does(
    stream: tuple[list[int], list[int], int, int], symbols: list[int]
) -> None:
    tokens, order, vocab_size = spread(stream[0], stream[3]), stream[2], stream[3]
    expert, _, _ = count(np.array(tokens), np.zeros(len(tokens), np.int64), vocab_size, order)
    plain = PlainKneserNey(tokens, [0] * len(tokens), vocab_size, order)
    text = spread(symbols, vocab_size)
    probabilities, masses = expert.probabilities(np.array(text))
    for position, token in enumerate(text):
        context = tuple([0] * order + text[:position])[-(order - 1) :]
        expected, expected_masses = plain.probability(context, token)
        np.testing.assert_allclose(probabilities[position], expected, rtol=2e-4, atol=1e-6)
        np.testing.assert_allclose(masses[position], expected_masses, atol=2e-5)
        everything, same_masses = expert.distribution(np.array(text[:position], np.int64))
        np.testing.assert_allclose(same_masses, expected_masses, atol=2e-5)
        for other in spread([0, 1, 2, 3, 4], vocab_size):
            np.testing.assert_allclose(everything[other], plain.probability(context, other)[0], rtol=2e-4, atol=1e-6)
        assert everything.sum(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_an_expert_survives_being_stored() -> None:
    tokens = np.random.default_rng(1).integers(0, 50, 2000) ** 2 % 50
    expert, _, _ = count(tokens, np.arange(2000) // 100, 50, 4)
    again = NgramExpert.from_arrays(expert.arrays())
    text = np.random.default_rng(2).integers(0, 50, 300)
    for one, other in zip(expert.probabilities(text), again.probabilities(text), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("vocab_size", [6, 2**16])
def test_a_distribution_holds_the_probability_of_every_next_token(vocab_size: int) -> None:
    """Also for the last context there is: with 16-bit tokens and order 4, keys fill all 64 bits."""
    draw = np.random.default_rng(0)
    tokens = (vocab_size - 1 - draw.integers(0, 5, 400)).astype(np.int64)
    expert, _, _ = count(tokens, np.arange(400) // 50, vocab_size, 4)
    history = tokens[100:110].copy()
    history[-3:] = vocab_size - 1
    distribution, masses = expert.distribution(history)
    assert distribution.sum() == pytest.approx(1, abs=1e-3)
    for token in range(vocab_size - 5, vocab_size):
        probabilities, expected_masses = expert.probabilities(np.append(history, token))
        assert distribution[token] == pytest.approx(probabilities[-1], rel=1e-5)
        assert masses == pytest.approx(expected_masses[-1], rel=1e-5)


def test_progress_tells_each_order_once() -> None:
    seen: list[int] = []
    count(np.arange(30) % 7, np.zeros(30, np.int64), 7, 5, seen.append)
    assert seen == [1, 2, 3, 4]


def test_hashed_keys_of_distinct_contexts_differ() -> None:
    tokens = np.random.default_rng(3).integers(0, 2**17, 200_000)
    bits = key_bits(2**17)
    keys = ngram_keys(tokens, 5, bits)
    assert len(np.unique(keys)) == len(tokens)
    assert np.array_equal(keys & np.uint64(2**bits - 1), tokens.astype(np.uint64))


def test_discounts_stay_between_nothing_and_the_count() -> None:
    # n1..n4 = 4, 3, 2, 1: Y = 4/10, D1 = 1 - .8 x 3/4, D2 = 2 - 1.2 x 2/3, D3 = 3 - 1.6 x 1/2 (eq. 26)
    counts = np.array([1] * 4 + [2] * 3 + [3] * 2 + [4])
    assert estimate_discounts(counts) == pytest.approx((0.4, 1.2, 2.2))
    for odd in ([1], [7, 7, 7], [1] * 100, [2] * 50 + [1], [3] * 40 + [2]):
        assert all(0 < d < i for i, d in enumerate(estimate_discounts(np.array(odd)), 1))
