"""What counts as a word: splitters with versions, and a lexicon that remembers what each chunk between spaces gave.

A splitter is a pure function of a chunk without white space, so a document's words are one dictionary look-up a chunk
and then arrays. `white-space`: the chunk. `unicode`: letters, digits and marks apart from punctuation, scripts without
spaces in pairs of characters. `datatrove`: spaCy's English tokens (corpus/english.py).
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from seedbed.corpus import english

# Raise one when its words change: it enters the key of every stage whose rules count words.
VERSIONS = {"white-space": 1, "unicode": 1, "datatrove": 1}

# Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, CJK ideographs. Their text has no words
# to split at, so a pair of characters stands for a word: enough to tell a sentence from a page.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{1,2}"
)
# Apostrophes join letters, points and commas join digits (after Unicode annex 29, rules WB6 to WB12).
ASCII_WORD = re.compile(r"[A-Za-z0-9_]+(?:(?:'(?=[A-Za-z])|[.,](?<=\d.)(?=\d))[A-Za-z0-9_]+)*|.")

# A word's hash: its characters as digits of a number modulo 2**64. With an odd base the hash of two words joined follows
# from theirs: hash(ab) = hash(a) * base**len(b) + hash(b). The base has no further meaning.
HASH_BASE = 0x9E6C63D0876A9A47
MASK = (1 << 64) - 1

# Bits of a word's class. The eight stop words follow, a bit each (Rae et al. 2021, appendix A.1.1).
SYMBOL = 1  # nothing but signs that datatrove does not count as a word
LETTER = 2  # holds a letter
SENTENCE_END = 4  # is one of the signs that end a sentence
PUNCTUATION = 8  # nothing but Unicode punctuation
STOP_WORDS = {w: 16 << n for n, w in enumerate(("the", "be", "to", "of", "and", "that", "have", "with"))}
ANY_STOP_WORD = sum(STOP_WORDS.values())

# A lexicon is given up at this size and begun anew: some 50 MB.
MAX_CHUNKS = 1 << 17
MAX_CHARACTERS = 1 << 23  # of chunks longer than SHORT
SHORT = 64
BLOCK = 1 << 16  # longer words are hashed in pieces


def splitter_version(splitter: str) -> str:
    return f"{splitter}-{VERSIONS[splitter]}"


def split_unicode(chunk: str) -> Sequence[str]:
    if chunk.isascii():
        return (chunk,) if chunk.isalnum() else ASCII_WORD.findall(chunk)
    return wide_word().findall(chunk)


@cache
def wide_word() -> re.Pattern[str]:
    """The pattern of `ASCII_WORD` for any script: marks belong to their letters, unspaced scripts come in pairs."""
    codes = [*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0)]  # no marks elsewhere (Unicode 16)
    marks = "".join(re.escape(chr(code)) for code in codes if unicodedata.category(chr(code))[0] == "M")
    pair = UNSPACED.pattern
    letter = f"(?:(?!{pair[:-5]})[\\w{marks}])"
    return re.compile(f"{pair}|{letter}+(?:(?:['\u2019](?=[^\\W\\d])|[.,](?<=\\d.)(?=\\d)){letter}+)*|.", re.DOTALL)


SPLITTERS: dict[str, Callable[[str], Sequence[str]]] = {
    "white-space": lambda chunk: (chunk,),
    "unicode": split_unicode,
    "datatrove": english.split_chunk,
}


class Lexicon:
    """Chunks and words met so far, numbered, with what the rules ask of a word in arrays by word number."""

    def __init__(self, splitter: str) -> None:
        self.splitter = splitter
        self.texts: list[str] = []
        self.chunks = Chunks(SPLITTERS[splitter], self.texts)
        self.long_words, self.long_ends = Column(np.int64), Column(np.int64)
        self.lengths = Column(np.int64)  # of a word: characters
        self.hashes = Column(np.uint64)
        self.powers = Column(np.uint64)  # HASH_BASE ** length
        self.classes = Column(np.uint16)

    @property
    def full(self) -> bool:
        return len(self.chunks) > MAX_CHUNKS or self.chunks.characters > MAX_CHARACTERS

    def numbers(self, chunks: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Word numbers of the chunks' words in order (int64), and how many words each chunk has (int64)."""
        found = np.fromiter(map(self.chunks.__getitem__, chunks), np.int64, len(chunks))
        if len(self.texts) > self.lengths.size:
            self.describe(self.texts[self.lengths.size :])
        count = np.ones(len(chunks), np.int64)
        several = np.flatnonzero(found < 0)
        if not len(several):
            return found, count
        words, ends = self.long_words.up_to(self.chunks.long_words), self.long_ends.up_to(self.chunks.long_ends)
        number = ~found[several]
        first = ends[number]
        count[several] = size = ends[number + 1] - first
        numbers = np.repeat(found, count)
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        numbers[numbers < 0] = words[np.repeat(first, size) + within]
        return numbers, count

    def describe(self, words: list[str]) -> None:
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        self.lengths.extend(lengths)
        self.hashes.extend(hash_words(words, lengths))
        short = np.minimum(lengths, BLOCK)
        powers = hash_powers(int(short.max()) + 1)[short]
        for place in np.flatnonzero(lengths > BLOCK).tolist():
            powers[place] = pow(HASH_BASE, int(lengths[place]), 1 << 64)
        self.powers.extend(powers)
        self.classes.extend(np.array([classify(word) for word in words], np.uint16))


class Chunks(dict[str, int]):
    """Of a chunk with one word, the word's number; of one with several, ~n, where its words are the n-th of the long."""

    def __init__(self, split: Callable[[str], Sequence[str]], texts: list[str]) -> None:
        self.split = split
        self.texts = texts
        self.words: dict[str, int] = {}
        self.long_words: list[int] = []
        self.long_ends = [0]
        self.characters = 0  # of chunks longer than SHORT

    def __missing__(self, chunk: str) -> int:
        words, texts, numbers = self.words, self.texts, []
        for part in self.split(chunk):
            number = words.get(part)
            if number is None:
                words[part] = number = len(texts)
                texts.append(part)
            numbers.append(number)
        if len(numbers) > 1:
            number = -len(self.long_ends)
            self.long_words += numbers
            self.long_ends.append(len(self.long_words))
        if len(chunk) > SHORT:
            self.characters += len(chunk)
        assert number is not None
        self[chunk] = number
        return number


class Column:
    """Numbers that grow at the end and are read as an array, of which only the first `size` mean anything."""

    def __init__(self, dtype: type) -> None:
        self.array: np.ndarray = np.empty(4096, dtype)
        self.size = 0

    def extend(self, values: np.ndarray) -> None:
        size = self.size + len(values)
        if size > len(self.array):
            self.array = np.concatenate([self.array[: self.size], np.empty(size, self.array.dtype)])
        self.array[self.size : size] = values
        self.size = size

    def up_to(self, values: list[int]) -> np.ndarray:
        """The array, after it has taken what `values` has beyond its size."""
        if len(values) > self.size:
            self.extend(np.array(values[self.size :], self.array.dtype))
        return self.array


LEXICONS: dict[str, Lexicon] = {}


def lexicon(splitter: str) -> Lexicon:
    """The process's lexicon of this splitter. What it gives does not depend on what it has met."""
    found = LEXICONS.get(splitter)
    if found is None or found.full:
        found = LEXICONS[splitter] = Lexicon(splitter)
    return found


def hash_words(words: list[str], lengths: np.ndarray) -> np.ndarray:
    """The hash of each word, uint64. `lengths`: their characters, none of them 0."""
    if lengths.max() > BLOCK:
        return np.array([hash_long(word) for word in words], np.uint64)
    codes = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32)
    ends = np.cumsum(lengths)
    exponents = np.repeat(ends, lengths) - 1 - np.arange(len(codes))
    return np.add.reduceat(codes * hash_powers(int(lengths.max()) + 1)[exponents], ends - lengths)


def hash_long(word: str) -> int:
    value = 0
    for start in range(0, len(word), BLOCK):
        block = word[start : start + BLOCK]
        part = int(hash_words([block], np.array([len(block)]))[0])
        value = (value * pow(HASH_BASE, len(block), 1 << 64) + part) & MASK
    return value


POWERS = [np.ones(1, np.uint64)]


def hash_powers(number: int) -> np.ndarray:
    """The first powers of HASH_BASE from the 0th on, uint64, at least `number` of them."""
    if len(POWERS[0]) < number:
        factors = np.full(2 * number, HASH_BASE, np.uint64)
        factors[0] = 1
        POWERS[0] = np.cumprod(factors)
    return POWERS[0]


def classify(word: str) -> int:
    if word.isalpha():
        return LETTER | STOP_WORDS.get(word, 0)
    if word.isdecimal() and word.isascii():
        return 0
    known = english.tables()
    bits = SYMBOL if known.symbols.issuperset(word) else 0
    if any(map(str.isalpha, word)):
        bits |= LETTER
    if word in known.sentence_ends:
        bits |= SENTENCE_END
    if all(unicodedata.category(character)[0] == "P" for character in word):
        bits |= PUNCTUATION
    return bits
