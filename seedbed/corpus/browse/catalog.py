"""Searching the decision table: a row group in memory at a time, a page of rows an answer, within a time limit."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seedbed.corpus.chain import SCORE_PREFIX
from seedbed.corpus.inspect import QUARANTINE, At, Inspector, read_row
from seedbed.corpus.store import UNREADABLE, damaged
from seedbed.errors import InputError

PAGE = 50
SECONDS = 1.5  # an answer comes by then, finished or with the place to go on from
SHOWN = ["id", "source", "domain", "language", "split", "verdict", "rule", "reason", "merged_into", "bytes_text"]
PLACES = ("id", "url", "title", "text")


@dataclass(frozen=True)
class Query:
    """Filters; "" and None mean any. `find` is looked for, whatever its case, in the `place`; scores in [low, high]."""

    verdict: str = ""
    rule: str = ""
    source: str = ""
    language: str = ""
    score: str = ""
    low: float | None = None
    high: float | None = None
    find: str = ""
    place: str = "id"


@dataclass(frozen=True)
class Cursor:
    """Where to go on: a part of the table, a row group of it, and a row of that."""

    part: int = 0
    group: int = 0
    row: int = 0

    @classmethod
    def read(cls, text: str) -> "Cursor":
        numbers = text.split(".")
        if not text:
            return cls()
        if len(numbers) != 3 or not all(number.isdigit() and len(number) < 12 for number in numbers):
            raise InputError(f"cursor: {text!r} is none: take it from the answer before")
        return cls(*map(int, numbers))

    def __str__(self) -> str:
        return f"{self.part}.{self.group}.{self.row}"


class Catalog:
    """The decision table of a run as pages."""

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector
        self.shards = list(inspector.decisions)
        first = inspector.decisions[self.shards[0]]
        try:
            self.scores = [name for name in pq.read_schema(first).names if name.startswith(SCORE_PREFIX)]
        except UNREADABLE as error:
            raise damaged(first, error) from None
        self._clusters: list[tuple[str, int]] | None = None

    def search(self, query: Query, cursor: Cursor, limit: int = PAGE, seconds: float = SECONDS) -> dict[str, Any]:
        """{"rows", "next": cursor or None, "finished": whether the whole table was looked through}."""
        if query.place not in PLACES:
            raise InputError(f"in: {query.place!r} is none of {', '.join(PLACES)}")
        if query.score and query.score not in self.scores:
            raise InputError(f"score: this run has no {query.score!r}")
        deadline = time.monotonic() + seconds
        rows: list[dict[str, Any]] = []
        for place, at, table in self.groups(cursor, [*SHOWN, *([query.score] if query.score else [])]):
            skipped = place.row
            found = self.matching(query, at, table)
            for row in found[found >= skipped].tolist():
                if len(rows) == limit:
                    return {"rows": rows, "next": str(Cursor(place.part, place.group, row)), "finished": False}
                rows.append(self.shown(At(at.shard, at.row + row), table, row, query.score))
            if time.monotonic() > deadline:
                return {"rows": rows, "next": str(Cursor(place.part, place.group + 1)), "finished": False}
        return {"rows": rows, "next": None, "finished": True}

    def groups(self, cursor: Cursor, columns: list[str]) -> Iterator[tuple[Cursor, At, pa.Table]]:
        """(place, the first row's At, the row group) from `cursor` on."""
        for number in range(cursor.part, len(self.shards)):
            shard = self.shards[number]
            path = self.inspector.decisions[shard]
            try:
                with pq.ParquetFile(path) as file:
                    start = 0
                    for group in range(file.num_row_groups):
                        begun = number > cursor.part or group >= cursor.group
                        if begun:
                            row = cursor.row if (number, group) == (cursor.part, cursor.group) else 0
                            yield Cursor(number, group, row), At(shard, start), file.read_row_group(group, columns)
                        start += file.metadata.row_group(group).num_rows
            except UNREADABLE as error:
                raise damaged(path, error) from None

    def matching(self, query: Query, at: At, table: pa.Table) -> NDArray[np.int64]:
        """Rows of the group that the query wants, ascending."""
        mask = np.ones(table.num_rows, bool)
        for name in ("verdict", "rule", "source", "language"):
            if value := getattr(query, name):
                wanted = "" if value == "(none)" else value
                mask &= pc.equal(table.column(name), wanted).to_numpy()
        if query.score:
            column = table.column(query.score)
            if pa.types.is_floating(column.type):
                values = pc.fill_null(column, float("nan")).to_numpy()
                mask &= (values >= (-np.inf if query.low is None else query.low)) & (
                    values <= (np.inf if query.high is None else query.high)
                )
        if query.find and mask.any():
            mask &= self.finding(query, at, table, np.flatnonzero(mask))
        return np.flatnonzero(mask)

    def finding(self, query: Query, at: At, table: pa.Table, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows hold what is looked for; only `rows` are asked."""
        found = np.zeros(table.num_rows, bool)
        if query.place == "id":
            found[:] = pc.match_substring(table.column("id"), query.find, ignore_case=True).to_numpy()
        elif at.shard != QUARANTINE:
            for start, column in self.document_groups(at.shard, query.place, at.row + rows):
                here = pc.match_substring(column, query.find, ignore_case=True).to_numpy(zero_copy_only=False)
                first, last = max(start, at.row), min(start + len(column), at.row + table.num_rows)
                found[first - at.row : last - at.row] = here[first - start : last - start]
        return found

    def document_groups(
        self, shard: int, column: str, rows: NDArray[np.int64]
    ) -> Iterator[tuple[int, pa.ChunkedArray]]:
        """(first row, the column) of the row groups of a shard's documents that hold some of `rows`, which are ascending."""
        path = self.inspector.documents[shard]
        try:
            with pq.ParquetFile(path) as file:
                start = 0
                for group in range(file.num_row_groups):
                    end = start + file.metadata.row_group(group).num_rows
                    if np.searchsorted(rows, start) < np.searchsorted(rows, end):
                        yield start, file.read_row_group(group, [column]).column(0)
                    start = end
        except UNREADABLE as error:
            raise damaged(path, error) from None

    def shown(self, at: At, table: pa.Table, row: int, score: str = "") -> dict[str, Any]:
        found = {name: table.column(name)[row].as_py() for name in SHOWN}
        value = table.column(score)[row].as_py() if score else None
        return {"at": str(at), **found, "score": finite(value)}

    def row(self, at: At, score: str = "") -> dict[str, Any]:
        found = read_row(self.inspector.decisions[at.shard], at.row, [*SHOWN, *([score] if score else [])])
        return {"at": str(at), **{name: found[name] for name in SHOWN}, "score": finite(found.get(score))}

    def clusters(self) -> list[tuple[str, int]]:
        """(kept document, documents merged into it), the largest first. Memory: an id for every cluster."""
        if self._clusters is None:
            counts: Counter[str] = Counter()
            for _, _, table in self.groups(Cursor(), ["merged_into"]):
                for entry in pc.value_counts(table.column(0)).to_pylist():
                    counts[entry["values"]] += entry["counts"]
            counts.pop("", None)
            counts.pop(None, None)  # type: ignore[call-overload]
            self._clusters = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return self._clusters

    def members(self, identity: str, limit: int) -> list[At]:
        """The first documents that were merged into this one."""
        found: list[At] = []
        for _, at, table in self.groups(Cursor(), ["merged_into"]):
            rows = np.flatnonzero(pc.fill_null(pc.equal(table.column(0), identity), False).to_numpy())
            found += [At(at.shard, at.row + row) for row in rows.tolist()]
            if len(found) >= limit:
                break
        return found[:limit]


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
