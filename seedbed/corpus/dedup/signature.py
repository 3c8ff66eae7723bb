"""MinHash signatures: a document's word n-grams as 64-bit numbers, and of those one 64-bit key per band of the LSH.

Two documents share a band's key with probability s^rows, s being the Jaccard similarity of their shingles, and some key with
probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.2).
Words are compared in lower case and without punctuation, as FineWeb does; digits and diacritics stay.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np
import xxhash

from seedbed.corpus.words import code_points

VERSION = 1  # raise it when shingles or keys change: signatures on disk are then made again
NGRAM, BANDS, ROWS = 5, 14, 8  # Penedo et al. 2024 (FineWeb), section 3.4
NO_KEY = 0  # of a document without a word, which is like no other
BLOCK_CHARACTERS = 1 << 18  # hashed at a time: some 30 MB of arrays, whatever the length of the document
BLOCK_SHINGLES = 8192  # 112 rows of 4 bytes: 3.7 MB at a time

UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
LAST_CODE = 0x3FFFF  # which is no character; beyond it Unicode has assigned variation selectors and tags only
WHITE_SPACE = re.compile(r"\s")
ODD = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: Knuth, The Art of Computer Programming 3, section 6.4
INVERSE = pow(ODD, -1, 1 << 64)
MIX_A, MIX_B = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's 64-bit finaliser
SHIFT = np.uint64(33)


def plain_words(text: str) -> list[str]:
    """The words that are compared, in plain Python. In scripts written without spaces each character is one."""
    return "".join(c.lower()[0] for c in UNSPACED.sub(r" \1 ", text) if is_compared(c)).split()


def is_compared(character: str) -> bool:
    """White space, letters, marks and numbers, as far as LAST_CODE."""
    kind = unicodedata.category(character)[0]
    return (kind in "LMN" or character.isspace()) and ord(character) <= LAST_CODE


COMPARED, STANDS_ALONE, UNKNOWN = 1, 2, 128  # bits of a character's kind


class Characters:
    """What the signature knows of characters by code point up to LAST_CODE, found when a text first holds them."""

    def __init__(self) -> None:
        self._kinds = np.full(LAST_CODE + 1, UNKNOWN, np.uint8)
        self.values = np.zeros(LAST_CODE + 1, np.uint64)  # a random number of its lower case, 0 for white space

    def kinds_of(self, codes: np.ndarray) -> np.ndarray:
        """COMPARED, and STANDS_ALONE of scripts written without spaces, of each code point, u8."""
        kinds = self._kinds.take(codes, mode="clip")
        if len(kinds) and int(kinds.max()) >= UNKNOWN:
            for code in np.unique(codes[kinds >= UNKNOWN].astype(np.uint32).clip(max=LAST_CODE)).tolist():
                character = chr(code)
                alone = UNSPACED.match(character) is not None
                self._kinds[code] = COMPARED * is_compared(character) | STANDS_ALONE * alone
                if not character.isspace():
                    self.values[code] = mix(np.array([ord(character.lower()[0]) + 1], np.uint64))[0]
            kinds = self._kinds.take(codes, mode="clip")
        return kinds


CHARACTERS = Characters()


@cache
def powers(base: int) -> np.ndarray:
    """u64 base^0, base^1, ... modulo 2^64, as many as a block has characters when each is set between spaces."""
    return np.cumprod(np.append(np.uint64(1), np.full(3 * BLOCK_CHARACTERS, base, np.uint64)), dtype=np.uint64)


def mix(values: np.ndarray) -> np.ndarray:
    """A permutation of u64 in which every bit depends on every other (MurmurHash3, fmix64)."""
    values = (values ^ (values >> SHIFT)) * MIX_A
    values = (values ^ (values >> SHIFT)) * MIX_B
    return values ^ (values >> SHIFT)


def blocks(text: str) -> Iterator[str]:
    """`text` in pieces of at most BLOCK_CHARACTERS, cut where a word ends (or anywhere, in a word of that length)."""
    start = 0
    while len(text) - start > BLOCK_CHARACTERS:
        end = start + BLOCK_CHARACTERS
        tail = text[end - 1000 : end]
        cut = max((found.end() for found in WHITE_SPACE.finditer(tail)), default=len(tail))
        yield text[start : end - len(tail) + cut]
        start = end - len(tail) + cut
    yield text[start:] if start else text


def word_hashes(text: str) -> np.ndarray:
    """u64, one a word of `plain_words(text)` in their order: a polynomial of its characters, mixed.

    All words of a block at once: running sums of value x ODD^position give each word's as a difference, divided by
    ODD^(its position).
    """
    found = []
    for block in blocks(text):
        codes = code_points(block)
        kinds = CHARACTERS.kinds_of(codes)
        if len(kinds) and int(kinds.max()) >= STANDS_ALONE:
            codes = code_points(UNSPACED.sub(r" \1 ", block))
            kinds = CHARACTERS.kinds_of(codes)
        characters = CHARACTERS.values.take(codes[(kinds & COMPARED).view(bool)])
        filled = np.zeros(len(characters) + 2, bool)  # white space lies around a block
        np.not_equal(characters, 0, out=filled[1:-1])
        edges = np.flatnonzero(filled[1:] != filled[:-1])
        starts, ends = edges[::2], edges[1::2]
        sums = np.cumsum(characters * powers(ODD)[: len(characters)], dtype=np.uint64)
        before = np.where(starts > 0, sums[starts - 1], np.uint64(0))
        found.append(mix((sums[ends - 1] - before) * powers(INVERSE)[starts]))
    return np.concatenate(found) if len(found) > 1 else found[0]


def ngram_hashes(words: np.ndarray, width: int) -> np.ndarray:
    """u64: a hash of every `width` word hashes in a row, in order; of all of them where there are fewer."""
    width = min(width, len(words))
    count = len(words) - width + 1 if width else 0
    grams = words[:count].copy()
    for position in range(1, width):
        grams *= np.uint64(ODD)
        grams += words[position : position + count]
    return mix(grams)


class MinHasher:
    """Keys depend on these four numbers and on VERSION, on nothing else: tables of different runs can be joined."""

    def __init__(self, ngram: int = NGRAM, bands: int = BANDS, rows: int = ROWS, seed: int = 1) -> None:
        self.ngram, self.num_bands, self.rows = ngram, bands, rows
        random = np.random.Generator(np.random.PCG64([seed, VERSION]))
        # x -> a x + b (mod 2^32), of x that are hashes already: a permutation where a is odd
        self._a = random.integers(0, 1 << 31, (bands * rows, 1), dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        self._b = random.integers(0, 1 << 32, (bands * rows, 1), dtype=np.uint32)

    def shingles(self, text: str) -> np.ndarray:
        """u64, sorted and unique: the document's word n-grams."""
        grams = np.sort(ngram_hashes(word_hashes(text), self.ngram))
        return grams[np.append(True, grams[1:] != grams[:-1])] if len(grams) else grams

    def bands(self, text: str) -> np.ndarray:
        """u64 [bands]: equal keys in a band mean equal minima in all its rows. NO_KEY throughout for a text without words."""
        grams = ngram_hashes(word_hashes(text), self.ngram)  # a minimum asks for no order, and minds no repetition
        return self.keys(self.minima(grams)) if len(grams) else np.full(self.num_bands, NO_KEY, np.uint64)

    def minima(self, shingles: np.ndarray) -> np.ndarray:
        """u32 [bands * rows]: the least of the shingles under each row's permutation."""
        narrow = shingles.astype(np.uint32)  # the lower half: where two collide a pair is compared in vain, no more
        least = np.full(len(self._a), 0xFFFFFFFF, np.uint32)
        for start in range(0, len(narrow), BLOCK_SHINGLES):
            hashed = self._a * narrow[start : start + BLOCK_SHINGLES]
            hashed += self._b
            np.minimum(least, hashed.min(axis=1), out=least)
        return least

    def keys(self, minima: np.ndarray) -> np.ndarray:
        """u64 [bands] of the minima, never NO_KEY."""
        data, width = minima.astype("<u4").tobytes(), 4 * self.rows
        keys = [xxhash.xxh3_64_intdigest(data[at : at + width]) or 1 for at in range(0, len(data), width)]
        return np.array(keys, np.uint64)


@lru_cache(maxsize=2)
def hasher(ngram: int, bands: int, rows: int) -> MinHasher:
    """One hasher a process and choice."""
    return MinHasher(ngram, bands, rows)


def match_probability(similarity: float, bands: int = BANDS, rows: int = ROWS) -> float:
    """Probability that two documents of this Jaccard similarity become candidates: 1 - (1 - s^rows)^bands."""
    return 1 - (1 - similarity**rows) ** bands


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Size of the intersection over size of the union of two sorted sets without repetition; 0 for two empty ones."""
    merged = np.sort(np.concatenate([a, b]))
    common = int(np.count_nonzero(merged[1:] == merged[:-1]))
    return common / max(1, len(merged) - common)
