"""Token shards: the format and its writer; `reader.py` reads and checks them.

    FOLDER/00000.bin          tokens, raw little-endian u16 or u32: document, end-of-text, document, end-of-text, ...
    FOLDER/00000.idx          u64, end of each document within the shard, in tokens, the end-of-text token included
    FOLDER/manifest.json      dtype, counts, tokenizer, SHA-256 of every file
    FOLDER/documents.parquet  document number in shard order -> id, source, domain, tokens, bytes

A document lies in one shard; the shards joined in order are the stream that the loader cuts into windows. Where a
mixture weighs sources, the documents come grouped: `groups` in the manifest names each stretch of the stream. A manifest
may also link shards that lie elsewhere: `folders` names the places, and each shard its `folder`.
"""

import hashlib
from collections.abc import Callable
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
        self._groups: list[dict[str, Any]] = []
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

    def begin_group(self, name: str) -> None:
        """What is added from here on belongs to the group `name`, in shards of its own. Before the first document or never."""
        assert self._groups or not self.num_documents
        if self._ends:
            self._close_shard()
            self._open_shard()
        self._groups.append({"name": name, "num_tokens": self.num_tokens, "num_documents": self.num_documents})

    def finish(self) -> dict[str, Any]:
        """Close all files and write the manifest, which is returned."""
        self._close_shard()
        self._write_rows()
        self._sidecar.close()
        manifest: dict[str, Any] = {
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
        if self._groups:
            manifest["groups"] = self._group_counts()
        write_json(self.folder / MANIFEST_FILE, manifest)
        return manifest

    def _group_counts(self) -> list[dict[str, Any]]:
        """Each group's own counts, from where it began and where the next one did."""
        end = {"num_tokens": self.num_tokens, "num_documents": self.num_documents}
        return [
            {"name": group["name"], **{field: after[field] - group[field] for field in end}}
            for group, after in zip(self._groups, [*self._groups[1:], end], strict=True)
        ]

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


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder. Raises SeedbedError if it is missing, of another format or contradicts itself."""
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise damaged(path, "is missing")
    return check_manifest(read_json(path), lambda what: damaged(path, what))


def check_manifest(manifest: Any, error: Callable[[str], SeedbedError]) -> dict[str, Any]:
    """`manifest` if it can be one; else raises what `error` makes of the reason."""
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise error(f"is not a manifest of format {FORMAT}")
    missing = MANIFEST_FIELDS - manifest.keys()
    if missing:
        raise error(f"lacks fields ({', '.join(sorted(missing))})")
    shards, folders = manifest["shards"], manifest.get("folders")
    if manifest["dtype"] not in list(DTYPES) or not isinstance(shards, list) or not all(map(describes_shard, shards)):
        raise error("does not describe its shards")
    if folders is not None and not links_folders(shards, folders):
        raise error("does not describe the folders that it links")
    for name in ("num_tokens", "num_documents"):
        if sum(shard[name] for shard in shards) != manifest[name]:
            raise error("has totals that are not the sums of its shards")
        if "groups" in manifest and sum_of(manifest["groups"], name) != manifest[name]:
            raise error("has groups that are not the whole of its stream")
    return manifest


def links_folders(shards: list[dict[str, Any]], folders: Any) -> bool:
    """Whether `folders` are paths with the hashes of their sidecars, and each shard names one, in their order."""
    if not isinstance(folders, list) or not folders:
        return False
    texts = ("name", "path", "documents_sha256")
    if not all(isinstance(f, dict) and all(isinstance(f.get(name), str) for name in texts) for f in folders):
        return False
    numbers: list[Any] = [shard.get("folder", -1) for shard in shards]
    return all(isinstance(n, int) and 0 <= n < len(folders) for n in numbers) and numbers == sorted(numbers)


def sum_of(groups: Any, name: str) -> int | None:
    """The sum of a count over a manifest's groups; None where they are no groups."""
    if not isinstance(groups, list) or not groups:
        return None
    if not all(isinstance(group, dict) and isinstance(group.get("name"), str) for group in groups):
        return None
    counts = [group.get(name) for group in groups]
    return sum(counts) if all(isinstance(count, int) and count >= 0 for count in counts) else None


def describes_shard(entry: Any) -> bool:
    texts, counts = ("file", "index", "sha256", "index_sha256"), ("num_tokens", "num_documents")
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(name), str) for name in texts)
        and not any("/" in entry[name] or "\\" in entry[name] for name in ("file", "index"))
        and all(isinstance(entry.get(name), int) and entry[name] >= 0 for name in counts)
    )


def damaged(path: Path, what: str) -> SeedbedError:
    folder = path.parent.parent if path.parent.parent.name.startswith("tokenize-") else path.parent
    return SeedbedError(f"{path} {what}: delete the folder {folder} and run the same command again")
