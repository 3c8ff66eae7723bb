"""The decision table: one row per record that was read, with its verdict, the rule, the reason and every score.

It lies in `decisions-N.parquet`, one file for every shard of documents, and `decisions-quarantine.parquet` for the records
that never became documents.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seedbed.corpus.chain import SCORE_PREFIX
from seedbed.corpus.decide import (
    ALL_CUT,
    EMPTY,
    EXACT_DEDUP,
    IN_VALIDATION,
    KEPT,
    MERGED,
    NEAR_DEDUP,
    NEAR_VALIDATION,
    OTHER_CAUSES,
    Decided,
    Ledger,
)
from seedbed.corpus.records import Quarantined
from seedbed.corpus.store import UNREADABLE, damaged, read_table
from seedbed.errors import SeedbedError

VERDICTS = ("kept", "removed", "merged", "quarantined")
GROUP_ROWS = 16_384
KnownIds = Callable[[NDArray[np.int64]], dict[int, str]]

BASE_FIELDS = [
    ("id", pa.string()),
    ("source", pa.string()),
    ("domain", pa.string()),
    ("language", pa.string()),
    ("split", pa.string()),
    ("verdict", pa.string()),
    ("rule", pa.string()),
    ("reason", pa.string()),
    ("merged_into", pa.string()),
    ("bytes_in", pa.int64()),  # of the record as it was read
    ("bytes_text", pa.int64()),  # UTF-8 of the normalised, edited text, whatever the verdict
    ("bytes_out", pa.int64()),  # of what is written: less by what `dedup` cut, and 0 where it is not kept
]


QUARANTINE_SCHEMA = pa.schema(BASE_FIELDS)


def quarantine_row(record: Quarantined) -> dict[str, Any]:
    """The decision that a quarantined record is."""
    return {
        "id": record.id,
        "source": record.source,
        "domain": record.domain,
        "language": "",
        "split": record.split,
        "verdict": "quarantined",
        "rule": record.rule,
        "reason": record.reason,
        "merged_into": "",
        "bytes_in": record.bytes_in,
        "bytes_text": 0,
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


class DecisionBook:
    """Verdicts on the scored shards, as rows of the table."""

    def __init__(self, ledger: Ledger, decided: Decided, known_ids: KnownIds = lambda documents: {}) -> None:
        """`known_ids`: ids of documents of earlier runs, by their numbers among those."""
        self.ledger = ledger
        self.decided = decided
        self._known_ids = known_ids
        self._reasons: dict[int, str] = {}

    def rows(self, shard: int) -> slice:
        return slice(int(self.ledger.starts[shard]), int(self.ledger.starts[shard + 1]))

    def verdicts(self, shard: int) -> NDArray[np.int8]:
        return self.decided.verdict[self.rows(shard)]

    def digest(self, shard: int) -> str:
        """Of the shard's verdicts and splits: two decisions that keep the same write the same."""
        arrays = (self.verdicts(shard), self.decided.split[self.rows(shard)])
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()

    def last_reason(self, shard: int) -> str:
        return self._reasons.get(shard, "")

    def write(self, folder: Path, quarantine: list[Path]) -> None:
        """All files of the table. Memory: the rows of one shard, and the ids that other documents were merged into."""
        ids = self.partner_ids()
        schema = None
        for shard in range(len(self.ledger.shards)):
            table = self.table(shard, ids)
            schema = table.schema
            pq.write_table(table, folder / f"decisions-{shard:05d}.parquet", GROUP_ROWS, compression="zstd")
        assert schema is not None
        with pq.ParquetWriter(folder / "decisions-quarantine.parquet", schema, compression="zstd") as writer:
            for path in quarantine:
                for batch in read_batches(path):
                    nothing = {name: pa.nulls(batch.num_rows, schema.field(name).type) for name in schema.names}
                    known = {name: batch.column(name) for name in batch.schema.names}
                    writer.write_table(pa.Table.from_pydict(nothing | known, schema=schema))

    def partner_ids(self) -> dict[int, str]:
        """Ids of the documents that others are the same as."""
        wanted = np.unique(self.decided.partner[self.decided.partner >= 0])
        beyond = len(self.ledger)
        known = self._known_ids(wanted[wanted >= beyond] - beyond)
        ids = {beyond + number: name for number, name in known.items()}
        for shard, path in enumerate(self.ledger.shards):
            start, stop = self.ledger.starts[shard], self.ledger.starts[shard + 1]
            here = wanted[(wanted >= start) & (wanted < stop)]
            if len(here):
                column = read_table(path, columns=["id"]).column("id").take(pa.array(here - start))
                ids |= dict(zip(here.tolist(), column.to_pylist(), strict=True))
        return ids

    def table(self, shard: int, ids: dict[int, str]) -> pa.Table:
        """The rows of one shard."""
        scored = read_table(self.ledger.shards[shard])
        rows = self.rows(shard)
        verdict, cause = self.verdicts(shard), self.decided.cause[rows]
        partner, split = self.decided.partner[rows], self.decided.split[rows]
        similarity = self.decided.similarity[rows]
        rules, reasons, merged = ([""] * len(verdict) for _ in range(3))
        splits = scored.column("split").to_pylist()
        names = scored.column("id")
        for at in np.flatnonzero(verdict == KEPT).tolist():
            splits[at] = self.decided.splits[split[at]]
        for at in np.flatnonzero(cause >= 0).tolist():
            other = ids.get(int(partner[at]), "")
            rules[at], reasons[at] = self.explain(int(cause[at]), scored, at, other, float(similarity[at]))
            merged[at] = other if verdict[at] == MERGED else ""
        if len(gone := np.flatnonzero(cause >= 0)):
            self._reasons[shard] = f"{names[int(gone[-1])].as_py()}: {reasons[gone[-1]]}"
        columns = {name: scored.column(name) for name in ("id", "source", "domain", "language", "bytes_in")}
        columns |= {"split": pa.array(splits, pa.string()), "rule": pa.array(rules, pa.string())}
        columns |= {"verdict": pa.array(np.array(VERDICTS)[verdict].tolist(), pa.string())}
        columns |= {"reason": pa.array(reasons, pa.string()), "merged_into": pa.array(merged, pa.string())}
        sizes, written = scored.column("bytes_out").to_numpy(), self.decided.num_bytes[rows]
        columns |= {"bytes_text": pa.array(sizes), "bytes_out": pa.array(np.where(verdict == KEPT, written, 0))}
        columns |= {name: scored.column(name) for name in scored.column_names if name.startswith(SCORE_PREFIX)}
        scores = [field for field in scored.schema if field.name.startswith(SCORE_PREFIX)]
        return pa.Table.from_pydict(columns, schema=pa.schema([*BASE_FIELDS, *scores]))

    def explain(self, cause: int, scored: pa.Table, at: int, other: str, similarity: float) -> tuple[str, str]:
        """The rule's name and the reason as a sentence."""
        if cause < len(self.ledger.rules):
            rule = self.ledger.rules[cause]
            return rule.name, rule.check(scored.column(rule.column)[at].as_py()).reason
        name = OTHER_CAUSES[cause - len(self.ledger.rules)]
        return name, {
            EMPTY: "nothing is left of the text after normalisation.",
            IN_VALIDATION: f"equal to the validation document {other}.",
            ALL_CUT: "nothing is left of the text once what repeats other documents is cut.",
            NEAR_VALIDATION: f"similar to the validation document {other} (Jaccard {similarity:.3f} of word n-grams).",
            EXACT_DEDUP: f"equal to {other}, which is kept.",
            NEAR_DEDUP: f"similar to {other}, which is kept (Jaccard {similarity:.3f} of word n-grams).",
        }[name]


def decision_parts(folder: Path, shard: int | None = None) -> list[Path]:
    parts = sorted(folder.glob("decisions-*.parquet" if shard is None else f"decisions-{shard:05d}.parquet"))
    if not parts:
        raise SeedbedError(f"{folder}: no decisions-*.parquet: delete the folder and run the same command again")
    return parts


def decision_batches(
    folder: Path, columns: list[str] | None = None, shard: int | None = None
) -> Iterator[pa.RecordBatch]:
    """The table in `folder`, or one shard of it, some thousand rows in memory at a time."""
    for part in decision_parts(folder, shard):
        yield from read_batches(part, columns)


def decision_table(folder: Path, columns: list[str], shard: int) -> pa.Table:
    """Columns of one shard of the table in `folder`, which may have no row."""
    return pa.concat_tables(read_table(part, columns) for part in decision_parts(folder, shard))


def read_batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(GROUP_ROWS, columns=columns)
    except UNREADABLE as error:
        raise damaged(path, error) from None


def read_decision_rows(folder: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of the table in `folder`."""
    for batch in decision_batches(folder, columns):
        yield from batch.to_pylist()
