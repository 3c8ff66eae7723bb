"""Items that stand in a text: hashes propose, words decide."""

from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus.decontaminate.hashes import run_hashes
from seedbed.corpus.decontaminate.index import Index
from seedbed.corpus.decontaminate.words import places_of, words_of


@dataclass(frozen=True)
class Passage:
    """Characters [start, end) of a text that stand in an item too. `answered`: they reach into the item's answer."""

    start: int
    end: int
    item: str
    answered: bool


@dataclass(frozen=True)
class Found:
    """`hits`: places where an n-gram of an item begins; `share`: of the text's words that lie in passages."""

    passages: list[Passage]
    hits: int = 0
    items: int = 0
    answers: int = 0
    share: float = 0.0


NOTHING = Found([])
BIT = np.left_shift(np.uint8(1), np.arange(8, dtype=np.uint8))


def search(text: str, index: Index) -> Found:
    words = words_of(text)
    ids_W = np.fromiter(map(index.ids.get, words, repeat(0)), np.uint32, len(words))
    at, length, place = matches(ids_W, index)
    if not len(at):
        return NOTHING
    item = np.searchsorted(index.item_start, place, side="right") - 1
    answered = (place + length > index.answer_start[item]) & (place < index.answer_end[item])
    passages = merge(at, length, item, answered)
    covered = np.zeros(len(words) + 1, np.int64)
    np.add.at(covered, at, 1)
    np.add.at(covered, at + length, -1)
    places = places_of(text)
    answers = {i for _, _, i, reaches in passages if reaches}
    return Found(
        [Passage(places[a][0], places[b - 1][1], index.item_name(i), reaches) for a, b, i, reaches in passages],
        hits=len(np.unique(at)),
        items=len(np.unique(item)),
        answers=len(answers),
        share=float(np.count_nonzero(np.cumsum(covered)) / len(words)),
    )


def matches(ids_W: NDArray[np.uint32], index: Index) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each n-gram that stands both here and in an item: first word here, number of words, place in the index's stream."""
    found = [np.zeros((3, 0), np.int64)]
    lengths = [length for length in index.filters if length <= len(ids_W)]
    for length, hashes in (run_hashes(ids_W, lengths) if lengths else {}).items():
        bits = index.filters[length]
        slot = (hashes & np.uint64(8 * len(bits) - 1)).view(np.int64)
        passed = np.flatnonzero(bits[slot >> 3] & BIT[slot & 7])
        if not len(passed):
            continue
        entry = np.searchsorted(index.hashes, hashes[passed])
        entry[entry == len(index.hashes)] = 0
        same = index.hashes[entry] == hashes[passed]
        at, entry = passed[same], entry[same]
        first, stop = index.entries[entry].astype(np.int64), index.entries[entry + 1].astype(np.int64)
        count = stop - first
        at = np.repeat(at, count)
        which = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
        place = index.places[which].astype(np.int64)
        right = index.lengths[which] == length
        steps = np.arange(length)
        # A hash of equal bits proves nothing: the words themselves are compared.
        at, place = at[right], place[right]
        right = (index.stream[place[:, None] + steps] == ids_W[at[:, None] + steps]).all(axis=1)
        at, place = at[right], place[right]
        found.append(np.stack([at, np.full(len(at), length), place]))
    at, size, place = np.concatenate(found, axis=1)
    return at, size, place


def merge(
    at: NDArray[np.int64], length: NDArray[np.int64], item: NDArray[np.int64], answered: NDArray[np.bool_]
) -> list[tuple[int, int, int, bool]]:
    """(first word, end, item, answered) of the passages: n-grams of one item that touch, taken together, in order."""
    passages: list[tuple[int, int, int, bool]] = []
    order = np.lexsort((at, item))
    for a, n, i, reaches in zip(*(values[order].tolist() for values in (at, length, item, answered)), strict=True):
        if passages and passages[-1][2] == i and a <= passages[-1][1]:
            start, end, _, before = passages.pop()
            passages.append((start, max(end, a + n), i, before or reaches))
        else:
            passages.append((a, a + n, i, reaches))
    return sorted(passages)
