"""Which held-out text is scored: each domain's documents in shard order, up to a number of bytes, as one stream of tokens.

A byte of text is scored once and a token once: the end-of-text token that closes a document costs bits and no bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seedbed.corpus.store import read_documents
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.tokenizer import Tokenizer

UNNAMED = "unnamed"
ALL = "all"


@dataclass
class HeldOut:
    """One domain's stream. `tokens` int64 [N]: its documents, each closed by `eos_id` unless it was cut short.

    `num_bytes`: UTF-8 bytes of the documents' text. `texts`: the text itself, where it was had without reading `curate`.
    """

    eos_id: int
    tokens: np.ndarray
    num_bytes: int
    ids: list[str]
    texts: list[bytes] = field(default_factory=list)


def domain_label(domain: str) -> str:
    """The name a domain has in tables: "all" is taken by the sum."""
    return f"domain {ALL}" if domain == ALL else domain or UNNAMED


def select(folder: Path, max_bytes_per_domain: int, tokenizer: Tokenizer | None = None) -> dict[str, HeldOut]:
    """The streams to score of a folder of shards, by domain in order of name.

    The document that reaches `max_bytes_per_domain` is the last of its domain. With a `tokenizer` that decodes exactly it
    is cut at a token and a character, so that the domain holds at most so many bytes; else it is taken whole.
    """
    shards = ShardReader(folder)
    exact = tokenizer if tokenizer is not None and tokenizer.exact else None
    room: dict[str, int] = {}  # bytes that a domain still takes
    chosen: dict[str, list[Chosen]] = {}
    for first, batch in shards.sidecar_batches(["id", "domain", "num_bytes"]):
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        for number, (identity, domain, num_bytes) in enumerate(rows, first):
            label = domain_label(domain)
            left = room.setdefault(label, max_bytes_per_domain)
            if left <= 0:
                continue
            room[label] -= num_bytes
            tokens = shards.document_tokens(number)
            text = b""
            if exact is not None:
                if num_bytes > left:
                    tokens = tokens[: fitting_tokens(tokens[: left + 1], left, exact)]
                text = exact.decode_bytes(tokens)
                num_bytes = len(text)
            if num_bytes:
                chosen.setdefault(label, []).append(Chosen(identity, tokens, num_bytes, text))
    return {label: join(shards.manifest["eos_id"], documents) for label, documents in sorted(chosen.items())}


class Chosen(NamedTuple):
    """A document, or the beginning of one. `text`: empty where the tokenizer does not decode exactly."""

    id: str
    tokens: np.ndarray
    num_bytes: int
    text: bytes


def join(eos_id: int, documents: list[Chosen]) -> HeldOut:
    return HeldOut(
        eos_id,
        np.concatenate([document.tokens for document in documents]).astype(np.int64),
        sum(document.num_bytes for document in documents),
        [document.id for document in documents],
        [document.text for document in documents if document.text],
    )


def fitting_tokens(tokens: np.ndarray, room: int, tokenizer: Tokenizer) -> int:
    """How many of the first tokens hold at most `room` bytes and end with a whole character."""
    kinds, which = np.unique(tokens, return_inverse=True)
    lengths = np.array([len(tokenizer.decode_bytes([kind])) for kind in kinds.tolist()])
    ends = np.cumsum(lengths[which])
    count = int(np.searchsorted(ends, room, side="right"))
    data = tokenizer.decode_bytes(tokens)
    while count and ends[count - 1] < len(data) and data[ends[count - 1]] & 0xC0 == 0x80:
        count -= 1
    return count


def texts_of(stream: HeldOut, curated: Path) -> list[bytes]:
    """The stream's texts: decoded ones where they are exact, else as `curate` kept them."""
    if stream.texts:
        return stream.texts
    wanted = set(stream.ids)
    texts: dict[str, bytes] = {}
    for batch in read_documents(curated, ["id", "text"]):
        for identity, text in zip(batch.column("id").to_pylist(), batch.column("text"), strict=True):
            if identity in wanted:
                texts[identity] = text.as_py().encode()
    return [texts[identity] for identity in stream.ids]


def stream_of(texts: Iterable[tuple[str, str]], tokenizer: Tokenizer) -> HeldOut:
    """A stream of (id, text) pairs that are in no shard, whole."""
    documents = []
    for identity, text in texts:
        data = text.encode()
        tokens = np.append(tokenizer.encode(text), tokenizer.eos_id)
        documents.append(Chosen(identity, tokens, len(data), data))
    return join(tokenizer.eos_id, documents)
