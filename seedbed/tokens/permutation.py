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
