"""64-bit hashes of all runs of some number of words, at once."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MULTIPLIER = 0x9E3779B97F4A7C15  # odd, its bits those of the golden ratio (Knuth, TAOCP 3, section 6.4)


def run_hashes(ids: NDArray[np.uint32], lengths: Iterable[int]) -> dict[int, NDArray[np.uint64]]:
    """For each length n a hash of every n successive ids [max(0, W - n + 1)].

    The polynomial hash of a + b ids comes from those of its halves, h(first) MULTIPLIER^b + h(second); runs of 1, 2, 4, ...
    ids are made once, and other lengths put together from them.
    """
    wanted = sorted(set(lengths))
    doubled = {1: ids.astype(np.uint64) + np.uint64(1)}
    while 2 * max(doubled) <= wanted[-1]:
        half = max(doubled)
        doubled[2 * half] = joined(doubled[half], doubled[half], half, half)
    found = {}
    for length in wanted:
        size, hashes = 0, doubled[1][:0]
        for power in sorted(doubled, reverse=True):
            if length & power:
                hashes = joined(hashes, doubled[power], size, power) if size else doubled[power]
                size += power
        found[length] = hashes ^ (hashes >> np.uint64(32))
    return found


def joined(
    first: NDArray[np.uint64], second: NDArray[np.uint64], first_length: int, second_length: int
) -> NDArray[np.uint64]:
    """Hashes of runs of both lengths together, from hashes of runs that begin at each place."""
    count = max(0, len(second) - first_length)
    factor = np.uint64(pow(MULTIPLIER, second_length, 2**64))
    return first[:count] * factor + second[first_length : first_length + count]
