"""Bytes of a file, plain or compressed, as a stream that tells where a broken one breaks. Memory: one chunk."""

import codecs
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from seedbed.corpus.records import detect_bom

PLAIN_CHUNK = 1 << 20
PACKED_CHUNK = 1 << 14  # xz and zstd can expand a few thousand times: this bounds a chunk to some tens of MB
MAX_RECORD_BYTES = 512 << 20  # a text file or JSON line larger than this is quarantined, not read into memory


class BrokenStream(Exception):
    """The compressed data (or its UTF-16) is damaged. `remaining`: bytes of the file that were not read."""

    def __init__(self, message: str, remaining: int) -> None:
        super().__init__(message)
        self.remaining = remaining


class LineTooLong(Exception):
    """A line exceeds MAX_RECORD_BYTES."""


class Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, /) -> bytes: ...


def new_gzip() -> Any:
    return zlib.decompressobj(wbits=31)


def new_xz() -> Any:
    return lzma.LZMADecompressor()


def new_zstd() -> Any:
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()  # corpora packed with --long=31 exist


DECOMPRESSORS: dict[str, tuple[str, Callable[[], Decompressor]]] = {
    ".gz": ("gzip", new_gzip),
    ".xz": ("xz", new_xz),
    ".zst": ("zstd", new_zstd),
}


def read_chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes, decompressed by its suffix, in chunks. Raises BrokenStream at damage, OSError as open does."""
    packing = DECOMPRESSORS.get(path.suffix.lower())
    with path.open("rb") as file:
        if packing is None:
            while chunk := file.read(PLAIN_CHUNK):
                yield chunk
            return
        yield from decompress(iter(lambda: file.read(PACKED_CHUNK), b""), *packing, size=path.stat().st_size)


def decompress(chunks: Iterator[bytes], name: str, new: Callable[[], Decompressor], size: int) -> Iterator[bytes]:
    """Decompress concatenated streams. Zero bytes after a stream are padding; anything else but a stream is damage."""
    import zstandard

    decompressor = new()
    consumed, inside, streams = 0, False, 0
    for chunk in chunks:
        data = chunk
        while data:
            if not inside:
                data = data.lstrip(b"\0") if streams else data
                if not data:
                    break
            try:
                out = decompressor.decompress(data)
            except (zlib.error, lzma.LZMAError, zstandard.ZstdError, MemoryError) as error:
                detail = str(error) or type(error).__name__
                raise BrokenStream(
                    f"damaged {name} data within bytes {consumed}-{consumed + len(chunk)} of the file ({detail})",
                    size - consumed,
                ) from None
            inside = True
            if out:
                yield out
            data = b""
            if decompressor.eof:
                data, decompressor, inside = decompressor.unused_data, new(), False
                streams += 1
        consumed += len(chunk)
    if inside or not consumed:
        raise BrokenStream(f"{name} data ends early, at byte {consumed} of the file", 0)


def to_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Drop a byte-order mark; after one of UTF-16 or UTF-32, transcode to UTF-8, or raise BrokenStream."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 4:
            break
    encoding, mark = detect_bom(head)
    if encoding == "utf-8":
        yield head[mark:]
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    done = mark
    try:
        yield decoder.decode(head[mark:]).encode()
        done = len(head)
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
            done += len(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BrokenStream(f"invalid {encoding.upper()} after byte {done} ({error.reason})", 0) from None


def split_lines(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """(offset, line without its line feed) of every line, the last one unended too. Raises LineTooLong."""
    offset, pending, pending_bytes = 0, [], 0
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        pending_bytes += len(first)
        if pending_bytes > MAX_RECORD_BYTES:
            raise LineTooLong
        for piece in rest:
            line = b"".join(pending)
            yield offset, line
            offset += len(line) + 1
            pending, pending_bytes = [piece], len(piece)
    if pending_bytes:
        yield offset, b"".join(pending)
