"""Documents on disk: Parquet parts of at most 64 MB of text, written and read a row group at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.corpus.records import Document, well_formed
from seedbed.errors import SeedbedError

PART_BYTES = 64 << 20  # text of one file
GROUP_BYTES = 8 << 20  # text of one row group: what a reader holds at a time
BATCH_ROWS = 1024
UNREADABLE = (pa.ArrowException, OSError)  # what reading a damaged Parquet file may raise

DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("origin", pa.string()),
        ("url", pa.string()),
        ("title", pa.string()),
        ("licence", pa.string()),
        ("opt_out", pa.string()),
        ("date", pa.string()),
        ("language", pa.string()),
        ("domain", pa.string()),
        ("bytes_in", pa.int64()),
        ("split", pa.string()),
        ("metadata", pa.string()),
    ]
)


def document_row(document: Document) -> dict[str, Any]:
    row = {name: getattr(document, name) for name in DOCUMENT_SCHEMA.names}
    row["metadata"] = well_formed(json.dumps(document.metadata, ensure_ascii=False))
    return row


class DocumentWriter:
    """Writes rows as `PREFIX-00000.parquet`, ... in the order they come, each whole or not at all. Use it in a `with` block."""

    def __init__(
        self, folder: Path, prefix: str = "documents", schema: pa.Schema = DOCUMENT_SCHEMA, digits: int = 5
    ) -> None:
        self._folder = folder
        self._digits = digits
        self._prefix = prefix
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._group_bytes = 0
        self._part_bytes = 0
        self._parts = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "DocumentWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
            if self._parts == 0:
                self._open()  # no document at all is still a file with a schema
            self._close()
        elif self._writer is not None:
            self._writer.close()

    def add(self, row: dict[str, Any], text_bytes: int) -> None:
        """Append a row; `text_bytes`: the UTF-8 bytes of its text."""
        if self._part_bytes + text_bytes > PART_BYTES and self._part_bytes:
            self._flush()
            self._close()
            self._part_bytes = 0
        self._rows.append(row)
        self._group_bytes += text_bytes
        self._part_bytes += text_bytes
        if self._group_bytes >= GROUP_BYTES:
            self._flush()

    def _open(self) -> pq.ParquetWriter:
        self._path = self._folder / f"{self._prefix}-{self._parts:0{self._digits}d}.parquet"
        self._writer = pq.ParquetWriter(self._partial, self._schema, compression="zstd", compression_level=1)
        self._parts += 1
        return self._writer

    @property
    def _partial(self) -> Path:
        return self._path.with_name(f".{self._path.name}.partial")

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._partial.replace(self._path)
            self._writer = None

    def _flush(self) -> None:
        if self._rows:
            writer = self._writer or self._open()
            writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows, self._group_bytes = [], 0


def document_parts(folder: Path, prefix: str = "documents") -> list[Path]:
    parts = sorted(folder.glob(f"{prefix}-*.parquet"))
    if not parts:
        raise SeedbedError(f"{folder}: no {prefix}-*.parquet: delete the folder and run the same command again")
    return parts


def read_documents(
    folder: Path, columns: list[str] | None = None, prefix: str = "documents"
) -> Iterator[pa.RecordBatch]:
    """Record batches of the documents in `folder`, in the order written, one row group in memory at a time."""
    for part in document_parts(folder, prefix):
        yield from read_part(part, columns)


def read_part(part: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Record batches of one file, one row group in memory at a time."""
    try:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                yield from file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns)
    except UNREADABLE as error:
        raise damaged(part, error) from None


def read_table(path: Path, columns: list[str] | None = None, filters: Any = None) -> pa.Table:
    """A whole Parquet file of a finished stage, or some columns or rows of it. Raises SeedbedError where it is damaged."""
    try:
        return pq.read_table(path, columns=columns, filters=filters)
    except UNREADABLE as error:
        raise damaged(path, error) from None


def read_array(path: Path, mapped: bool = False) -> Any:
    """An array of a finished stage. Raises SeedbedError where it is damaged."""
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:  # NumPy reads the header as Python
        raise damaged(path, error) from None


def damaged(part: Path, error: Exception) -> SeedbedError:
    what = (str(error).splitlines() or [type(error).__name__])[0]
    said = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged ({what})"
    return SeedbedError(f"{part} {said}: delete its folder and run the same command again")
