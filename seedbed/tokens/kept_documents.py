"""Reading what `curate` kept: the columns of its Parquet files, in the order of the files and with bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seedbed.errors import SeedbedError

ROWS_PER_BATCH = 512


@dataclass(frozen=True)
class SplitSize:
    documents: int
    bytes: int  # of UTF-8 text


def read_batches(folder: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches of the kept documents with these columns; memory is one row group of one file."""
    for path in sorted(folder.glob("documents-*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(batch_size=ROWS_PER_BATCH, columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise SeedbedError(
                f"{path} cannot be read ({reason}): delete the folder {folder} and run the same command again"
            ) from None


def read_rows(folder: Path, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """The same as lists of rows."""
    for batch in read_batches(folder, columns):
        yield batch.to_pylist()


def split_sizes(folder: Path) -> dict[str, SplitSize]:
    """Documents and bytes of text of each split, by name."""
    documents: dict[str, int] = {}
    num_bytes: dict[str, int] = {}
    for batch in read_batches(folder, ["split", "text"]):
        lengths = pc.binary_length(batch.column("text").cast(pa.binary()))
        table = pa.table({"split": batch.column("split"), "bytes": lengths}).group_by("split")
        for row in table.aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist():
            name = row["split"]
            documents[name] = documents.get(name, 0) + row["bytes_count"]
            num_bytes[name] = num_bytes.get(name, 0) + row["bytes_sum"]
    return {name: SplitSize(documents[name], num_bytes[name]) for name in sorted(documents)}
