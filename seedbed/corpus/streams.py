"""Bytes of a file, plain or compressed, as a stream that tells where a broken one breaks. Memory: one chunk."""

import codecs
import io
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from seedbed.corpus.records import detect_bom
from seedbed.remote import RemoteFile, is_url

PLAIN_CHUNK = 1 << 20
# A record's bytes, its text and its row lie in memory at a time, a dozen times its size together at worst (an astral
# character takes four bytes in Python): 64 MB keeps a worker under a GB. `curate` removes texts of a third of it anyway.
MAX_RECORD_BYTES = 64 << 20


class BrokenStream(Exception):
    """The compressed data (or its UTF-16) is damaged.

    `remaining`: bytes of the file that were not read; `member`: where the damaged member begins, if it is one; `detail`: what
    is wrong, in words that do not depend on where reading began.
    """

    def __init__(self, message: str, remaining: int, member: int = 0, detail: str = "") -> None:
        super().__init__(message)
        self.remaining, self.member, self.detail = remaining, member, detail


class Decompressor(Protocol):
    """Of one stream, frame or member."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class Lz4:
    """lz4's frame decompressor, which says None for no unused data."""

    def __init__(self) -> None:
        import lz4.frame

        self._frame = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data or b""

    def decompress(self, data: bytes, /) -> bytes:
        return bytes(self._frame.decompress(data))


def new_gzip() -> Any:
    from isal import isal_zlib

    return isal_zlib.decompressobj(wbits=31)


def new_xz() -> Any:
    return lzma.LZMADecompressor()


def new_zstd(dictionary: Any = None) -> Any:
    import zstandard

    # corpora packed with --long=31 exist
    return zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << 31).decompressobj()


@dataclass(frozen=True, slots=True)
class Packing:
    """`feed`: bytes handed over at a time, so few that what comes out stays within some tens of MB, whatever was packed
    (deflate makes at most 1,032 bytes of one, xz some 7,000, lz4 255, zstd 128 KB of four).
    """

    name: str
    magic: bytes
    new: Callable[[], Decompressor]
    feed: int


PACKINGS = {
    ".gz": Packing("gzip", b"\x1f\x8b\x08", new_gzip, 1 << 14),
    ".xz": Packing("xz", b"\xfd7zXZ\x00", new_xz, 1 << 12),
    ".zst": Packing("zstd", b"\x28\xb5\x2f\xfd", new_zstd, 1 << 11),
    ".lz4": Packing("lz4", b"\x04\x22\x4d\x18", Lz4, 1 << 16),
}


def packing_of(location: str) -> Packing | None:
    """By the ending of a path or URL."""
    return PACKINGS.get(PurePosixPath(location.partition("?")[0]).suffix.lower())


def open_binary(location: str, size: int) -> BinaryIO:
    """A local path or a URL, to read and seek in."""
    if is_url(location):
        return io.BufferedReader(RemoteFile(location, size))  # which gives as many bytes as it is asked for
    return Path(location).open("rb")


def read_chunks(location: str, size: int) -> Iterator[bytes]:
    """The file's bytes, decompressed by its suffix, in chunks. Raises BrokenStream at damage, OSError as open does."""
    packing = packing_of(location)
    with open_binary(location, size) as file:
        if packing is None:
            while chunk := file.read(PLAIN_CHUNK):
                yield chunk
        else:
            for _, data in unpack(file, packing, size):
                yield data


def unpack(file: BinaryIO, packing: Packing, size: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(where its member begins in the file, some bytes) of concatenated members from `start` on.

    Zero bytes after a member are padding; anything else but a member is damage, and raises BrokenStream.
    """
    import zstandard
    from isal.igzip_lib import IsalError

    errors = (IsalError, lzma.LZMAError, zstandard.ZstdError, MemoryError, RuntimeError)
    file.seek(start)
    read = member = start
    decompressor: Decompressor | None = None
    data, members = b"", 0
    while True:
        if not data:
            data = file.read(packing.feed)
            read += len(data)
            if not data:
                break
        if decompressor is None:
            data = data.lstrip(b"\0") if members else data
            if not data:
                continue
            member, decompressor = read - len(data), packing.new()
        at = read - len(data)
        try:
            out = decompressor.decompress(data)
        except errors as error:  # type: ignore[misc]
            detail = f"damaged {packing.name} data"  # a library's words may depend on the pieces that it was given
            message = f"{detail}: {error or type(error).__name__}, within bytes {at}-{read} of the file"
            raise BrokenStream(message, size - at, member, detail) from None
        if out:
            yield member, out
        data = b""
        if decompressor.eof:
            data, decompressor = decompressor.unused_data, None
            members += 1
    if decompressor is not None or read == start:
        detail = f"{packing.name} data ends early"
        raise BrokenStream(f"{detail}, at byte {read} of the file", 0, member, detail)


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


def split_lines(chunks: Iterator[bytes], limit: int) -> Iterator[tuple[int, bytes | int]]:
    """(offset, line without its line feed) of every line, the last one unended too.

    Of a line of more than `limit` bytes only their number is given, and no more than a chunk and the limit is held.
    """
    offset = size = 0
    pending: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        for number, piece in enumerate((first, *rest)):
            if number:
                yield offset, b"".join(pending) if size <= limit else size
                offset += size + 1
                pending, size = [], 0
            size += len(piece)
            if size <= limit:
                pending.append(piece)
            else:
                pending = []
    if size:
        yield offset, b"".join(pending) if size <= limit else size
