"""Exact substrings that occur more than once across documents: which words to cut so that one occurrence of each stays.

A substring is a run of at least `min_words` words, equal character by character but for the white space between them. A word
is what stands between white space; in scripts written without spaces, a single character. What is found is what a suffix array
finds (Lee et al. 2021, section 4.1), by another way: a word lies in a repeated run of `min_words` or more exactly when it lies in
a repeated window of `min_words`. So all windows are hashed to 128 bits and sorted, one part of the key space at a time: memory is
bounded by the part, and parts run in parallel, where a suffix array wants all the text and some eight bytes a character at once.

The first occurrence of every window stays whole; words of later ones are cut, unless they are part of the first occurrence of
another window. Occurrences come in the order of shards and documents. What earlier runs kept comes before all of it; of its
windows only those are stored that pass a filter of this run's.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from seedbed.corpus.dedup.signature import MIX_A, UNSPACED, mix
from seedbed.corpus.dedup.tables import range_of_part, slice_of
from seedbed.corpus.rules.group import Span

MIN_WORDS = 50  # tokens, in Lee et al. 2021; a word is about 1.3 tokens, so this is on the careful side
KIND = "substring"
PART_WINDOWS = 2 << 20  # windows of a part, on average: some 250 MB while they are sorted
BATCH_WORDS = 1 << 20  # hashed at a time
REMEMBERED_WORDS = 500_000
FILTER_BITS_EACH = 16  # of a window: one foreign window in 16 passes
MAX_FILTER_BITS = 1 << 31  # 256 MB, mapped; beyond 134 million windows more foreign ones pass, which costs disk alone
ONE_CHARACTER = UNSPACED.pattern.strip("()[]")
WORD = re.compile(r"\S+")
WORD_OR_CHARACTER = re.compile(rf"[{ONE_CHARACTER}]|[^\s{ONE_CHARACTER}]+")


def word_matches(text: str) -> Iterator[re.Match[str]]:
    return (WORD if text.isascii() or not UNSPACED.search(text) else WORD_OR_CHARACTER).finditer(text)


def split_words(text: str) -> list[str]:
    return text.split() if text.isascii() or not UNSPACED.search(text) else WORD_OR_CHARACTER.findall(text)


class WordHashes(dict[str, int]):
    """Word -> row of `table`, u64 [words, 2]: its 128-bit XXH3."""

    def __init__(self) -> None:
        super().__init__()
        self._data = bytearray()

    def __missing__(self, word: str) -> int:
        self._data += xxhash.xxh3_128_digest(word.encode("utf-8", "surrogatepass"))
        row = self[word] = len(self)
        return row

    def of(self, words: list[str]) -> np.ndarray:
        """u64 [words, 2]."""
        rows = np.fromiter(map(self.__getitem__, words), np.int64, len(words))
        return np.frombuffer(bytes(self._data), "<u8").reshape(-1, 2)[rows]


def window_hashes(words: np.ndarray, width: int) -> np.ndarray:
    """u64 [words - width + 1]: a hash of `width` word hashes in a row, put together from windows of half the width."""
    hashes, length = mix(words), 1
    while length < width:
        step = min(length, width - length)  # the last two windows overlap, and cover all of the width together
        hashes = mix(hashes[:-step] * MIX_A + hashes[step:]) if len(hashes) > step else hashes[:0]
        length += step
    return hashes


def make_filter(folder: Path, shards: int) -> None:
    """Write `filter.npy` of the windows of the first `shards`: bits (a power of two of them), set where keys' high bits point."""
    keys = [np.load(folder / f"windows-{shard:05d}.npy", mmap_mode="r")[0] for shard in range(shards)]
    wanted = FILTER_BITS_EACH * max(1, sum(map(len, keys)))
    bits = np.zeros(min(1 << (wanted - 1).bit_length(), MAX_FILTER_BITS) // 8, np.uint8)
    for of_shard in keys:
        for start in range(0, len(of_shard), PART_WINDOWS):
            byte, bit = slots(of_shard[start : start + PART_WINDOWS], bits)
            np.bitwise_or.at(bits, byte, bit)
    np.save(folder / "filter.npy", bits)


def slots(keys: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(byte of the filter, bit of it) of each key."""
    slot = keys >> np.uint64(64 - (8 * len(bits) - 1).bit_length())
    return (slot >> np.uint64(3)).astype(np.int64), np.left_shift(np.uint8(1), (slot & np.uint64(7)).astype(np.uint8))


def hash_windows(
    documents: Iterable[tuple[int, str]], shard: int, folder: Path, min_words: int, filtered: bool = False
) -> dict[str, int]:
    """Hash every window of a shard's documents, given as (row, text) in order; `filtered`: those alone that pass `filter.npy`.

    Writes `windows-N.npy` u64 [3, windows]: key, second half of the hash, number of the window's first word in the shard; in
    order of keys. `words-N.npy` int64 [documents, 2]: row and number of words.
    """
    found: list[np.ndarray] = []
    counts: list[tuple[int, int]] = []
    vocabulary, batch, before = WordHashes(), [], 0  # type: WordHashes, list[str], int
    bits = np.load(folder / "filter.npy", mmap_mode="r") if filtered else None

    def flush(lengths: list[int]) -> None:
        nonlocal vocabulary, batch, before
        hashes = vocabulary.of(batch)
        halves = [window_hashes(np.ascontiguousarray(half), min_words) for half in hashes.T]
        ends = np.repeat(np.cumsum(lengths), lengths)[: len(halves[0])]  # of the document that a window begins in
        inside = np.arange(len(halves[0])) + min_words <= ends
        if bits is not None:
            byte, bit = slots(halves[0], bits)
            inside &= (bits[byte] & bit) != 0
        places = np.flatnonzero(inside)
        found.append(np.stack([halves[0][places], halves[1][places], (places + before).astype(np.uint64)]))
        before, batch = before + len(batch), []
        if len(vocabulary) > REMEMBERED_WORDS:
            vocabulary = WordHashes()

    lengths: list[int] = []
    for row, text in documents:
        words = split_words(text)
        batch += words
        lengths.append(len(words))
        counts.append((row, len(words)))
        if len(batch) >= BATCH_WORDS:
            flush(lengths)
            lengths = []
    flush(lengths)
    num_windows = save_by_key(found, folder / f"windows-{shard:05d}.npy")
    np.save(folder / f"words-{shard:05d}.npy", np.array(counts, np.int64).reshape(-1, 2))
    return {"words": before, "windows": num_windows}


def save_by_key(pieces: list[np.ndarray], path: Path) -> int:
    """Save u64 [3, windows] pieces as one array in order of its first row, a row in memory at a time; gives the windows."""
    key = np.concatenate([piece[0] for piece in pieces])
    order = np.argsort(key, kind="stable")
    with path.open("wb") as file:
        header = {"descr": "<u8", "fortran_order": False, "shape": (3, len(key))}
        np.lib.format.write_array_header_1_0(file, header)
        key[order].tofile(file)
        del key
        for row in (1, 2):
            np.concatenate([piece[row] for piece in pieces])[order].tofile(file)
    return len(order)


def num_parts(num_windows: int) -> int:
    return max(1, -(-num_windows // PART_WINDOWS))


def find_repeats(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: windows of one part of the key space that occur more than once.

    Task: `part`, `parts`, `starts` (number of each shard's first word). Writes `firsts-N.npy` and `laters-N.npy`: int64, sorted,
    the number of the first word of each first and each later occurrence.
    """
    low, high = range_of_part(task["part"], task["parts"])
    found = [np.empty((3, 0), np.uint64)]
    for start, shard in sorted(zip(task["starts"], range(len(task["starts"])), strict=True)):
        windows = np.load(folder / f"windows-{shard:05d}.npy", mmap_mode="r")
        piece = np.array(windows[:, slice_of(windows[0], low, high, with_zero=True)])
        piece[2] += np.uint64(start)
        found.append(piece)
    key, check, place = np.concatenate(found, axis=1)
    order = np.argsort(key, kind="stable")  # shards come in order, and are sorted: it merges, and places stay in order
    collisions = (key[order][1:] == key[order][:-1]) & (check[order][1:] != check[order][:-1])
    if collisions.any():
        order = np.lexsort((place, check, key))
    key, check, place = key[order], check[order], place[order].astype(np.int64)
    same = (key[1:] == key[:-1]) & (check[1:] == check[:-1])  # as the one before
    later, followed = np.append(False, same)[: len(key)], np.append(same, False)[: len(key)]
    np.save(folder / f"firsts-{task['part']:05d}.npy", np.sort(place[followed & ~later]))
    np.save(folder / f"laters-{task['part']:05d}.npy", np.sort(place[later]))
    return {"repeated": int(np.sum(followed & ~later)), "later": int(np.sum(later))}


def cut_words(folder: Path, shard: int, parts: int, start: int, min_words: int) -> dict[int, list[tuple[int, int]]]:
    """Row of the shard -> runs of words to cut, as (first, end) in the document. `start`: number of the shard's first word."""
    counts = np.load(folder / f"words-{shard:05d}.npy")
    total = int(counts[:, 1].sum())
    needed, repeated = (covered(folder, name, parts, start, total, min_words) for name in ("firsts", "laters"))
    ends = np.cumsum(counts[:, 1])
    cut = np.flatnonzero(repeated & ~needed)
    document = np.searchsorted(ends, cut, "right")
    runs: dict[int, list[tuple[int, int]]] = {}
    if not len(cut):
        return runs
    breaks = np.flatnonzero((np.diff(cut) > 1) | (np.diff(document) > 0)) + 1
    for first, last in zip(np.append(0, breaks), np.append(breaks, len(cut)) - 1, strict=True):
        number = document[first]
        origin = ends[number] - counts[number, 1]
        runs.setdefault(int(counts[number, 0]), []).append((int(cut[first] - origin), int(cut[last] - origin) + 1))
    return runs


def covered(folder: Path, name: str, parts: int, start: int, total: int, min_words: int) -> np.ndarray:
    """bool [total]: words of the shard that lie in one of these windows."""
    change = np.zeros(total + 1, np.int32)
    for part in range(parts):
        places = np.load(folder / f"{name}-{part:05d}.npy", mmap_mode="r")
        inside = places[slice(*np.searchsorted(places, [start, start + total]))] - start
        np.add.at(change, inside, 1)
        np.add.at(change, inside + min_words, -1)
    return np.cumsum(change[:-1]) > 0


def spans_of(text: str, runs: list[tuple[int, int]]) -> list[Span]:
    """Characters to cut for runs of words: up to the next word, or where the text ends from the word before."""
    words = [(match.start(), match.end()) for match in word_matches(text)]
    spans = []
    for first, end in runs:
        if end < len(words):
            spans.append(Span(words[first][0], words[end][0], KIND, ""))
        else:
            spans.append(Span(words[first - 1][1] if first else 0, len(text), KIND, ""))
    return spans
