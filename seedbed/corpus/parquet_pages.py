"""How large the pages of a Parquet column chunk are, from their headers alone (Thrift compact protocol; parquet-format's
PageHeader: field 2 is uncompressed_page_size, field 3 compressed_page_size). Reading a page takes its whole size in memory.
"""

from typing import Any, BinaryIO

HEADER_BYTES = 1 << 14  # of a page; its statistics may hold values
MOST_HEADER_BYTES = 4 << 20
MOST_DEPTH = 16
BINARY, LIST, SET, MAP, STRUCT = 8, 9, 10, 11, 12
FIXED = {1: 0, 2: 0, 3: 1, 7: 8}  # bytes of a field of this type: true, false, i8, double; 4 to 6 are varints


class BrokenPages(Exception):
    """A page header is none."""


def largest_page(file: BinaryIO, chunk: Any) -> int:
    """Bytes of the largest page, unpacked, of a chunk (pyarrow's ColumnChunkMetaData). Raises BrokenPages."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        at = min(at, chunk.dictionary_page_offset)
    end, largest = at + chunk.total_compressed_size, 0
    while at < end:
        unpacked, packed, header = read_page_header(file, at)
        largest = max(largest, unpacked)
        at += header + packed
    return int(largest)


def read_page_header(file: BinaryIO, at: int) -> tuple[int, int, int]:
    """(unpacked size, packed size, bytes of the header) of the page at `at`."""
    wanted = HEADER_BYTES
    while True:
        file.seek(at)
        data = file.read(wanted)
        try:
            fields, end = read_struct(data, 0, 0)
        except IndexError:
            if len(data) < wanted or wanted >= MOST_HEADER_BYTES:
                raise BrokenPages(f"no page header at byte {at}") from None
            wanted *= 8
            continue
        unpacked, packed = fields.get(2, -1), fields.get(3, -1)
        if unpacked < 0 or packed < 0:
            raise BrokenPages(f"a page header without sizes at byte {at}")
        return unpacked, packed, end


def read_struct(data: bytes, at: int, depth: int) -> tuple[dict[int, int], int]:
    """Its integer fields by number, and where it ends. Raises IndexError at the end of `data`, BrokenPages at nonsense."""
    fields: dict[int, int] = {}
    number = 0
    while data[at]:
        delta, kind = data[at] >> 4, data[at] & 15
        at += 1
        if delta:
            number += delta
        else:
            number, at = read_zigzag(data, at)
        if kind in (4, 5, 6):
            fields[number], at = read_zigzag(data, at)
        else:
            at = skip(data, at, kind, depth)
    return fields, at + 1


def skip(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value of this type ends."""
    if depth > MOST_DEPTH:
        raise BrokenPages("structures nested too deep")
    if kind in FIXED:
        at += FIXED[kind]
    elif kind in (4, 5, 6):
        _, at = read_varint(data, at)
    elif kind == BINARY:
        size, at = read_varint(data, at)
        at += size
    elif kind in (LIST, SET):
        size, element = data[at] >> 4, data[at] & 15
        at += 1
        if size == 15:
            size, at = read_varint(data, at)
        for _ in range(size):
            at = skip(data, at, 3 if element in (1, 2) else element, depth + 1)
    elif kind == MAP:
        size, at = read_varint(data, at)
        if size:
            kinds = data[at] >> 4, data[at] & 15
            at += 1
            for _ in range(size):
                for inner in kinds:
                    at = skip(data, at, 3 if inner in (1, 2) else inner, depth + 1)
    elif kind == STRUCT:
        _, at = read_struct(data, at, depth + 1)
    else:
        raise BrokenPages(f"no type {kind}")
    if at > len(data):
        raise IndexError
    return at


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 70:
            raise BrokenPages("an endless number")


def read_zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at
