"""Reading token shards: one stream over all shards of a folder, or of the folders that a manifest links.

Opening reads the manifest and compares the sizes of files, listed at once; a shard is mapped when a token of it is asked
for, and only so many stay open at a time. What opening costs grows with the number of shards, not with their bytes.
"""

import errno
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.files import sha256_file
from seedbed.tokens.places import Place, open_places
from seedbed.tokens.shards import DOCUMENTS_FILE, DTYPES, DocumentRecord, read_manifest

MOST_OPEN_FILES = 1024
INDEX_DTYPE = np.dtype("<u8")


class DocumentSpan(NamedTuple):
    """A stretch of one document: its number and id, and its tokens [start, stop) within the document."""

    document: int
    id: str
    start: int
    stop: int


class Group(NamedTuple):
    """A named stretch of the stream: a source of a mixture."""

    name: str
    first_token: int
    num_tokens: int
    first_document: int
    num_documents: int


class MappedFiles(Sequence[np.ndarray]):
    """One array a file, mapped when asked for. At most `limit` files are open; an array in use outlives its turn."""

    def __init__(self, count: int, opener: Callable[[int], np.ndarray], limit: int) -> None:
        self._count = count
        self._open = lru_cache(maxsize=limit)(opener)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        if number >= self._count:
            raise IndexError(number)  # ends iteration
        return self._open(number)


class ShardReader:
    """The stream of a folder of shards. Opening checks sizes against the manifest; files are mapped when first read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.dtype = DTYPES[self.manifest["dtype"]]
        self.num_tokens: int = self.manifest["num_tokens"]
        self.num_documents: int = self.manifest["num_documents"]
        self.shards: list[dict[str, Any]] = self.manifest["shards"]
        self.first_token = np.cumsum([0, *(shard["num_tokens"] for shard in self.shards)])
        self.first_document = np.cumsum([0, *(shard["num_documents"] for shard in self.shards)])
        self.places = open_places(folder, self.manifest)
        folders = np.array([shard.get("folder", 0) for shard in self.shards])
        self._first_shard = np.searchsorted(folders, np.arange(len(self.places)))  # of each place
        self._check_sizes()
        limit = open_files_limit() // 2
        self.tokens = MappedFiles(len(self.shards), self._open_tokens, limit)
        self.ends = MappedFiles(len(self.shards), self._open_ends, limit)
        self._sidecars: dict[int, tuple[pq.ParquetFile, np.ndarray]] = {}
        self._row_group = lru_cache(maxsize=16)(self._read_row_group)

    @property
    def groups(self) -> list[Group]:
        """The stretches that the manifest names, in order; without any, the whole stream as one."""
        entries = self.manifest.get("groups")
        if entries is None:
            return [Group(self.folder.name, 0, self.num_tokens, 0, self.num_documents)]
        found, token, document = [], 0, 0
        for entry in entries:
            found.append(Group(entry["name"], token, entry["num_tokens"], document, entry["num_documents"]))
            token, document = token + entry["num_tokens"], document + entry["num_documents"]
        return found

    def read_into(self, out: np.ndarray, start: int) -> None:
        """Fill `out` with the stream from token `start` on, in its dtype; past the end it goes on at token 0."""
        filled, wanted = 0, len(out)
        start %= self.num_tokens
        while filled < wanted:
            shard = self.shard_of(start)
            offset = start - int(self.first_token[shard]) if shard else start
            part = self.tokens[shard][offset : offset + wanted - filled]
            if len(part) == wanted:
                out[:] = part
                return
            out[filled : filled + len(part)] = part
            filled += len(part)
            start = (start + len(part)) % self.num_tokens

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens [start, stop) of the stream."""
        out = np.empty(stop - start, self.dtype)
        self.read_into(out, start)
        return out

    def shard_of(self, token: int) -> int:
        return 0 if len(self.shards) == 1 else int(np.searchsorted(self.first_token, token, side="right")) - 1

    def document_at(self, token: int) -> tuple[int, int, int]:
        """The number of the document that holds a token of the stream, and its [start, stop) in the stream."""
        shard = self.shard_of(token)
        base = int(self.first_token[shard])
        local = int(np.searchsorted(self.ends[shard], token - base, side="right"))
        start = int(self.ends[shard][local - 1]) if local else 0
        return int(self.first_document[shard]) + local, base + start, base + int(self.ends[shard][local])

    def document_tokens(self, document: int) -> np.ndarray:
        """A document's tokens, its end-of-text token last."""
        shard = int(np.searchsorted(self.first_document, document, side="right")) - 1
        local = document - int(self.first_document[shard])
        start = int(self.ends[shard][local - 1]) if local else 0
        return np.array(self.tokens[shard][start : int(self.ends[shard][local])])

    def document_ends(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """int64 ends, in the stream, of the documents that end in (start, stop], a shard at a time."""
        while start < stop:
            shard = self.shard_of(start)
            base, last = int(self.first_token[shard]), min(stop, int(self.first_token[shard + 1]))
            ends = self.ends[shard]
            between = np.searchsorted(ends, [start - base, last - base], side="right")
            yield ends[between[0] : between[1]].astype(np.int64) + base
            start = last

    def spans(self, start: int, length: int) -> list[DocumentSpan]:
        """The documents behind `length` tokens from `start` on, in order; past the end it goes on at token 0."""
        found: list[DocumentSpan] = []
        while length > 0:
            position = start % self.num_tokens
            document, first, last = self.document_at(position)
            taken = min(length, last - position)
            found.append(DocumentSpan(document, self.record(document).id, position - first, position - first + taken))
            start, length = start + taken, length - taken
        return found

    def record(self, document: int) -> DocumentRecord:
        """What the sidecar says of a document. The row groups last asked for stay in memory."""
        shard = int(np.searchsorted(self.first_document, document, side="right")) - 1
        place = self.shards[shard].get("folder", 0)
        before = int(self.first_document[self._first_shard[place]])
        _, first_rows = self._sidecar(place)
        group = int(np.searchsorted(first_rows, document - before, side="right")) - 1
        row = document - before - int(first_rows[group])
        found = DocumentRecord(**self._row_group(place, group).slice(row, 1).to_pylist()[0])
        return found._replace(document=document)

    def sidecar_batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of the sidecar's columns, in the order of documents, each with the number of its first document."""
        for place in range(len(self.places)):
            number = int(self.first_document[self._first_shard[place]])
            try:
                for batch in self._sidecar(place)[0].iter_batches(columns=list(columns)):
                    yield number, batch
                    number += len(batch)
            except (pa.ArrowException, OSError):
                raise self.places[place].damaged(DOCUMENTS_FILE, "is missing or damaged") from None

    def fetch(self, shard: int, with_index: bool) -> None:
        """Have a copy of a shard, and of its index, on this disk."""
        entry, place = self.shards[shard], self.place_of(shard)
        sizes = dict(expected_sizes(entry, self.dtype.itemsize))
        place.path(entry["file"], entry["sha256"], sizes[entry["file"]])
        if with_index:
            place.path(entry["index"], entry["index_sha256"], sizes[entry["index"]])

    def place_of(self, shard: int) -> Place:
        return self.places[self.shards[shard].get("folder", 0)]

    def _check_sizes(self) -> None:
        listings = [place.sizes() for place in self.places]
        for shard in self.shards:
            place = shard.get("folder", 0)
            listing = listings[place]
            if listing is None:
                continue  # a server that lists nothing: found out when fetched
            for name, expected in expected_sizes(shard, self.dtype.itemsize):
                found = listing.get(name)
                if found is None:
                    raise self.places[place].damaged(name, "is missing")
                if found != expected:
                    raise self.places[place].damaged(name, f"has {found:,} bytes where the manifest says {expected:,}")

    def _open_tokens(self, shard: int) -> np.ndarray:
        entry, place = self.shards[shard], self.place_of(shard)
        tokens = self._map(place, entry["file"], entry["sha256"], entry["num_tokens"], self.dtype)
        if place.fetched:  # nobody has read it yet
            check_ids(self, shard, tokens)
        return tokens

    def _open_ends(self, shard: int) -> np.ndarray:
        entry, place = self.shards[shard], self.place_of(shard)
        ends = self._map(place, entry["index"], entry["index_sha256"], entry["num_documents"], INDEX_DTYPE)
        if len(ends) and int(ends[-1]) != entry["num_tokens"]:
            raise place.damaged(entry["index"], "does not describe its shard")
        return ends

    def _map(self, place: Place, name: str, sha256: str, count: int, dtype: np.dtype[Any]) -> np.ndarray:
        path = place.path(name, sha256, count * dtype.itemsize)
        try:
            array = map_array(path, dtype)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError(f"{path} cannot be mapped") from None
            raise place.damaged(name, f"cannot be read ({error.strerror})") from None
        except ValueError:
            raise place.damaged(name, "cannot be read") from None
        if len(array) != count:
            raise place.damaged(name, f"has {len(array) * dtype.itemsize:,} bytes: it was cut after it was opened")
        return array

    def _sidecar(self, place: int) -> tuple[pq.ParquetFile, np.ndarray]:
        """The documents.parquet of a place, and the number of the first row of each of its row groups."""
        if place not in self._sidecars:
            folders = self.manifest.get("folders", [self.manifest])
            try:
                file = pq.ParquetFile(self.places[place].path(DOCUMENTS_FILE, folders[place]["documents_sha256"], None))
            except (pa.ArrowException, OSError):
                raise self.places[place].damaged(DOCUMENTS_FILE, "is missing or damaged") from None
            counts = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            self._sidecars[place] = file, np.cumsum([0, *counts[:-1]])
        return self._sidecars[place]

    def _read_row_group(self, place: int, group: int) -> pa.Table:
        try:
            return self._sidecar(place)[0].read_row_group(group)
        except (pa.ArrowException, OSError):
            raise self.places[place].damaged(DOCUMENTS_FILE, "is missing or damaged") from None


def expected_sizes(shard: dict[str, Any], token_bytes: int) -> list[tuple[str, int]]:
    """(file, bytes) of a shard and of its index, as its entry in the manifest has them."""
    return [
        (shard["file"], shard["num_tokens"] * token_bytes),
        (shard["index"], shard["num_documents"] * INDEX_DTYPE.itemsize),
    ]


def open_files_limit() -> int:
    """Shards to keep open: a quarter of the files that the system grants a process, for others need some too."""
    try:
        import resource
    except ImportError:  # Windows
        return 256
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = MOST_OPEN_FILES if granted == resource.RLIM_INFINITY else granted // 4
    return max(8, min(MOST_OPEN_FILES, most))


def map_array(path: Path, dtype: np.dtype[Any]) -> np.ndarray:
    """The file as a read-only array. (np.memmap takes 3 times as long, and its slices cost more.)"""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        if os.fstat(descriptor).st_size == 0:
            return np.empty(0, dtype)  # nothing cannot be mapped
        return np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), dtype)
    finally:
        os.close(descriptor)


def verify_shards(folder: Path) -> dict[str, Any]:
    """Check every byte of a folder of shards: sizes, SHA-256, ids below the vocabulary, documents that end in
    end-of-text.

    Gives the manifest; raises SeedbedError with the first file that is not as written.
    """
    reader = ShardReader(folder)
    for shard in range(len(reader.shards)):
        verify_shard(reader, shard)
    for place, entry in zip(reader.places, reader.manifest.get("folders", [reader.manifest]), strict=True):
        verify_sidecar(place, entry["documents_sha256"])
    return reader.manifest


def verify_sidecar(place: Place, expected: str) -> None:
    path = place.path(DOCUMENTS_FILE, expected, None)
    if not path.is_file() or sha256_file(path) != expected:
        raise place.damaged(DOCUMENTS_FILE, "is missing or corrupted (its SHA-256 is not the manifest's)")


def verify_shard(reader: ShardReader, number: int) -> None:
    """Check every byte of one shard and of its index."""
    entry, place = reader.shards[number], reader.place_of(number)
    for name, expected in ((entry["file"], entry["sha256"]), (entry["index"], entry["index_sha256"])):
        if sha256_file(place.path(name, expected, None)) != expected:
            raise place.damaged(name, "is corrupted (its SHA-256 is not the manifest's)")
    check_contents(reader, number, reader.tokens[number], reader.ends[number])


def check_contents(reader: ShardReader, number: int, tokens: np.ndarray, ends: np.ndarray) -> None:
    """What a manifest may lie about though every checksum is right: ids, document ends, end-of-text tokens."""
    entry, place = reader.shards[number], reader.place_of(number)
    if len(ends) and (int(ends[-1]) != len(tokens) or bool(np.any(np.diff(ends.astype(np.int64)) < 1))):
        raise place.damaged(entry["index"], "does not describe its shard")
    check_ids(reader, number, tokens)
    if bool(np.any(tokens[ends.astype(np.int64) - 1] != reader.manifest["eos_id"])):
        raise place.damaged(entry["file"], "has a document without its end-of-text token")


def check_ids(reader: ShardReader, number: int, tokens: np.ndarray) -> None:
    if len(tokens) and int(tokens.max()) >= reader.manifest["vocab_size"]:
        what = f"holds ids beyond the vocabulary of {reader.manifest['vocab_size']:,}"
        raise reader.place_of(number).damaged(reader.shards[number]["file"], what)
