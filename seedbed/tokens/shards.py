"""Token shards: the format, its writer, its reader and its check.

    FOLDER/00000.bin          tokens, raw little-endian u16 or u32: document, end-of-text, document, end-of-text, ...
    FOLDER/00000.idx          u64, end of each document within the shard, in tokens, the end-of-text token included
    FOLDER/manifest.json      dtype, counts, tokenizer, SHA-256 of every file
    FOLDER/documents.parquet  document number in shard order -> id, source, domain, tokens, bytes

A document lies in one shard; the shards joined in order are the stream that the loader cuts into windows.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.errors import SeedbedError
from seedbed.files import read_json, sha256_file, write_json

FORMAT = 1
MAX_SHARD_TOKENS = 100_000_000
ROWS_PER_GROUP = 4096
MANIFEST_FILE = "manifest.json"
DOCUMENTS_FILE = "documents.parquet"
EOS_RULE = "appended to every document"
DOCUMENT_SCHEMA = pa.schema(
    [
        ("document", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("num_tokens", pa.int64()),
        ("num_bytes", pa.int64()),
    ]
)
DTYPES: dict[str, np.dtype[Any]] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
MANIFEST_FIELDS = {
    "dtype",
    "vocab_size",
    "eos_id",
    "tokenizer_sha256",
    "num_tokens",
    "num_documents",
    "num_bytes",
    "shards",
}


class DocumentRecord(NamedTuple):
    """What the sidecar says of a document; `num_tokens` counts its end-of-text token, `num_bytes` its UTF-8 text."""

    document: int
    id: str
    source: str
    domain: str
    num_tokens: int
    num_bytes: int


class DocumentSpan(NamedTuple):
    """A stretch of one document: its number and id, and its tokens [start, stop) within the document."""

    document: int
    id: str
    start: int
    stop: int


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Little-endian u16 where every id fits, else u32."""
    return DTYPES["uint16" if vocab_size <= 2**16 else "uint32"]


class ShardWriter:
    """Writes documents in the order given. Memory: the document ends of one shard and one row group of the sidecar."""

    def __init__(
        self,
        folder: Path,
        vocab_size: int,
        eos_id: int,
        tokenizer_sha256: str,
        max_shard_tokens: int = MAX_SHARD_TOKENS,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.vocab_size, self.eos_id, self.tokenizer_sha256 = folder, vocab_size, eos_id, tokenizer_sha256
        self.max_shard_tokens = max_shard_tokens
        self.dtype = token_dtype(vocab_size)
        self.num_tokens = self.num_documents = self.num_bytes = 0
        self._shards: list[dict[str, Any]] = []
        self._rows: list[DocumentRecord] = []
        self._sidecar = pq.ParquetWriter(folder / DOCUMENTS_FILE, DOCUMENT_SCHEMA, compression="zstd")
        self._open_shard()

    def add(self, tokens: np.ndarray, id: str, source: str, domain: str, num_bytes: int) -> None:
        """Append a document: its ids without the end-of-text token, which is added here."""
        data = np.empty(len(tokens) + 1, self.dtype)
        data[:-1] = tokens
        data[-1] = self.eos_id
        if self._ends and self._ends[-1] + len(data) > self.max_shard_tokens:
            self._close_shard()
            self._open_shard()
        raw = data.tobytes()
        self._file.write(raw)
        self._hash.update(raw)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(data))
        self._rows.append(DocumentRecord(self.num_documents, id, source, domain, len(data), num_bytes))
        self.num_tokens += len(data)
        self.num_documents += 1
        self.num_bytes += num_bytes
        if len(self._rows) == ROWS_PER_GROUP:
            self._write_rows()

    def finish(self) -> dict[str, Any]:
        """Close all files and write the manifest, which is returned."""
        self._close_shard()
        self._write_rows()
        self._sidecar.close()
        manifest = {
            "format": FORMAT,
            "dtype": self.dtype.name,
            "vocab_size": self.vocab_size,
            "eos_id": self.eos_id,
            "eos_rule": EOS_RULE,
            "tokenizer_sha256": self.tokenizer_sha256,
            "num_tokens": self.num_tokens,
            "num_documents": self.num_documents,
            "num_bytes": self.num_bytes,
            "shards": self._shards,
            "documents_sha256": sha256_file(self.folder / DOCUMENTS_FILE),
        }
        write_json(self.folder / MANIFEST_FILE, manifest)
        return manifest

    def _open_shard(self) -> None:
        self._name = f"{len(self._shards):05d}"
        self._file = (self.folder / f"{self._name}.bin").open("wb")
        self._hash = hashlib.sha256()
        self._ends: list[int] = []

    def _close_shard(self) -> None:
        self._file.close()
        index = np.array(self._ends, "<u8").tobytes()
        (self.folder / f"{self._name}.idx").write_bytes(index)
        self._shards.append(
            {
                "file": f"{self._name}.bin",
                "index": f"{self._name}.idx",
                "num_tokens": self._ends[-1] if self._ends else 0,
                "num_documents": len(self._ends),
                "sha256": self._hash.hexdigest(),
                "index_sha256": hashlib.sha256(index).hexdigest(),
            }
        )

    def _write_rows(self) -> None:
        if self._rows:
            columns = dict(zip(DOCUMENT_SCHEMA.names, map(list, zip(*self._rows, strict=True)), strict=True))
            self._sidecar.write_table(pa.table(columns, schema=DOCUMENT_SCHEMA))
            self._rows = []


class ShardReader:
    """The stream of a folder of shards. Opening checks sizes against the manifest and maps the files, unread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.dtype = DTYPES[self.manifest["dtype"]]
        self.num_tokens: int = self.manifest["num_tokens"]
        self.num_documents: int = self.manifest["num_documents"]
        shards = self.manifest["shards"]
        for shard in shards:
            check_size(folder / shard["file"], shard["num_tokens"] * self.dtype.itemsize)
            check_size(folder / shard["index"], shard["num_documents"] * 8)
        self.tokens = [map_array(folder / shard["file"], self.dtype) for shard in shards]
        self.ends = [map_array(folder / shard["index"], np.dtype("<u8")) for shard in shards]
        self.first_token = np.cumsum([0, *(shard["num_tokens"] for shard in shards)])
        self.first_document = np.cumsum([0, *(shard["num_documents"] for shard in shards)])
        self._sidecar: pq.ParquetFile | None = None
        self._row_group = lru_cache(maxsize=16)(self._read_row_group)

    def read_into(self, out: np.ndarray, start: int) -> None:
        """Fill `out` with the stream from token `start` on, in its dtype; past the end it goes on at token 0."""
        filled, wanted = 0, len(out)
        start %= self.num_tokens
        while filled < wanted:
            shard = self.shard_of(start)
            offset = start - int(self.first_token[shard])
            part = self.tokens[shard][offset : offset + wanted - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            start = (start + len(part)) % self.num_tokens

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens [start, stop) of the stream."""
        out = np.empty(stop - start, self.dtype)
        self.read_into(out, start)
        return out

    def shard_of(self, token: int) -> int:
        return 0 if len(self.tokens) == 1 else int(np.searchsorted(self.first_token, token, side="right")) - 1

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
        group, row = divmod(document, ROWS_PER_GROUP)
        return DocumentRecord(**self._row_group(group).slice(row, 1).to_pylist()[0])

    def _read_row_group(self, group: int) -> pa.Table:
        try:
            if self._sidecar is None:
                self._sidecar = pq.ParquetFile(self.folder / DOCUMENTS_FILE)
            return self._sidecar.read_row_group(group)
        except (pa.ArrowException, OSError):
            raise damaged(self.folder / DOCUMENTS_FILE, "is missing or damaged") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder. Raises SeedbedError if it is missing, of another format or contradicts itself."""
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise damaged(path, "is missing")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise damaged(path, f"is not a manifest of format {FORMAT}")
    missing = MANIFEST_FIELDS - manifest.keys()
    if missing:
        raise damaged(path, f"lacks fields ({', '.join(sorted(missing))})")
    shards = manifest["shards"]
    if manifest["dtype"] not in list(DTYPES) or not isinstance(shards, list) or not all(map(describes_shard, shards)):
        raise damaged(path, "does not describe its shards")
    if any(sum(shard[name] for shard in shards) != manifest[name] for name in ("num_tokens", "num_documents")):
        raise damaged(path, "has totals that are not the sums of its shards")
    return manifest


def describes_shard(entry: Any) -> bool:
    texts, counts = ("file", "index", "sha256", "index_sha256"), ("num_tokens", "num_documents")
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(name), str) for name in texts)
        and all(isinstance(entry.get(name), int) and entry[name] >= 0 for name in counts)
    )


def check_size(path: Path, expected: int) -> None:
    found = path.stat().st_size if path.is_file() else None
    if found is None:
        raise damaged(path, "is missing")
    if found != expected:
        raise damaged(path, f"has {found:,} bytes where the manifest says {expected:,}")


def map_array(path: Path, dtype: np.dtype[Any]) -> np.ndarray:
    """The file as a read-only array (a plain one: slices of np.memmap cost several times more)."""
    return np.asarray(np.memmap(path, dtype, mode="r")) if path.stat().st_size else np.empty(0, dtype)


def damaged(path: Path, what: str) -> SeedbedError:
    folder = path.parent.parent if path.parent.parent.name.startswith("tokenize-") else path.parent
    return SeedbedError(f"{path} {what}: delete the folder {folder} and run the same command again")


def verify_shards(folder: Path) -> dict[str, Any]:
    """Check every byte of a folder of shards: sizes, SHA-256, ids below the vocabulary, documents that end in
    end-of-text.

    Gives the manifest; raises SeedbedError with the first file that is not as written.
    """
    reader = ShardReader(folder)
    manifest = reader.manifest
    for shard, tokens, ends in zip(manifest["shards"], reader.tokens, reader.ends, strict=True):
        for name, expected in ((shard["file"], shard["sha256"]), (shard["index"], shard["index_sha256"])):
            if sha256_file(folder / name) != expected:
                raise damaged(folder / name, "is corrupted (its SHA-256 is not the manifest's)")
        if len(ends) and (int(ends[-1]) != len(tokens) or bool(np.any(np.diff(ends.astype(np.int64)) < 1))):
            raise damaged(folder / shard["index"], "does not describe its shard")
        if len(tokens) and int(tokens.max()) >= manifest["vocab_size"]:
            raise damaged(folder / shard["file"], f"holds ids beyond the vocabulary of {manifest['vocab_size']:,}")
        if bool(np.any(tokens[ends.astype(np.int64) - 1] != manifest["eos_id"])):
            raise damaged(folder / shard["file"], "has a document without its end-of-text token")
    sidecar = folder / DOCUMENTS_FILE
    if not sidecar.is_file() or sha256_file(sidecar) != manifest["documents_sha256"]:
        raise damaged(sidecar, "is missing or corrupted (its SHA-256 is not the manifest's)")
    return manifest
