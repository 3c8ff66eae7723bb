"""A counted n-gram expert: interpolated modified Kneser-Ney over tokens (Chen & Goodman 1999, section 4).

Counting takes seconds where gradient descent takes minutes, so a transformer that is given these probabilities spends its
few parameters on what counting cannot see. For the tokens it was counted on, `count` gives leave-one-block-out probabilities:
each token is predicted by the corpus without the document (or block of a long document) that it stands in, as held-out text
would be. Without that the expert would look far better in training than it is afterwards.

Arrays: one entry a position (P) or a distinct n-gram (U). Plain NumPy; `model/transformer.py` mixes the result in.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
KeyArray = NDArray[np.uint64]
FloatArray = NDArray[np.float32]
MIX = np.uint64(0x9E3779B97F4A7C15)


def key_bits(vocab_size: int) -> int:
    return max(1, int(vocab_size - 1).bit_length())


def ngram_keys(tokens: NDArray[np.integer], order: int, bits: int) -> KeyArray:
    """Key of the `order`-gram that ends at each position: its context in the high bits, its last token in the low `bits`.

    Exact while order x bits <= 64, else the context is a 64-bit hash cut to fit (a collision has odds near U^2 / 2^53).
    Positions before `order - 1` are completed with token 0. Shape [P].
    """
    context = np.zeros(len(tokens), np.uint64)
    exact = order * bits <= 64
    for back in range(order - 1, 0, -1):
        part = np.zeros(len(tokens), np.uint64)
        part[back:] = tokens[: max(0, len(tokens) - back)]
        if exact:
            context = (context << np.uint64(bits)) | part
        else:
            context = (context ^ (part + np.uint64(1))) * MIX
            context ^= context >> np.uint64(29)
    return (context << np.uint64(bits)) | tokens.astype(np.uint64)


@dataclass(frozen=True)
class Contexts:
    """The contexts of one order: sorted keys [C], where their n-grams start, those' sum, and the share of mass passed down."""

    keys: KeyArray
    starts: IntArray
    totals: FloatArray
    backoffs: FloatArray


@dataclass(frozen=True)
class OrderTable:
    """The n-grams of one order: sorted keys and counts [U], Kneser-Ney discounts for counts 1, 2 and 3 or more.

    The n-grams of a context lie side by side, so one context is found in the keys; many at once need `contexts`, which takes
    seconds to sum up and is therefore made when first asked for.
    """

    order: int
    keys: KeyArray
    counts: NDArray[np.uint32]
    discounts: tuple[float, float, float]
    bits: int

    def discount(self, counts: NDArray[np.integer]) -> FloatArray:
        return np.array([0.0, *self.discounts], np.float32)[np.minimum(counts, 3)]

    @cached_property
    def contexts(self) -> Contexts:
        contexts = self.keys >> np.uint64(self.bits)
        starts = group_starts(contexts)
        totals = np.add.reduceat(self.counts, starts, dtype=np.int64)
        discounted = np.add.reduceat(self.discount(self.counts), starts, dtype=np.float64)
        return Contexts(contexts[starts], starts, totals.astype(np.float32), (discounted / totals).astype(np.float32))

    def of_context(self, context: int) -> slice:
        """Where the n-grams of one context lie; an empty slice when it was never seen."""
        ends = np.array([context, context + 1], np.uint64) << np.uint64(self.bits)
        if context + 1 == 1 << (64 - self.bits):  # the last context there is: its end does not fit a key
            return slice(int(np.searchsorted(self.keys, ends[0])), len(self.keys))
        start, stop = np.searchsorted(self.keys, ends)
        return slice(int(start), int(stop))


def group_starts(sorted_keys: KeyArray) -> IntArray:
    return np.flatnonzero(np.concatenate(([True], sorted_keys[1:] != sorted_keys[:-1])))


def estimate_discounts(counts: NDArray[np.integer]) -> tuple[float, float, float]:
    """Discounts for counts 1, 2 and 3 or more (Chen & Goodman 1999, eq. 26), kept inside [0, count]."""
    n1, n2, n3, n4 = (max(1, int(np.count_nonzero(counts == i))) for i in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    raw = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return tuple(min(max(d, 0.1), i - 0.05) for i, d in enumerate(raw, 1))  # type: ignore[return-value]


def build_table(order: int, keys: KeyArray, counts: NDArray[np.uint32], bits: int) -> OrderTable:
    """The table of sorted distinct `keys` and their counts."""
    return OrderTable(order, keys, counts, estimate_discounts(counts), bits)


class NgramExpert:
    """The tables of orders 2..N, and a unigram distribution under them."""

    def __init__(self, tables: list[OrderTable], unigram: FloatArray, bits: int) -> None:
        self.tables = tables  # ascending order
        self.unigram = unigram
        self.bits = bits

    @property
    def order(self) -> int:
        return len(self.tables) + 1

    def probabilities(self, tokens: NDArray[np.integer]) -> tuple[FloatArray, FloatArray]:
        """Probability of each token given those before it [P], and the mass left after each order, highest first [P, N-1]."""
        probability = np.zeros(len(tokens), np.float32)
        weight = np.ones(len(tokens), np.float32)
        masses = np.empty((len(tokens), len(self.tables)), np.float32)
        for column, table in enumerate(reversed(self.tables)):
            keys = ngram_keys(tokens, table.order, self.bits)
            count = lookup(table.keys, table.counts, keys)
            contexts = table.contexts
            where, seen = find(contexts.keys, keys >> np.uint64(self.bits))
            probability += np.where(seen, weight * (count - table.discount(count)) / contexts.totals[where], 0)
            weight = np.where(seen, weight * contexts.backoffs[where], weight)
            masses[:, column] = weight
        return probability + weight * self.unigram[tokens], masses

    def distribution(self, history: NDArray[np.integer]) -> tuple[FloatArray, FloatArray]:
        """Probability of every token after `history` [V], and the mass left after each order, highest first [N-1]."""
        result = np.zeros(len(self.unigram), np.float32)
        weight = 1.0
        masses = np.empty(len(self.tables), np.float32)
        for column, table in enumerate(reversed(self.tables)):
            recent = np.concatenate((np.zeros(table.order, np.int64), history[-table.order :], [0]))
            place = table.of_context(int(ngram_keys(recent, table.order, self.bits)[-1] >> np.uint64(self.bits)))
            counts = table.counts[place]
            if len(counts):
                discount, total = table.discount(counts), int(counts.sum(dtype=np.int64))
                targets = (table.keys[place] & np.uint64((1 << self.bits) - 1)).astype(np.int64)
                result[targets] += weight * (counts - discount) / np.float32(total)
                weight *= float(discount.sum(dtype=np.float64) / total)
            masses[column] = weight
        return result + np.float32(weight) * self.unigram, masses

    def arrays(self) -> dict[str, NDArray]:
        """What has to be stored to rebuild the expert: keys, counts and discounts of each order, and the unigrams."""
        stored: dict[str, NDArray] = {"unigram": self.unigram, "bits": np.array([self.bits])}
        for table in self.tables:
            stored[f"{table.order}.keys"] = table.keys.view(np.int64)
            stored[f"{table.order}.counts"] = table.counts.view(np.int32)
            stored[f"{table.order}.discounts"] = np.array(table.discounts)
        return stored

    @classmethod
    def from_arrays(cls, stored: dict[str, NDArray]) -> "NgramExpert":
        bits = int(stored["bits"][0])
        orders = sorted(int(name.split(".")[0]) for name in stored if name.endswith(".keys"))
        tables = [
            OrderTable(
                n,
                stored[f"{n}.keys"].view(np.uint64),
                stored[f"{n}.counts"].view(np.uint32),
                tuple(stored[f"{n}.discounts"].tolist()),
                bits,
            )
            for n in orders
        ]
        return cls(tables, stored["unigram"], bits)


def find(sorted_keys: KeyArray, wanted: KeyArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Index of each wanted key (0 where absent), and whether it is there."""
    where = np.searchsorted(sorted_keys, wanted)
    where[where == len(sorted_keys)] = 0
    seen = sorted_keys[where] == wanted
    where[~seen] = 0
    return where, seen


def lookup(sorted_keys: KeyArray, values: NDArray[np.uint32], wanted: KeyArray) -> IntArray:
    where, seen = find(sorted_keys, wanted)
    return np.where(seen, values[where], 0).astype(np.int64)


def sorted_orders(tokens: NDArray[np.integer], order: int, bits: int) -> Iterator[tuple[int, KeyArray, IntArray]]:
    """(n, keys, stable argsort of the keys) for n = order .. 1, each sorted in a thread while the caller works on another."""

    def work(n: int) -> tuple[int, KeyArray, IntArray]:
        keys = ngram_keys(tokens, n, bits)
        return n, keys, np.argsort(keys, kind="stable")

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(work, order)
        for n in range(order - 1, 0, -1):
            done = pending.result()
            pending = pool.submit(work, n)
            yield done
        yield pending.result()


def count(
    tokens: NDArray[np.integer],
    blocks: IntArray,
    vocab_size: int,
    order: int,
    on_order: Callable[[int], None] = lambda done: None,
) -> tuple[NgramExpert, FloatArray, FloatArray]:
    """Count an expert of `order` >= 2 on `tokens` [P], of which each belongs to a block (ascending numbers, [P]).

    Gives the expert, the leave-one-block-out probability of each token [P], and its masses [P, order - 1] as in
    `probabilities`. `on_order` is told how many orders are done. Memory: about 150 bytes a position.
    """
    bits = key_bits(vocab_size)
    positions = len(tokens)
    tables = []
    probability = np.zeros(positions, np.float32)
    weight = np.ones(positions, np.float32)
    masses = np.empty((positions, order - 1), np.float32)
    # At the highest order every occurrence counts. Below it each distinct longer n-gram counts once (Kneser-Ney), at the
    # position of its first occurrence, and is `private` when it occurs in no other block.
    counted = np.ones(positions, np.bool_)
    private = np.ones(positions, np.bool_)
    sorts = sorted_orders(tokens, order, bits)
    n, keys, by_key = next(sorts)
    for column, (shorter, shorter_keys, by_shorter_key) in enumerate(sorts):
        ordered, ordered_blocks = keys[by_key], blocks[by_key]
        starts = group_starts(ordered)
        counts = np.add.reduceat(counted[by_key], starts, dtype=np.uint32)
        table = build_table(n, ordered[starts], counts, bits)
        tables.append(table)

        # without this block: the n-gram's count, and what that does to its discount
        gram_sizes = np.diff(np.append(starts, positions))
        count_with = np.repeat(counts.astype(np.int32), gram_sizes)
        segments = segment_starts(ordered, ordered_blocks)
        segment_sizes = np.diff(np.append(segments, positions))
        own = np.add.reduceat(private[by_key], segments, dtype=np.int32)
        count_left = count_with - np.repeat(own, segment_sizes)
        discount_left = table.discount(count_left)
        change = np.zeros(positions, np.float32)
        change[by_key[segments]] = discount_left[segments] - table.discount(count_with[segments])

        # without this block: the context's total and the mass it passes down
        padding = ngram_keys(np.zeros(1, tokens.dtype), shorter, bits)[0]
        total_removed, discount_removed = sum_by_context(private, change, shorter_keys, by_shorter_key, blocks, padding)
        context_sizes = np.add.reduceat(gram_sizes, table.contexts.starts)
        total_left = np.repeat(table.contexts.totals, context_sizes) - total_removed[by_key]
        discounted = (
            np.repeat(table.contexts.backoffs * table.contexts.totals, context_sizes) + discount_removed[by_key]
        )
        seen = total_left > 0.5
        total_left[~seen] = 1
        weight_here = weight[by_key]
        probability[by_key] += np.where(seen, weight_here * (count_left - discount_left) / total_left, 0)
        weight[by_key] = np.where(seen, weight_here * np.clip(discounted / total_left, 0, 1), weight_here)
        masses[:, column] = weight

        first = by_key[starts]
        counted, private = np.zeros(positions, np.bool_), np.zeros(positions, np.bool_)
        counted[first] = True
        private[first] = count_left[starts] == 0
        n, keys, by_key = shorter, shorter_keys, by_shorter_key
        on_order(column + 1)
    unigram_counts = np.bincount(tokens[counted], minlength=vocab_size).astype(np.float64)
    unigram = ((unigram_counts + 0.5) / (unigram_counts.sum() + 0.5 * vocab_size)).astype(np.float32)
    expert = NgramExpert(tables[::-1], unigram, bits)
    return expert, probability + weight * unigram[tokens], masses


def segment_starts(sorted_keys: KeyArray, blocks: IntArray) -> IntArray:
    changes = (sorted_keys[1:] != sorted_keys[:-1]) | (blocks[1:] != blocks[:-1])
    return np.flatnonzero(np.concatenate(([True], changes)))


def sum_by_context(
    private: NDArray[np.bool_],
    change: FloatArray,
    context_keys: KeyArray,
    by_context: IntArray,
    blocks: IntArray,
    padding: np.uint64,
) -> tuple[FloatArray, FloatArray]:
    """For each position, the sums of `private` and `change` over the positions of its block that share its context.

    `context_keys` are the keys of the n-grams that end one position earlier, which are the contexts; `by_context` sorts them.
    The first token's context is `padding`, the key of token 0 repeated.
    """
    follower = by_context + 1
    follower = follower[follower < len(blocks)]
    sorted_contexts = context_keys[follower - 1]
    place = np.searchsorted(sorted_contexts, padding)
    sorted_contexts, follower = np.insert(sorted_contexts, place, padding), np.insert(follower, place, 0)
    segments = segment_starts(sorted_contexts, blocks[follower])
    sizes = np.diff(np.append(segments, len(follower)))
    total, changed = np.zeros(len(blocks), np.float32), np.zeros(len(blocks), np.float32)
    total[follower] = np.repeat(np.add.reduceat(private[follower], segments, dtype=np.float32), sizes)
    changed[follower] = np.repeat(np.add.reduceat(change[follower], segments), sizes)
    return total, changed
