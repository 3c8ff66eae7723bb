"""The decision table: one row per record that was read, with its verdict, the rule, the reason and every score."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.corpus.records import Quarantined
from seedbed.errors import SeedbedError

VERDICTS = ("kept", "removed", "merged", "quarantined")
SCORE_PREFIX = "score."
GROUP_ROWS = 16_384

BASE_FIELDS = [
    ("id", pa.string()),
    ("source", pa.string()),
    ("domain", pa.string()),
    ("split", pa.string()),
    ("verdict", pa.string()),
    ("rule", pa.string()),
    ("reason", pa.string()),
    ("merged_into", pa.string()),
    ("bytes_in", pa.int64()),
    ("bytes_out", pa.int64()),
]


def decision_schema(scorers: Iterable[str]) -> pa.Schema:
    """Columns of the table for these scorers. Scores are null for records that were quarantined: they have no text."""
    return pa.schema([*BASE_FIELDS, *((SCORE_PREFIX + name, pa.float64()) for name in scorers)])


def quarantine_row(record: Quarantined) -> dict[str, Any]:
    """The decision that a quarantined record is."""
    return {
        "id": record.id,
        "source": record.source,
        "domain": record.domain,
        "split": record.split,
        "verdict": "quarantined",
        "rule": record.rule,
        "reason": record.reason,
        "merged_into": "",
        "bytes_in": record.bytes_in,
        "bytes_out": 0,
    }


class DecisionWriter:
    """Writes rows to one Parquet file, some thousand at a time. Use it in a `with` block."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def __enter__(self) -> "DecisionWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def read_decision_rows(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of the table, one row group in memory at a time."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(GROUP_ROWS, columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowException, FileNotFoundError) as error:
        detail = (str(error).splitlines() or ["no detail"])[0]
        raise SeedbedError(
            f"{path} cannot be read ({detail}): delete its folder and run the same command again"
        ) from None


def find_decision(path: Path, identity: str) -> dict[str, Any] | None:
    rows = pq.read_table(path, filters=[("id", "=", identity)]).to_pylist()
    return rows[0] if rows else None
