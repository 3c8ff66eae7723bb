"""A number for the rows that a step was trained on: after kills and on other layouts it shows any batch lost or repeated.

The digest of a global batch is the sum of its rows' digests modulo 2^32, so any micro-batch and any number of ranks come to the
same number. A row's digest depends on its tokens, their order, and the row's number.
"""

from functools import lru_cache

import numpy as np
from torch import Tensor

MODULUS = 2**32  # sums over up to two million ranks stay exact in float64, in which losses are summed as well


def batch_digest(inputs_BT: Tensor, first_row: int) -> int:
    """Digest, below 2^32, of rows [first_row, first_row + B) of a global batch (int64 tokens on the CPU)."""
    tokens_BT = inputs_BT.numpy().astype(np.uint64) + np.uint64(1)  # a token 0 counts as well
    rows_B = np.arange(first_row, first_row + len(tokens_BT), dtype=np.uint64)
    mixed_B = mix(tokens_BT @ position_weights(tokens_BT.shape[1]) ^ mix(rows_B))
    return int((mixed_B >> np.uint64(32)).sum()) % MODULUS


@lru_cache(maxsize=8)
def position_weights(length: int) -> np.ndarray:
    """Odd uint64 factors, one a position."""
    return mix(np.arange(length, dtype=np.uint64) + np.uint64(2**32)) | np.uint64(1)


def mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's step and finaliser (Steele, Lea & Flood 2014), modulo 2^64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
