"""The files of evaluation sets, as records.

Read are JSON lines and CSV (plain, .gz, .xz, .zst, .lz4), Parquet, and text, of which a line is a record. CSV is as MMLU has it
(question, four choices, letter; no header), or has a header. In folders text files are passed over: there they are read-me's and
lists. A set's name is its file's name without endings, with the folder's where two are the same.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seedbed.corpus.decontaminate.items import KNOWN, Item, item_of
from seedbed.corpus.records import strip_compression
from seedbed.corpus.streams import BrokenStream, read_chunks, split_lines, to_utf8
from seedbed.errors import InputError

MAX_LINE = 16 << 20  # bytes of an item
ENDINGS = (".jsonl", ".ndjson", ".csv", ".parquet")
TEXTS = (".txt", ".text")
READABLE = (
    "JSON lines, Parquet, CSV as MMLU has it or with a header that names a question, or text with an item a line, "
    "and name no folder that holds other files"
)


def set_files(paths: tuple[str, ...]) -> dict[str, Path]:
    """Name -> file of every set in these files and folders. Raises InputError where there is none."""
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(p for p in path.rglob("*") if is_set(p)) if path.is_dir() else [path]
        if not path.exists() or not found:
            what = "holds no .jsonl, .csv or .parquet file" if path.exists() else "does not exist"
            raise InputError(
                f"curate.decontaminate: {path} {what}: name a file of evaluation items, or a folder of them"
            )
        files += found
    names: dict[str, Path] = {}
    stems = [strip_compression(path.name).rsplit(".", 1)[0] for path in files]
    for path, stem in zip(files, stems, strict=True):
        name = stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        if name in names and names[name] != path:
            raise InputError(f"curate.decontaminate.sets: {names[name]} and {path} have one name: rename one of them")
        names[name] = path
    return names


def is_set(path: Path) -> bool:
    """Whether a file of a folder is one of evaluation items."""
    return path.is_file() and not path.name.startswith(".") and plain_name(path).endswith(ENDINGS)


def plain_name(path: Path) -> str:
    return strip_compression(path.name.lower())


def read_items(path: Path) -> Iterator[Item]:
    """The items of one file. Raises InputError with the line where one cannot be read."""
    for number, record in read_records(path):
        item = item_of(number, record)
        if item is not None:
            yield item


def read_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(number, record) of every line that is not blank, or of every row; both count from 1."""
    number, name = 0, plain_name(path)
    rows: Iterator[Any] = parquet_rows(path) if name.endswith(".parquet") else read_lines(path)
    read: Callable[[Any], Mapping[str, Any] | None] = json_record
    if name.endswith(".csv"):
        rows, read = csv.reader(line.decode() + "\n" for line in rows), CsvRecords()
    elif name.endswith(".parquet"):
        read = dict
    elif name.endswith(TEXTS):
        read = text_record
    try:
        for number, row in enumerate(rows, 1):
            record = read(row)
            if record is not None:
                yield number, record
    except (ValueError, RecursionError, csv.Error, BrokenStream, OSError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: line {max(1, number)}: {detail}: give {READABLE}") from None


def json_record(line: bytes) -> Mapping[str, Any] | None:
    if not line.strip():
        return None
    record = json.loads(line.decode())
    if not isinstance(record, dict):
        raise ValueError("expected a JSON object")
    return record


def text_record(line: bytes) -> Mapping[str, Any] | None:
    return {"text": line.decode()} if line.strip() else None


def parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from (row for batch in file.iter_batches(1024) for row in batch.to_pylist())
    except pa.ArrowException as error:
        raise ValueError(f"no Parquet that can be read ({str(error).splitlines()[0]})") from None


def read_lines(path: Path) -> Iterator[bytes]:
    for _, line in split_lines(to_utf8(read_chunks(str(path), path.stat().st_size)), MAX_LINE):
        if isinstance(line, int):
            raise ValueError(f"{line:,} bytes, above {MAX_LINE:,}")
        yield line


class CsvRecords:
    """Rows under a header that names a field which items have, or rows of MMLU's six columns."""

    def __init__(self) -> None:
        self.names: list[str] | None = None

    def __call__(self, row: list[str]) -> Mapping[str, Any] | None:
        if self.names is None:
            self.names = row if KNOWN & set(row) else []
            if self.names:
                return None
        if not self.names:
            return mmlu_record(row)
        if len(row) != len(self.names):
            raise ValueError(f"{len(row)} columns under a header of {len(self.names)}")
        return dict(zip(self.names, row, strict=True))


def mmlu_record(row: list[str]) -> dict[str, Any]:
    """MMLU's files have no header: question, four choices, letter."""
    if len(row) != 6 or row[5].strip() not in ("A", "B", "C", "D"):
        raise ValueError(f"{len(row)} columns, expected question, four choices and a letter from A to D, or a header")
    return {"question": row[0], "choices": row[1:5], "gold": "ABCD".index(row[5].strip())}
