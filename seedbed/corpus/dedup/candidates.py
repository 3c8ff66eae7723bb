"""Candidate pairs: documents that share a band's key, found one band and one part of the key space at a time.

Documents have numbers: shards in order, documents in order. A bucket with many documents does not give all its pairs: the
LEADERS best of it, in the order of keeping, are paired with everyone. What a bucket's others would be merged into is the best of
it, so it is among them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.corpus.dedup.tables import bands_path, range_of_part, rows_path, slice_of
from seedbed.corpus.store import read_array

LEADERS = 16  # a bucket of up to 17 documents gives every pair, one of n documents at most 16 n
PART_KEYS = 1 << 20  # of a band, that a task holds on average: 240 MB with their order; pairs add 16 each at worst
LEFT_OUT = -1  # rank of a document that is not to be compared, such as a second copy


def num_parts(num_documents: int) -> int:
    """Parts of the key space: by the number of documents alone, so that results do not depend on the machine."""
    return max(1, -(-num_documents // PART_KEYS))


def find_candidates(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: the pairs of one part of the key space, over all bands.

    Task: `tables` [(folder, shard)], `starts` (number of each shard's first document), `part`, `parts`, `ranks` (file with the
    documents' int64 ranks, the best lowest, LEFT_OUT for none), `first_known` (documents from it on are of earlier runs and not
    compared with each other).
    Writes `pairs-N.npy`: int64 [pairs, 2], the lower number first, sorted; `paired-N.npy`: int64, documents in them.
    """
    ranks = np.load(task["ranks"], mmap_mode="r")
    low, high = range_of_part(task["part"], task["parts"])
    tables = [
        (read_array(bands_path(Path(at), shard), True), read_array(rows_path(Path(at), shard), True), start)
        for (at, shard), start in zip(task["tables"], task["starts"], strict=True)
    ]
    pairs = np.empty((0, 2), np.int64)
    largest = crowded = 0
    for band in range(tables[0][0].shape[0] if tables else 0):
        keys, documents = read_band(tables, band, low, high)
        found, sizes = bucket_pairs(keys, documents, ranks[documents], task["first_known"])
        pairs = unique_pairs([pairs, found])
        largest = max(largest, int(sizes.max(initial=0)))
        crowded += int(np.count_nonzero(sizes > LEADERS + 1))
    np.save(folder / f"pairs-{task['part']:05d}.npy", pairs)
    np.save(folder / f"paired-{task['part']:05d}.npy", np.unique(pairs))
    return {"pairs": len(pairs), "largest_bucket": largest, "crowded_buckets": crowded}


def read_band(
    tables: Sequence[tuple[np.ndarray, np.ndarray, int]], band: int, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keys in [low, high) of one band over all shards, and the numbers of their documents."""
    keys, documents = [], []
    for sorted_keys, rows, start in tables:
        where = slice_of(sorted_keys[band], low, high)
        keys.append(sorted_keys[band, where])
        documents.append(rows[band, where].astype(np.int64) + start)
    return np.concatenate(keys), np.concatenate(documents)


def bucket_pairs(
    keys: np.ndarray, documents: np.ndarray, ranks: np.ndarray, first_known: int, leaders: int = LEADERS
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs int64 [pairs, 2] within buckets of equal keys, and the size of every bucket.

    Each of a bucket's `leaders` best is paired with all that rank after it. Pairs of two documents from `first_known` on are
    dropped.
    """
    asked = ranks != LEFT_OUT
    keys, documents, ranks = keys[asked], documents[asked], ranks[asked]
    order = np.lexsort((documents, ranks, keys))
    keys, documents = keys[order], documents[order]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.empty(0, np.int64)
    sizes = np.diff(np.append(first, len(keys)))
    place = np.arange(len(keys)) - np.repeat(first, sizes)
    found = []
    for leader in range(min(leaders, int(sizes.max(initial=1)) - 1)):
        followers = np.flatnonzero(place > leader)
        ends = np.stack([documents[followers - place[followers] + leader], documents[followers]], axis=1)
        found.append(ends[ends.min(axis=1) < first_known])
    return (np.concatenate(found) if found else np.empty((0, 2), np.int64)), sizes


def unique_pairs(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Pairs of all groups, once each, the lower number first, in order."""
    pairs = np.sort(np.concatenate([np.empty((0, 2), np.int64), *groups]), axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    new = np.any(pairs[1:] != pairs[:-1], axis=1)
    return pairs[np.append(True, new)] if len(pairs) else pairs
