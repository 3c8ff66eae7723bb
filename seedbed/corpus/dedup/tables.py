"""What deduplication keeps on disk of a shard's documents: their band keys, sorted, so that a range of keys is one read."""

from pathlib import Path

import numpy as np

from seedbed.corpus.dedup.signature import NO_KEY
from seedbed.corpus.store import read_array


def write_bands(folder: Path, shard: int, keys: np.ndarray) -> None:
    """`keys` u64 [documents, bands] of a shard, in the order of its documents.

    `bands-N.npy`: u64 [bands, documents], each band sorted; `rows-N.npy`: u32, the document that each key is of.
    """
    rows = np.argsort(keys, axis=0, kind="stable")
    np.save(bands_path(folder, shard), np.ascontiguousarray(np.take_along_axis(keys, rows, axis=0).T))
    np.save(rows_path(folder, shard), np.ascontiguousarray(rows.T.astype(np.uint32)))


def bands_path(folder: Path, shard: int) -> Path:
    return folder / f"bands-{shard:05d}.npy"


def rows_path(folder: Path, shard: int) -> Path:
    return folder / f"rows-{shard:05d}.npy"


def read_keys(folder: Path, shard: int) -> np.ndarray:
    """u64 [documents, bands] as they were given to `write_bands`."""
    keys, rows = read_array(bands_path(folder, shard)), read_array(rows_path(folder, shard))
    found = np.empty_like(keys)
    np.put_along_axis(found, rows.astype(np.int64), keys, axis=1)
    return np.ascontiguousarray(found.T)


def count_documents(folder: Path, shard: int) -> int:
    return int(read_array(bands_path(folder, shard), mapped=True).shape[1])


def range_of_part(part: int, parts: int) -> tuple[int, int]:
    """The keys of a part of the key space: first, and one past the last."""
    return part * (1 << 64) // parts, (part + 1) * (1 << 64) // parts


def slice_of(sorted_keys: np.ndarray, low: int, high: int, with_zero: bool = False) -> slice:
    """Where keys in [low, high) lie. Zero is NO_KEY and left out unless asked for."""
    start = int(np.searchsorted(sorted_keys, np.uint64(low if with_zero else max(low, NO_KEY + 1))))
    end = len(sorted_keys) if high > 0xFFFFFFFFFFFFFFFF else int(np.searchsorted(sorted_keys, np.uint64(high)))
    return slice(start, end)
