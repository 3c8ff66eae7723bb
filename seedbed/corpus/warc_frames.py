"""Where the records of a WARC file begin and end, in any part of the file, through damage and records of any size.

    file --members--> unpacked pieces --ByteQueue--> Frame (a record's bytes), Giant (only its length) or Gap (no record)

A shard of a file owns the records that begin in its bytes [start, end). In a packed file the unit is the clean start: a member
(of gzip, zstd or lz4) whose first bytes are a record's, which is every member of files written as the standard says. A shard
begins at its first clean start and ends at the first one at or after `end`, so every record has one owner, also
where records and members do not align. Between clean starts nothing is guessed; a search looks for the packing's
magic number and believes it when the member unpacks to the beginning of a record. (A WARC file stored as payload in another
without further compression can look like that: only a shard that begins within it would be misled.)
"""

import io
import re
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from seedbed.corpus.streams import PLAIN_CHUNK, BrokenStream, Packing, new_zstd, packing_of, unpack

HEADER_BYTES = 64 << 10  # a record's header block: fastwarc stops at 32 KB
VERSION = re.compile(rb"WARC/\d\.\d{1,2}\r?\n")
VERSION_BYTES = 12
CONTENT_LENGTH = re.compile(rb"\r?\ncontent-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?\n", re.IGNORECASE)
TYPE = re.compile(rb"\nwarc-type[ \t]*:", re.IGNORECASE)
ENDLESS = "a header without an end"
HEADER_END = re.compile(rb"\r?\n\r?\n")
DICTIONARY_MAGIC = (
    b"\x5d\x2a\x4d\x18"  # skippable frame with the dictionary of the frames that follow: IIPC's WARC in zstd
)
SEARCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Position:
    """`offset` in the file: of the record itself, or of the member that it lies in, `inner` bytes unpacked behind its begin."""

    offset: int
    inner: int = 0

    def __str__(self) -> str:
        return f"{self.offset}+{self.inner}" if self.inner else str(self.offset)


@dataclass(frozen=True, slots=True)
class Frame:
    """A record: its header block with the empty line, and its content."""

    position: Position
    header: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Giant:
    """A record whose content is larger than the limit, and was passed over."""

    position: Position
    header: bytes
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that are no record, and why: unpacked ones, or those in the file where they cannot be unpacked."""

    position: Position
    num_bytes: int
    reason: str


Framed = Frame | Giant | Gap


class ByteQueue:
    """Unpacked bytes to look at before they are taken, which know where in the file their member begins."""

    def __init__(self, pieces: Iterator[tuple[int, bytes]], plain: bool) -> None:
        self._pieces, self._plain = pieces, plain
        self._data = bytearray()
        self._head = 0  # of the stream, at the beginning of _data
        self._members: deque[tuple[int, int]] = deque()  # (in the stream, in the file) of each member's beginning
        self.damage: BrokenStream | None = None

    def fill(self, size: int) -> bool:
        """Have `size` bytes at hand, or all that is left: whether there are as many."""
        while len(self._data) < size:
            try:
                member, piece = next(self._pieces)
            except StopIteration:
                return False
            except BrokenStream as damage:
                self.damage, self._pieces = damage, iter(())
                return False
            end = self._head + len(self._data)
            if not self._members or (not self._plain and self._members[-1][1] != member):
                self._members.append((end, member))
                self._forget_members()
            self._data += piece
        return True

    def peek(self, size: int) -> bytes:
        self.fill(size)
        return bytes(self._data[:size])

    def take(self, size: int) -> bytes:
        self.fill(size)
        taken = bytes(self._data[:size])
        self._drop(len(taken))
        return taken

    def skip(self, size: int) -> int:
        """Pass over `size` bytes with no more than a piece in memory; gives how many there were."""
        left = size
        while left and self.fill(1):
            step = min(left, len(self._data))
            self._drop(step)
            left -= step
        return size - left

    def _drop(self, size: int) -> None:
        del self._data[:size]
        self._head += size
        self._forget_members()

    def _forget_members(self) -> None:
        while len(self._members) > 1 and self._members[1][0] <= self._head:
            self._members.popleft()

    def position(self) -> Position:
        if not self._members:
            return Position(0)
        begins, offset = self._members[0]
        inner = self._head - begins
        return Position(offset + inner) if self._plain else Position(offset, inner)

    def member_left(self) -> int | None:
        """Bytes at hand that still belong to the head's member; None while no later member is known."""
        return self._members[1][0] - self._head if len(self._members) > 1 else None

    def later_members(self) -> list[int]:
        """Bytes at hand before the beginning of each later member that is known."""
        return [begins - self._head for begins, _ in list(self._members)[1:]]

    def begins_member(self) -> bool:
        """Whether the head is the first byte of a member. Plain data has none."""
        return not self._plain and bool(self._members) and self._members[0][0] == self._head

    def is_in(self, member: int) -> bool:
        """Whether the head is in the member that begins at byte `member` of the file, or at its end."""
        return bool(self._members) and self._members[0][1] == member

    def find(self, pattern: re.Pattern[bytes], start: int = 0) -> int:
        """Where `pattern` next matches within what is at hand, or -1."""
        match = pattern.search(self._data, start)
        return match.start() if match else -1

    def __len__(self) -> int:
        return len(self._data)


def read_frames(file: BinaryIO, location: str, size: int, start: int, end: int, limit: int) -> Iterator[Framed]:
    """The records that begin in [start, end) of a WARC or WET file of `size` bytes, in order, and every gap between them.

    `limit`: the most bytes of content that are held. Raises OSError as the file does.
    """
    packing = packing_of(location)
    dictionary = read_dictionary(file) if packing is not None and packing.name == "zstd" else None
    if packing is not None and dictionary is not None:
        packing = Packing(packing.name, packing.magic, lambda: new_zstd(dictionary), packing.feed)
    at = start if not start else next_clean_start(file, packing, size, start, end)
    while at is not None:
        file.seek(at)
        queue = ByteQueue(unpack(file, packing, size, at) if packing else plain_pieces(file, at), packing is None)
        finished = yield from frames_of(queue, end, limit, size if packing is None else None)
        if finished or queue.damage is None:
            return
        # of a member that was read to its last record before the damage showed, what is broken is its end
        broken = queue.position() if len(queue) or queue.is_in(queue.damage.member) else Position(queue.damage.member)
        if broken.offset >= end and not broken.inner and is_record_start(file, packing, size, broken.offset):
            return  # how far damaged data unpacks depends on where one begins: the shard that begins here says so
        found = next_clean_start(file, packing, size, queue.damage.member + 1, size)
        lost = (size if found is None else found) - broken.offset
        yield Gap(broken, lost, queue.damage.detail)
        at = found if found is not None and found < end else None


def plain_pieces(file: BinaryIO, start: int) -> Iterator[tuple[int, bytes]]:
    while data := file.read(PLAIN_CHUNK):
        yield start, data


def frames_of(queue: ByteQueue, end: int, limit: int, plain_size: int | None) -> Generator[Framed, None, bool]:
    """Until the first clean start at or after `end`, which gives True, or the end of the data or its damage."""
    while True:
        while queue.peek(1) in (b"\r", b"\n"):
            queue.skip(1)
        if not len(queue):
            return False
        position = queue.position()
        if position.offset >= end and not position.inner and not isinstance(read_header(queue.peek(HEADER_BYTES)), str):
            return True
        framed = next_frame(queue, position, limit, plain_size)
        if framed is None:
            return False
        yield framed


def next_frame(queue: ByteQueue, position: Position, limit: int, plain_size: int | None) -> Framed | None:
    """The record at the head of the queue; None where the damage that ends the stream begins within it."""
    head = queue.peek(HEADER_BYTES)
    found = read_header(head)
    if isinstance(found, str):
        cut_short = queue.damage is not None and len(head) < HEADER_BYTES and found == ENDLESS
        return None if cut_short else gap(queue, position, found, 1)
    header, length = found
    if length > limit:
        return giant(queue, position, header, length, plain_size)
    whole = queue.fill(len(header) + length)
    for left in queue.later_members():
        if left < len(header) + length and starts_record(queue, left):
            queue.skip(left)
            return Gap(
                position, left, f"a record of {length} bytes that ends with its member, after {left - len(header)}"
            )
    if not whole:
        if queue.damage:
            return None
        return gap(queue, position, f"a record of {length} bytes in a file that ends {len(queue) - len(header)} in", 1)
    if not ends_well(queue, len(header) + length):
        return gap(queue, position, f"a record that does not end after its {length} bytes", 1)
    data = queue.take(len(header) + length)
    return Frame(position, header, data[len(header) :])


def read_header(head: bytes) -> tuple[bytes, int] | str:
    """(header block, bytes of content) of the record that `head` begins, or why none begins there."""
    if not VERSION.match(head):
        return f"no record begins here, but {head[:16]!r}"
    match = HEADER_END.search(head)
    if match is None:
        return ENDLESS
    header = head[: match.end()]
    lengths = CONTENT_LENGTH.findall(header)
    if len(lengths) != 1:
        return f"a header with {len(lengths) or 'no'} Content-Length"
    if not TYPE.search(header):
        return "a header without a WARC-Type"
    return header, int(lengths[0])


def starts_record(queue: ByteQueue, at: int) -> bool:
    queue.fill(at + VERSION_BYTES)
    return VERSION.match(queue.peek(at + VERSION_BYTES), at) is not None


def ends_well(queue: ByteQueue, at: int) -> bool:
    """Whether nothing but line ends lies between `at` and the next record, the end of the member or that of the data."""
    queue.fill(at + 8 + VERSION_BYTES)
    tail = queue.peek(at + 8 + VERSION_BYTES)[at:]
    rest = tail.lstrip(b"\r\n")
    if not rest or VERSION.match(rest):
        return True
    left = queue.member_left()
    return left is not None and at <= left <= at + len(tail) - len(rest)


def gap(queue: ByteQueue, position: Position, reason: str, skip: int) -> Gap:
    """Pass over `skip` bytes and what follows, up to the next version line or the next member that begins with one."""
    passed = queue.skip(skip)
    while True:
        queue.fill(SEARCH_BYTES)
        found = queue.find(VERSION)
        left = queue.member_left()
        if found >= 0:
            return Gap(position, passed + queue.skip(found), reason)
        if left is not None and left < len(queue) and starts_record(queue, left):
            return Gap(position, passed + queue.skip(left), reason)
        keep = VERSION_BYTES if queue.fill(len(queue) + 1) else 0
        passed += queue.skip(len(queue) - keep)
        if not keep:
            return Gap(position, passed, reason)


def giant(queue: ByteQueue, position: Position, header: bytes, length: int, plain_size: int | None) -> Framed:
    """Pass over a record larger than the limit; where the length cannot be right, over no more than the next record allows."""
    reason = f"a record that says {length} bytes and has fewer"
    if plain_size is not None and position.offset + len(header) + length > plain_size:
        return gap(queue, position, reason, 1)
    queue.skip(len(header))
    passed = 0
    while passed < length and queue.fill(1):
        if passed and queue.begins_member() and starts_record(queue, 0):
            return Gap(position, len(header) + passed, reason)
        left = queue.member_left()
        if left is not None and left < length - passed and starts_record(queue, left):
            return Gap(position, len(header) + passed + queue.skip(left), reason)
        step = min(length - passed, len(queue) if left is None else left)
        passed += queue.skip(step)
    return Giant(position, header, len(header) + passed)


def next_clean_start(file: BinaryIO, packing: Packing | None, size: int, start: int, end: int) -> int | None:
    """The first offset in [start, end) where a record begins (packed: a member that unpacks to the beginning of one)."""
    overlap = VERSION_BYTES + 4
    at = start
    while at < end:
        file.seek(at)
        window = file.read(SEARCH_BYTES + overlap)
        if packing is None:
            starts = [m.start() for m in VERSION.finditer(window)]
        else:
            starts = [m.start() for m in re.finditer(re.escape(packing.magic), window)]
        last = len(window) < SEARCH_BYTES + overlap
        for found in (at + n for n in starts if last or n < SEARCH_BYTES):
            if start <= found < end and is_record_start(file, packing, size, found):
                return found
        if last:
            return None
        at += SEARCH_BYTES
    return None


def is_record_start(file: BinaryIO, packing: Packing | None, size: int, at: int) -> bool:
    """Whether the bytes at `at` (packed: what they unpack to) are a record's header with a type and a length."""
    if packing is None:
        file.seek(at)
        head = file.read(HEADER_BYTES)
    else:
        head = b""
        try:
            for _, data in unpack(file, packing, size, at):
                head += data
                if len(head) >= HEADER_BYTES or HEADER_END.search(head):
                    break
        except BrokenStream:
            pass
    return not isinstance(read_header(head), str)


def read_dictionary(file: BinaryIO) -> Any:
    """The zstd dictionary that a file begins with, or None."""
    import zstandard

    file.seek(0)
    head = file.read(8)
    if head[:4] != DICTIONARY_MAGIC:
        return None
    data = file.read(int.from_bytes(head[4:8], "little"))
    if data[:4] == b"\x28\xb5\x2f\xfd":
        try:
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(SEARCH_BYTES)
        except zstandard.ZstdError:
            return None
    return zstandard.ZstdCompressionDict(data)
