"""Deciding: a verdict for every document from its stored scores alone. No text is read, so it takes seconds."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from seedbed.corpus.chain import Judgement, judgements
from seedbed.corpus.dedup.clusters import NONE, Giant, Merges, merge_documents
from seedbed.corpus.dedup.exact import first_copies
from seedbed.corpus.dedup.verify import EDGE_SCHEMA
from seedbed.corpus.holdout import Text, choose_held_out
from seedbed.corpus.rules.group import numeric
from seedbed.corpus.store import read_array, read_table
from seedbed.errors import SeedbedError
from seedbed.recipe.curation import CurateConfig

TRAIN, VALIDATION = "train", "validation"
KEPT, REMOVED, MERGED = 0, 1, 2  # index into decisions.VERDICTS

# Causes that no threshold decides.
EMPTY, IN_VALIDATION, EXACT_DEDUP = "empty", "in_validation", "exact_dedup"
NEAR_VALIDATION, NEAR_DEDUP, ALL_CUT = "near_validation", "near_dedup", "all_cut"
OTHER_CAUSES = (EMPTY, IN_VALIDATION, NEAR_VALIDATION, EXACT_DEDUP, NEAR_DEDUP, ALL_CUT)


@dataclass
class Names:
    """Names as small numbers, in the order they were first met."""

    names: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        if name not in self.numbers:
            self.numbers[name] = len(self.names)
            self.names.append(name)
        return self.numbers[name]

    def encode(self, column: pa.ChunkedArray) -> NDArray[np.int32]:
        encoded = column.combine_chunks().dictionary_encode()
        codes = np.array([self.number(name) for name in encoded.dictionary.to_pylist()], np.int32)
        return codes[encoded.indices.to_numpy(zero_copy_only=False)] if len(codes) else np.zeros(0, np.int32)


@dataclass
class Ledger:
    """What deciding needs of all documents: about 40 bytes each, in the order they were collected."""

    shards: list[Path]
    starts: NDArray[np.int64]  # first document of each shard, and one past the last
    failed: NDArray[np.int16]  # first rule that fails, as a number in `rules`; -1: none
    digests: NDArray[np.uint64]  # [documents, 2]
    num_bytes: NDArray[np.int64]
    domains: NDArray[np.int32]
    named: NDArray[np.int32]  # named validation file; 0: none
    domain_names: list[str]
    named_names: list[str]
    rules: list[Judgement]

    def __len__(self) -> int:
        return len(self.failed)


@dataclass
class Decided:
    """One entry a document. `cause`: number in `Ledger.rules`, or beyond them in OTHER_CAUSES; -1: none."""

    verdict: NDArray[np.int8]
    cause: NDArray[np.int16]
    partner: NDArray[np.int64]  # document that this one is the same as, beyond the last one of an earlier run; -1: none
    similarity: NDArray[np.float64]  # to it
    num_bytes: NDArray[np.int64]  # of the text that is written, where the document is kept
    split: NDArray[np.int32]  # number in `splits`, for kept documents
    splits: list[str]
    components: NDArray[np.int64]  # documents of each component of similar documents, the largest first
    giants: list[Giant]


@dataclass
class Compared:
    """What the compare stage found, this run's documents first and those of earlier runs after them."""

    ranks: NDArray[np.int64]  # the one to keep lowest; -1: not kept by an earlier run
    known: NDArray[np.uint64]  # digests of the documents of earlier runs [documents, 2]
    edges: NDArray[np.int64]  # [edges, 2]
    similarities: NDArray[np.float64]


def read_compared(folder: Path) -> Compared:
    tables = [read_table(part) for part in sorted(folder.glob("edges-*.parquet"))]
    edges = pa.concat_tables(tables) if tables else EDGE_SCHEMA.empty_table()
    ends = np.stack([edges.column(name).to_numpy() for name in ("a", "b")], axis=1)
    ranks, known = read_array(folder / "ranks.npy"), read_array(folder / "known.npy")
    return Compared(ranks, known, ends, edges.column("jaccard").to_numpy())


def scored_parts(folder: Path) -> list[Path]:
    parts = sorted(folder.glob("scored-*.parquet"))
    if not parts:
        raise SeedbedError(f"{folder}: no scored-*.parquet: delete the folder and run the same command again")
    return parts


def read_ledger(parts: list[Path], config: CurateConfig) -> Ledger:
    """Read the scores of the finished score stage, a shard at a time, and hold them against the thresholds."""
    rules = judgements(config)
    wanted = sorted({rule.column for rule in rules})
    domains, named = Names(), Names()
    named.number("")
    pieces: list[tuple[Any, ...]] = []
    for part in parts:
        table = read_table(part, columns=["digest", "bytes_out", "domain", "split", *wanted])
        digests = np.frombuffer(b"".join(table.column("digest").to_pylist()), np.uint64).reshape(-1, 2)
        split = named.encode(table.column("split"))
        failed = np.where(split == 0, first_failures(table, rules), -1).astype(np.int16)
        num_bytes = table.column("bytes_out").to_numpy()
        pieces.append((failed, digests, num_bytes, domains.encode(table.column("domain")), split))
    failed, digests, sizes, domain, split = (np.concatenate(column) for column in zip(*pieces, strict=True))
    starts = np.cumsum([0, *(len(piece[0]) for piece in pieces)], dtype=np.int64)
    return Ledger(parts, starts, failed, digests, sizes, domain, split, domains.names, named.names, rules)


def first_failures(table: pa.Table, rules: Iterable[Judgement]) -> NDArray[np.int16]:
    """The first rule that each row fails, or -1. A score that is missing, NaN or "" fails none."""
    first = np.full(table.num_rows, -1, np.int16)
    for number, rule in enumerate(rules):
        if rule.threshold is None:
            continue
        scores = table.column(rule.column)
        if rule.rule.side in ("one of", "none of"):
            encoded = pc.fill_null(scores, "").combine_chunks().dictionary_encode()
            labels = encoded.dictionary.to_pylist()
            wrong = [label != "" and not rule.check(label).passed for label in labels]
            failing = np.array([*wrong, False])[encoded.indices.to_numpy()]
        else:
            low, high = numeric(rule.threshold)
            values = pc.fill_null(scores, float("nan")).to_numpy()
            failing = (values < low) | (values > high)
        first = np.where((first < 0) & failing, np.int16(number), first)
    return first


def decide(ledger: Ledger, config: CurateConfig, compared: Compared) -> Decided:
    """A verdict per document. Splits drawn by hash are set later.

    Named validation files are measured whole: rules spare them, and training documents that are the same as one of theirs go.
    """
    count = len(ledger)
    other = {name: len(ledger.rules) + at for at, name in enumerate(OTHER_CAUSES)}
    verdict, cause = np.zeros(count, np.int8), np.full(count, -1, np.int16)
    empty = ledger.num_bytes == 0
    failing = ~empty & (ledger.failed >= 0)
    cause[failing] = ledger.failed[failing]
    cause[empty] = other[EMPTY]
    verdict[empty | failing] = REMOVED
    merges, first = merge(ledger, config, compared, verdict == KEPT)
    partner = np.where(ledger.named == 0, merges.into[:count], NONE)
    same, near = partner != NONE, merges.similarity[:count]
    copies = same & (first[:count] == first[partner])
    own = same & (partner < count)
    validated = own & (ledger.named[np.where(own, partner, 0)] != 0)
    verdict[validated] = REMOVED
    cause[validated] = np.where(copies[validated], other[IN_VALIDATION], other[NEAR_VALIDATION])
    merged = same & ~validated & (config.dedup.exact | config.dedup.near)
    verdict[merged] = MERGED
    cause[merged] = np.where(copies[merged], other[EXACT_DEDUP], other[NEAR_DEDUP])
    partner[~validated & ~merged] = NONE
    splits = [TRAIN, *ledger.named_names[1:], VALIDATION]
    sizes = ledger.num_bytes.copy()
    return Decided(verdict, cause, partner, near, sizes, ledger.named.copy(), splits, merges.sizes, merges.giants)


def merge(
    ledger: Ledger, config: CurateConfig, compared: Compared, alive: NDArray[np.bool_]
) -> tuple[Merges, NDArray[np.int64]]:
    """(merges, first copy of each document) of this run's documents and those of earlier runs."""
    count = len(ledger)
    usable = compared.ranks != NONE
    first = first_copies(np.concatenate([ledger.digests, compared.known]), usable, count)
    named = np.zeros(len(first), bool)
    named[first[:count][ledger.named != 0]] = True
    used = ~np.all(named[compared.edges], axis=1)  # validation files stay, however alike they are
    merges = merge_documents(
        first,
        compared.edges[used],
        compared.similarities[used],
        np.concatenate([alive, usable[count:]]),
        compared.ranks,
        config.dedup.min_jaccard,
        config.dedup.max_cluster,
    )
    return merges, first


def hold_out(decided: Decided, ledger: Ledger, seed: int, fraction: float, max_bytes: int) -> int:
    """Move a share of the kept documents to the validation split, equal texts together; gives the number of texts."""
    kept = np.flatnonzero(decided.verdict == KEPT)
    texts, where = np.unique(ledger.digests[kept], axis=0, return_inverse=True)
    where = where.reshape(-1)
    sizes = np.bincount(where, weights=ledger.num_bytes[kept], minlength=len(texts)).astype(np.int64)
    domains = np.zeros(len(texts), np.int32)
    domains[where[::-1]] = ledger.domains[kept[::-1]]  # the first document's
    if len(texts) > 1:
        held = choose_held_out(
            (
                Text(digest.tobytes(), ledger.domain_names[domain], int(size))
                for digest, domain, size in zip(texts, domains, sizes, strict=True)
            ),
            seed,
            fraction,
            max_bytes,
        )
        chosen = np.array([digest.tobytes() in held for digest in texts])
        decided.split[kept[chosen[where]]] = len(decided.splits) - 1
    return len(texts)
