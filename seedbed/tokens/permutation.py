"""A pseudo-random permutation of range(size) without a table: where index i goes follows from (i, size, keys) alone.

A Feistel network over pairs (left, right) of numbers below a = ceil(sqrt(size)), as Black and Rogaway 2002 ("Ciphers
with arbitrary finite domains", section 5) build it: it permutes a^2 >= size numbers, and those that land at or beyond
size are sent on until they do not. Since a^2 < size + 2 sqrt(size) + 1, few are.
"""

import math

import numpy as np

ROUNDS = 4  # four rounds of a good round function are a pseudo-random permutation (Luby and Rackoff 1988)


def permute(indices: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """int64 [n] in range(size) -> int64 [n] in range(size), a bijection. `keys`: uint64 [ROUNDS, 1]."""
    base = np.uint64(math.isqrt(size - 1) + 1)
    values = feistel(indices.astype(np.uint64), base, keys)
    while True:
        outside = np.flatnonzero(values >= np.uint64(size))
        if len(outside) == 0:
            return values.astype(np.int64)
        values[outside] = feistel(values[outside], base, keys)


def feistel(values: np.ndarray, base: np.uint64, keys: np.ndarray) -> np.ndarray:
    left, right = np.divmod(values, base)
    for key in keys:
        left, right = right, (left + mix(right + key) % base) % base
    return left * base + right


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014, constants of Stafford's Mix13): uint64 -> uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class BlockOrder:
    """A permutation that moves through range(size) a block at a time: blocks in random order, and random order within.

    For shards that are fetched: what is read next lies in one block, so only its shards are needed. Memory: two numbers a
    block.
    """

    def __init__(self, size: int, block: int, keys: np.ndarray) -> None:
        """`block`: numbers that are mixed with one another, at least; blocks differ by one at most."""
        self.count = max(1, size // block)
        self.bounds = np.arange(self.count + 1, dtype=np.int64) * size // self.count
        self.keys = keys
        self.order = permute(np.arange(self.count), self.count, keys)
        self.first_place = np.concatenate(([0], np.cumsum(np.diff(self.bounds)[self.order])))

    def at(self, places: np.ndarray) -> np.ndarray:
        """int64 [n] places in the order -> int64 [n] the numbers there."""
        turns = np.searchsorted(self.first_place, places, side="right") - 1
        out = np.empty_like(places)
        for turn in np.unique(turns):
            here, block = turns == turn, self.order[turn]
            start, stop = int(self.bounds[block]), int(self.bounds[block + 1])
            keys = mix(self.keys + np.uint64(block + 1))  # an order of its own for each block
            out[here] = start + permute(places[here] - self.first_place[turn], stop - start, keys)
        return out
