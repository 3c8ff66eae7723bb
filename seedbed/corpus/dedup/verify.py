"""Verification: the true Jaccard similarity of every candidate pair, from the shingles of the two texts.

First each shard's texts are read once, in order, and the shingles of those that are in a pair stored; then pairs are compared by
looking both ends up. Memory: the pairs of a shard and what the system maps of the stored shingles.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.corpus.dedup.candidates import unique_pairs
from seedbed.corpus.dedup.signature import MinHasher, jaccard

FLOOR = 0.5  # edges below are not kept: the lowest threshold that can be decided again without comparing again
EDGE_SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("jaccard", pa.float64())])


def wanted_rows(folder: Path, parts: int, start: int, end: int) -> np.ndarray:
    """Rows within the shard of documents [start, end) that are in a candidate pair, ascending."""
    found = [np.empty(0, np.int64)]
    for part in range(parts):
        documents = np.load(folder / f"paired-{part:05d}.npy", mmap_mode="r")
        found.append(documents[slice(*np.searchsorted(documents, [start, end]))])
    return np.unique(np.concatenate(found)) - start


def store_shingles(
    folder: Path, shard: int, start: int, texts: Iterable[tuple[int, str]], hasher: MinHasher
) -> dict[str, int]:
    """`texts`: (row in the shard, text), ascending. Writes `shingles-N.bin` (u64, one sorted set after the other) and
    `stored-N.npy`: int64 [1 + documents, 2], number and end.
    """
    places = [(-1, 0)]
    with (folder / f"shingles-{shard:05d}.bin").open("wb") as file:
        for row, text in texts:
            shingles = hasher.shingles(text)
            shingles.astype("<u8").tofile(file)
            places.append((start + row, places[-1][1] + len(shingles)))
    np.save(folder / f"stored-{shard:05d}.npy", np.array(places, np.int64))
    return {"texts": len(places) - 1, "shingles": places[-1][1]}


class StoredShingles:
    """The stored shingles of all shards, by document number."""

    def __init__(self, folder: Path, starts: Sequence[int]) -> None:
        """`starts`: number of each shard's first document."""
        self._folder, self._starts = folder, np.array(starts, np.int64)
        self._open: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __getitem__(self, document: int) -> np.ndarray:
        shard = int(np.searchsorted(self._starts, document, "right")) - 1
        if shard not in self._open:
            path = self._folder / f"shingles-{shard:05d}.bin"
            data = np.memmap(path, "<u8", "r") if path.stat().st_size else np.empty(0, np.uint64)
            self._open[shard] = data, np.load(self._folder / f"stored-{shard:05d}.npy")
        data, stored = self._open[shard]
        place = int(np.searchsorted(stored[:, 0], document))
        assert stored[place, 0] == document, f"document {document} has no shingles stored"
        return data[stored[place - 1, 1] : stored[place, 1]]


def verify_pairs(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: the edges of pairs whose lower document is in the shard.

    Task: `shard`, `starts`, `end` (one past the shard's last document), `parts`, `work` (folder of pairs and shingles). Writes
    `edges-N.parquet` (EDGE_SCHEMA, sorted).
    """
    work, start, parts = Path(task["work"]), task["starts"][task["shard"]], task["parts"]
    found = []
    for part in range(parts):
        pairs = np.load(work / f"pairs-{part:05d}.npy", mmap_mode="r")
        found.append(pairs[slice(*np.searchsorted(pairs[:, 0], [start, task["end"]]))])
    pairs = unique_pairs(found)
    similarities = similarities_of(pairs, StoredShingles(work, task["starts"]))
    edges = similarities >= FLOOR
    write_edges(folder / f"edges-{task['shard']:05d}.parquet", pairs[edges], similarities[edges])
    return {"pairs": len(pairs), "edges": int(edges.sum())}


def similarities_of(pairs: np.ndarray, stored: StoredShingles) -> np.ndarray:
    """Jaccard similarity of each pair; 0 where the sets' sizes alone say that it is below FLOOR."""
    similarities = np.zeros(len(pairs))
    last, shingles = -1, np.empty(0, np.uint64)
    for number, (a, b) in enumerate(pairs.tolist()):
        if a != last:
            last, shingles = a, stored[a]
        others = stored[b]
        if min(len(shingles), len(others)) >= FLOOR * max(len(shingles), len(others)):
            similarities[number] = jaccard(shingles, others)
    return similarities


def write_edges(path: Path, pairs: np.ndarray, similarities: np.ndarray) -> None:
    table = pa.Table.from_arrays(
        [pa.array(pairs[:, 0]), pa.array(pairs[:, 1]), pa.array(similarities)], schema=EDGE_SCHEMA
    )
    pq.write_table(table, path, compression="zstd")
