"""Putting tokenised documents in order with bounded memory: an external merge sort.

Documents are held until they pass the bound, then written out as a sorted run; at the end the runs are merged. Memory
is the bound plus one batch of each run's table; the disk holds the tokens once more while runs exist. One open file a
run: about 250 GB at 256 MB a run.
"""

import heapq
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BYTES_PER_ENTRY = 500  # an estimate, on the safe side, of the Python objects of an entry beside its tokens
ROWS_PER_BATCH = 1024
RUN_SCHEMA = pa.schema(
    [
        ("key", pa.binary()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("num_bytes", pa.int64()),
        ("num_tokens", pa.int64()),
    ]
)


class Entry(NamedTuple):
    """A document on its way to the shards. `key` is unique and decides its place; `tokens` uint32."""

    key: bytes
    id: str
    source: str
    domain: str
    num_bytes: int
    tokens: np.ndarray


class DocumentSorter:
    def __init__(self, folder: Path, memory_bytes: int) -> None:
        """`folder` holds the runs, if any are needed; it is made and removed here."""
        self.folder, self.memory_bytes = folder, memory_bytes
        self._held: list[Entry] = []
        self._held_bytes = 0
        self._runs = 0

    def add(self, entry: Entry) -> None:
        self._held.append(entry)
        self._held_bytes += entry.tokens.nbytes + BYTES_PER_ENTRY
        if self._held_bytes > self.memory_bytes:
            self._write_run()

    def drain(self) -> Iterator[Entry]:
        """Every entry in order of key. Afterwards the sorter is empty and its folder gone."""
        self._held.sort(key=lambda entry: entry.key)
        yield from heapq.merge(
            *(self._read_run(run) for run in range(self._runs)), self._held, key=lambda entry: entry.key
        )
        self._held = []
        if self._runs:
            shutil.rmtree(self.folder)

    def _write_run(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held.sort(key=lambda entry: entry.key)
        with (self.folder / f"{self._runs:05d}.bin").open("wb") as file:
            for entry in self._held:
                file.write(entry.tokens.astype("<u4").tobytes())
        rows = [(*entry[:5], len(entry.tokens)) for entry in self._held]
        columns = dict(zip(RUN_SCHEMA.names, map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(
            pa.table(columns, schema=RUN_SCHEMA),
            self.folder / f"{self._runs:05d}.parquet",
            row_group_size=ROWS_PER_BATCH,
        )
        self._held, self._held_bytes, self._runs = [], 0, self._runs + 1

    def _read_run(self, run: int) -> Iterator[Entry]:
        tokens_path = self.folder / f"{run:05d}.bin"
        offset = 0
        with pq.ParquetFile(self.folder / f"{run:05d}.parquet") as file:
            for batch in file.iter_batches(batch_size=ROWS_PER_BATCH):
                for row in batch.to_pylist():
                    num_tokens = row.pop("num_tokens")
                    tokens = np.fromfile(tokens_path, "<u4", num_tokens, offset=offset)
                    offset += 4 * num_tokens
                    yield Entry(**row, tokens=tokens)
