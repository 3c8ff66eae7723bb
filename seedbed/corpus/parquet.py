"""Parquet files: a document a row. Row groups are read page by page: their size does not matter, only that of a page."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from seedbed.corpus.json_lines import document_of_fields
from seedbed.corpus.parquet_pages import BrokenPages, largest_page
from seedbed.corpus.places import Place, first_line
from seedbed.corpus.records import Record
from seedbed.corpus.streams import open_binary
from seedbed.errors import InputError

BATCH_ROWS = 256
BATCH_BYTES = 128 << 20  # that a batch's rows may take: each at most a page
PAGE_LIMITS = 4  # a page of this many times the limit of a record is not read; some writers put a row group in one page
SMALL_GROUP_BYTES = 4 << 20  # its pages need no looking at: 256 times as much is still bounded
READ_BYTES = 1 << 20  # at a time, of each column


def read_parquet(place: Place) -> Iterator[Record]:
    """A document for each row of the row groups that begin in the place's range. Raises InputError without a text column."""
    import pyarrow.parquet as pq

    with open_binary(place.location, place.size) as file:
        try:
            table = pq.ParquetFile(file, buffer_size=READ_BYTES, pre_buffer=False)
            columns = parquet_columns(table.schema_arrow, place)
            groups = [table.metadata.row_group(group) for group in range(table.num_row_groups)]
            begins = [group_offset(rows) for rows in groups]
        except damages() as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            if not place.start:  # whoever reads the beginning of the file tells
                yield place.quarantine("broken_stream", f"not a sound Parquet file ({first_line(error)})", place.size)
            return
        if not any(rows.num_rows for rows in groups) and not place.start:
            yield place.quarantine("empty", "the file holds no record", place.size)
        first = 1
        for group, rows in enumerate(groups):
            if place.start <= begins[group] < place.end:
                yield from read_group(place, file, table, group, columns, first)
            first += rows.num_rows


def damages() -> tuple[type[Exception], ...]:
    """What pyarrow raises at a file that is none: names and sizes in it may be anything."""
    import pyarrow as pa

    return (pa.ArrowException, BrokenPages, OSError, MemoryError, ValueError, OverflowError, LookupError)


def group_offset(rows: Any) -> int:
    """Where a row group's first page begins: what decides who reads it."""
    if not rows.num_columns:
        return 0
    chunk = rows.column(0)
    dictionary = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
    return max(0, min(chunk.data_page_offset, dictionary or chunk.data_page_offset))


def read_group(
    place: Place, file: BinaryIO, table: Any, group: int, columns: list[str], first: int
) -> Iterator[Record]:
    """The rows of one row group, numbered from `first`; what of it cannot be read is quarantined, and the next one is read."""
    rows = table.metadata.row_group(group)
    chunks = [rows.column(n) for n in range(rows.num_columns) if rows.column(n).path_in_schema in columns]
    size = sum(chunk.total_uncompressed_size for chunk in chunks)
    number = first
    try:
        page = size if size <= SMALL_GROUP_BYTES else max(largest_page(file, chunk) for chunk in chunks)
        if page > PAGE_LIMITS * place.limit:
            reason = f"rows {first} to {first + rows.num_rows - 1}: a page of {page:,} bytes"
            yield place.quarantine("too_large", reason, size, f"#{first}")
            return
        batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES // max(page, 1)))
        for batch in table.iter_batches(batch_size=batch_rows, row_groups=[group], columns=columns):
            for fields in batch_rows_of(batch):
                yield read_parquet_row(place, number, fields)
                number += 1
    except damages() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        last = first + rows.num_rows - 1
        reason = f"rows {number} to {last}: not a sound Parquet file ({first_line(error)})"
        yield place.quarantine("broken_stream", reason, size if number == first else 0, f"#{number}")


def parquet_columns(schema: Any, place: Place) -> list[str]:
    """The text column and every column of a plain type (nested and binary ones are left unread)."""
    import pyarrow as pa

    name = place.source.text_field
    if name not in schema.names:
        likely = next((field.name for field in schema if is_string(field.type)), "NAME")
        raise InputError(
            f"{place.location}: no column {name!r} among {', '.join(schema.names)}: name the one that holds text, as in "
            f'--set \'corpus.sources=[{{path="{place.location}", text_field="{likely}"}}]\''
        )
    if not is_string(schema.field(name).type):
        kind = schema.field(name).type
        raise InputError(
            f"{place.location}: the column {name!r} (text_field) holds {kind}, not text: name another column"
        )

    def plain(kind: Any) -> bool:
        return is_string(kind) or pa.types.is_primitive(kind) or pa.types.is_decimal(kind)

    return [field.name for field in schema if plain(field.type)]


def is_string(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def batch_rows_of(batch: Any) -> Iterator[dict[str, Any]]:
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
    data, record = fields.pop(name), f"#{number}"
    if data is None:
        return place.quarantine("missing_text", f"row {number}: the column {name!r} is null", 0, record)
    if len(data) > place.limit:
        return place.quarantine("too_large", f"row {number}: a text of {len(data):,} bytes", len(data), record)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        reason = f"row {number}: invalid UTF-8 at byte {error.start} of the text ({error.reason})"
        return place.quarantine("invalid_encoding", reason, len(data), record)
    plain = {key: parquet_value(value) for key, value in fields.items() if value is not None}
    return document_of_fields(place, number, text, len(data), plain)


def parquet_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, (str, int, float, bool)) else str(value)
