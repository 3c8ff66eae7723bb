"""Readers of one file each: text, JSON lines, Parquet. Bad data is quarantined, record by record, and never raises."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.corpus.records import (
    JSON_LINES,
    Document,
    Quarantined,
    Record,
    detect_bom,
    strip_compression,
    well_formed,
)
from seedbed.corpus.streams import MAX_RECORD_BYTES, BrokenStream, LineTooLong, read_chunks, split_lines, to_utf8
from seedbed.errors import InputError
from seedbed.recipe.schema import SourceConfig

BINARY_HEAD = 8192  # a NUL byte in this head means binary, as for git and grep
# Fields of a JSON or Parquet record with a column of their own; the first with a value wins. Others become metadata.
ORIGIN_FIELDS = ("url", "origin")
LICENCE_FIELDS = ("licence", "license")
LANGUAGE_FIELDS = ("language", "lang")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader reads: the file, the id of the document or of all its records, the source, the guessed domain."""

    path: Path
    id: str
    source: SourceConfig
    domain: str

    def quarantine(self, rule: str, reason: str, bytes_in: int, record: int | None = None) -> Quarantined:
        identity = self.id if record is None else f"{self.id}#{record}"
        domain = self.source.domain or self.domain
        return Quarantined(identity, rule, f"{reason}.", bytes_in, source=self.source.name, domain=domain)

    def document(self, text: str, bytes_in: int, record: int | None = None) -> Document:
        return Document(
            id=self.id if record is None else f"{self.id}#{record}",
            text=text,
            bytes_in=bytes_in,
            source=self.source.name,
            origin=str(self.path) if record is None else f"{self.path}:{record}",
            licence=self.source.licence,
            domain=self.source.domain or self.domain,
        )


def read_file(place: Place) -> Iterator[Record]:
    """The records of one file, by its type. A file that cannot be opened is quarantined."""
    try:
        name = strip_compression(place.path.name).lower()
        if name.endswith(".parquet"):
            yield from read_parquet(place)
        elif name.endswith(JSON_LINES) or (name.endswith(".json") and holds_json_lines(place)):
            yield from read_json_lines(place)
        else:
            yield from read_text(place)
    except OSError as error:
        yield place.quarantine("unreadable", f"the file cannot be read ({error.strerror or error})", 0)


def read_text(place: Place) -> Iterator[Record]:
    """A whole file as one document. UTF-8, or UTF-16/32 with a byte-order mark."""
    pieces, size = [], 0
    try:
        for chunk in read_chunks(place.path):
            pieces.append(chunk)
            size += len(chunk)
            if size > MAX_RECORD_BYTES:
                reason = f"one text of more than {MAX_RECORD_BYTES >> 20} MB: split it into files or JSON lines"
                yield place.quarantine("too_large", reason, place.path.stat().st_size)
                return
    except BrokenStream as error:
        yield place.quarantine("broken_stream", str(error), place.path.stat().st_size)
        return
    data = b"".join(pieces)
    encoding, mark = detect_bom(data)
    if encoding == "utf-8" and b"\0" in data[:BINARY_HEAD]:
        at = data.index(b"\0")
        yield place.quarantine("binary", f"binary, not text (a NUL byte at byte {at})", len(data))
        return
    try:
        text = data[mark:].decode(encoding)
    except UnicodeDecodeError as error:
        shown = data[mark + error.start : mark + error.end].hex(" ")
        reason = f"invalid {encoding.upper()} at byte {mark + error.start} ({shown}: {error.reason})"
        yield place.quarantine("invalid_encoding", reason, len(data))
        return
    yield place.document(text, len(data))


def holds_json_lines(place: Place) -> bool:
    """Whether a .json file is JSON lines: its first line is a whole object with the text field."""
    try:
        for _, line in split_lines(to_utf8(read_chunks(place.path))):
            return place.source.text_field in parse_object(line)
    except (BrokenStream, LineTooLong, ValueError, RecursionError):
        pass
    return False


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object in `line`. Raises ValueError (UnicodeDecodeError and JSONDecodeError are) or RecursionError."""
    value = json.loads(line.decode(), parse_constant=str)  # NaN and Infinity are no JSON: kept as words
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    return value


def read_json_lines(place: Place) -> Iterator[Record]:
    """One document per line. A broken line, or one without text, is quarantined by number; blank lines are skipped."""
    number = 0
    size = place.path.stat().st_size
    found = False
    try:
        for offset, line in split_lines(to_utf8(read_chunks(place.path))):
            number += 1
            if line.isspace() or not line:
                continue
            found = True
            yield read_json_line(place, number, offset, line)
    except BrokenStream as error:
        yield place.quarantine(
            "broken_stream", f"unread from line {number + 1} on: {error}", error.remaining, number + 1
        )
        return
    except LineTooLong:
        reason = f"unread from line {number + 1} on: a line of more than {MAX_RECORD_BYTES >> 20} MB"
        yield place.quarantine("too_large", reason, size, number + 1)
        return
    if not found:
        yield place.quarantine("empty", "the file holds no record", size)


def read_json_line(place: Place, number: int, offset: int, line: bytes) -> Record:
    try:
        fields = parse_object(line)
    except UnicodeDecodeError as error:
        reason = f"line {number}: invalid UTF-8 at byte {offset + error.start} ({error.reason})"
        return place.quarantine("invalid_encoding", reason, len(line), number)
    except json.JSONDecodeError as error:
        reason = f"line {number}: not valid JSON at column {error.colno} ({error.msg})"
        return place.quarantine("broken_json", reason, len(line), number)
    except (ValueError, RecursionError) as error:
        return place.quarantine("broken_json", f"line {number}: {error}", len(line), number)
    name = place.source.text_field
    text = fields.pop(name, None)
    if not isinstance(text, str):
        found = f"is {type(text).__name__}, not text" if text is not None else "is missing"
        present = ", ".join(list(fields)[:8])
        reason = f"line {number}: the field {name!r} {found} (fields there: {present or 'none'})"
        return place.quarantine("missing_text", reason, len(line), number)
    return document_of_fields(place, number, text, len(line), fields)


def document_of_fields(place: Place, number: int, text: str, bytes_in: int, fields: dict[str, Any]) -> Document:
    """A document whose columns come from the record's own fields where it has them. Uses up `fields`."""

    def take(names: tuple[str, ...], default: str) -> str:
        for name in names:
            if isinstance(fields.get(name), str) and fields[name]:
                return well_formed(str(fields.pop(name)))
        return default

    document = place.document(well_formed(text), bytes_in, number)
    document.origin = take(ORIGIN_FIELDS, document.origin)
    document.licence = take(LICENCE_FIELDS, document.licence)
    document.date = take(("date",), "")
    document.language = take(LANGUAGE_FIELDS, "")
    domain = take(("domain",), document.domain)
    document.domain = place.source.domain or domain
    document.metadata = fields
    return document


def read_parquet(place: Place) -> Iterator[Record]:
    """One document per row, some hundred rows in memory at a time. Raises InputError when there is no text column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = place.path.stat().st_size
    number = 0
    try:
        with pq.ParquetFile(place.path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            columns = parquet_columns(schema, place)
            if not rows:
                yield place.quarantine("empty", "the file holds no record", size)
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for fields in batch_rows(batch):
                    number += 1
                    yield read_parquet_row(place, number, fields)
    except (pa.ArrowException, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = f"unread from row {number + 1} on: not a sound Parquet file ({first_line(error)})"
        yield place.quarantine("broken_stream", reason, size if not number else 0, number + 1 if number else None)


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def parquet_columns(schema: Any, place: Place) -> list[str]:
    """The text column and every column of a plain type (nested and binary ones are left unread)."""
    import pyarrow as pa

    name = place.source.text_field
    if name not in schema.names:
        raise InputError(f"{place.path}: no column {name!r} (text_field): the columns are {', '.join(schema.names)}")
    if not is_string(schema.field(name).type):
        kind = schema.field(name).type
        raise InputError(f"{place.path}: the column {name!r} (text_field) holds {kind}, not text: name another column")

    def plain(kind: Any) -> bool:
        return is_string(kind) or pa.types.is_primitive(kind) or pa.types.is_decimal(kind)

    return [field.name for field in schema if plain(field.type)]


def is_string(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def batch_rows(batch: Any) -> Iterator[dict[str, Any]]:
    """Rows with strings as bytes: a string column may hold anything, and only a decoder that we call can say where."""
    import pyarrow as pa

    names = batch.schema.names
    columns = []
    for column in batch.columns:
        if is_string(column.type):
            dictionary = pa.types.is_dictionary(column.type)
            column = (column.dictionary_decode() if dictionary else column).cast(pa.large_binary())
        columns.append(column)
    for row in range(batch.num_rows):
        yield {name: column[row].as_py() for name, column in zip(names, columns, strict=True)}


def read_parquet_row(place: Place, number: int, fields: dict[str, Any]) -> Record:
    name = place.source.text_field
    data = fields.pop(name)
    if data is None:
        return place.quarantine("missing_text", f"row {number}: the column {name!r} is null", 0, number)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        reason = f"row {number}: invalid UTF-8 at byte {error.start} of the text ({error.reason})"
        return place.quarantine("invalid_encoding", reason, len(data), number)
    plain = {key: parquet_value(value) for key, value in fields.items() if value is not None}
    return document_of_fields(place, number, text, len(data), plain)


def parquet_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def file_place(path: Path, relative: str, source: SourceConfig, domain: str) -> Place:
    """The place of a file in a source; `relative` is "" when the source is the file itself."""
    return Place(path, f"{source.name}/{relative}" if relative else source.name, source, domain)
