"""How much of a text stands word for word in the training text: the share of its 8-token sequences that occur there.

Held-out text shares many sequences with training text too (names, phrases, boilerplate), so a sample is to be judged beside
the share of held-out text, not beside zero.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.tokens.reader import ShardReader

SEQUENCE_TOKENS = 8
MAX_SEARCHED_TOKENS = (
    100_000_000  # about five seconds on one core; the shards are in random order, so a fair part of more
)
CHUNK_TOKENS = 1_000_000
MULTIPLIER = 0x9E3779B97F4A7C15
FILTER_BITS = 20  # of a hash, looked up in a table that fits the cache before the search among all that are wanted


def sequence_hashes(tokens: NDArray[np.integer]) -> NDArray[np.uint64]:
    """A 64-bit polynomial hash of each run of SEQUENCE_TOKENS tokens [max(0, P - 7)], its bits mixed.

    The hash of 2 n tokens comes from those of its halves, h(first) MULTIPLIER^n + h(second). A false match has odds of
    about (sequences asked x tokens searched) / 2^64: below 10^-6 here.
    """
    hashes = tokens.astype(np.uint64) + np.uint64(1)
    length = 1
    while length < SEQUENCE_TOKENS:
        first, second = hashes[: max(0, len(hashes) - length)], hashes[length:]
        hashes = first * np.uint64(pow(MULTIPLIER, length, 2**64)) + second
        length *= 2
    return hashes ^ (hashes >> np.uint64(32))


def copied_shares(
    texts: list[NDArray[np.integer]], train_folder: Path, check_stop: Callable[[], None] = lambda: None
) -> tuple[list[float | None], int]:
    """For each text the share of its sequences that the training shards hold, None if it has none; and the tokens searched."""
    shards = ShardReader(train_folder)
    asked = [sequence_hashes(text) for text in texts]
    wanted = np.unique(np.concatenate([*asked, np.empty(0, np.uint64)]))
    seen = np.zeros(len(wanted), np.bool_)
    mask = np.uint64((1 << FILTER_BITS) - 1)
    likely = np.zeros(1 << FILTER_BITS, np.bool_)
    likely[wanted & mask] = True
    searched = min(shards.num_tokens, MAX_SEARCHED_TOKENS)
    if len(wanted):
        for start in range(0, searched, CHUNK_TOKENS):
            check_stop()
            stop = min(searched, start + CHUNK_TOKENS + SEQUENCE_TOKENS - 1)
            hashes = sequence_hashes(shards.read(start, stop))
            hashes = hashes[likely[hashes & mask]]
            where = np.searchsorted(wanted, hashes)
            where[where == len(wanted)] = 0
            seen[where[wanted[where] == hashes]] = True
    shares = [float(seen[np.searchsorted(wanted, hashes)].mean()) if len(hashes) else None for hashes in asked]
    return shares, searched
