"""What counts as a word: splitters with versions, each for all words of a text at once.

A splitter says of each character whether it goes on with the word before it; all else about words is arithmetic on arrays
(corpus/view.py). `white-space`: what white space parts. `unicode`: letters, digits and marks apart from punctuation,
scripts without spaces in pairs of characters. `datatrove`: spaCy's English tokens (corpus/english.py), a function of each
chunk between white space.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import chain

import numpy as np

from seedbed.corpus import english

# Raise one when its words change: it enters the key of every stage whose rules count words.
VERSIONS = {"white-space": 1, "unicode": 2, "datatrove": 1}

# Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, CJK ideographs. Their text has no words
# to split at, so a pair of characters stands for a word: enough to tell a sentence from a page.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{1,2}"
)

# Bits of a character; a word's are those of its characters together. White space has its own bit alone.
KNOWN = 1 << 15  # the character has been looked at
SPACE = 1
LETTER = 2  # str.isalpha
COUNTED = 4  # none of the signs of which datatrove counts no word that holds nothing else
SPOKEN = 8  # no Unicode punctuation
SENTENCE_END = 16  # a sign that ends a sentence when it stands alone
PART = 32  # letter, digit, mark or underscore of a script with spaces
DIGIT = 64  # decimal, and a PART
PAIRED = 128  # of a script without spaces
APOSTROPHE = 256  # joins letters
POINT = 512  # or comma: joins digits (both after Unicode annex 29, rules WB6 to WB12)
OPENING = 1024  # for spaCy's tokens: always parted from a letter after it
CLOSING = 2048  # the same of a letter before it
BEFORE_POINT = 4096  # a point is parted from it
FULL_STOP = 8192
PLAIN = 16384  # a letter or an ASCII digit

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Rae et al. 2021, appendix A.1.1

# A word's hash: its characters as digits of a number modulo 2**64. With an odd base the hash of two words joined follows
# from theirs: hash(ab) = hash(a) * base**len(b) + hash(b). The base has no further meaning.
HASH_BASE = 0x9E6C63D0876A9A47
BASE_INVERSE = pow(HASH_BASE, -1, 1 << 64)
MASK = (1 << 64) - 1
BLOCK = 1 << 16  # characters hashed at a time

MAX_CHUNKS = 1 << 17  # remembered with their tokens, some 20 MB; then begun anew
SHORT = 64  # characters of a chunk that is remembered
FILTER_BITS = 16


def splitter_version(splitter: str) -> str:
    return f"{splitter}-{VERSIONS[splitter]}"


class Characters:
    """Bits by code point, found when a text first holds it."""

    def __init__(self) -> None:
        self.bits = np.zeros(0x110000, np.uint16)

    def of(self, codes: np.ndarray) -> np.ndarray:
        """uint16 [characters]. `codes`: code points."""
        bits = self.bits.take(codes)
        if len(bits) and int(bits.min()) < KNOWN:
            for code in np.unique(codes[bits < KNOWN]).tolist():
                self.bits[code] = KNOWN | character_bits(chr(code))
            bits = self.bits.take(codes)
        return bits


CHARACTERS = Characters()


def character_bits(character: str) -> int:
    if character.isspace():
        return SPACE
    known, kind = english.tables(), unicodedata.category(character)[0]
    paired = UNSPACED.match(character) is not None
    part = not paired and (character.isalnum() or character == "_" or kind == "M")
    ascii_digit = character in english.DIGITS
    tests = {
        LETTER: character.isalpha(),
        COUNTED: character not in known.symbols,
        SPOKEN: kind != "P",
        SENTENCE_END: character in known.sentence_ends,
        PART: part,
        DIGIT: part and character.isdecimal(),
        PAIRED: paired,
        APOSTROPHE: character in english.APOSTROPHES,
        POINT: character in ".,",
        OPENING: character in english.OPENING,
        CLOSING: character in english.CLOSING,
        BEFORE_POINT: character in english.BEFORE_POINT,
        FULL_STOP: character == ".",
        PLAIN: character.isalpha() or ascii_digit,
    }
    return sum(bit for bit, holds in tests.items() if holds)


def continue_chunks(bits: np.ndarray) -> np.ndarray:
    """bool [characters]: neither the character nor the one before it is white space."""
    spaces = (bits & SPACE) != 0
    goes_on = ~spaces
    goes_on[1:] &= goes_on[:-1].copy()
    goes_on[:1] = False
    return goes_on


def continue_unicode(text: str, codes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    inside = (bits & PART) != 0
    signs = places_of(bits[1:-1] & (APOSTROPHE | POINT)) + 1
    if len(signs):
        sign, before, after = bits[signs], bits[signs - 1], bits[signs + 1]
        letters = ((sign & APOSTROPHE) != 0) & ((before & PART) != 0) & ((after & PART) != 0) & ((after & LETTER) != 0)
        digits = ((sign & POINT) != 0) & ((before & after & DIGIT) != 0)
        inside[signs[letters | digits]] = True
    goes_on = np.zeros(len(bits), bool)
    np.logical_and(inside[1:], inside[:-1], out=goes_on[1:])
    pairs = places_of(bits & PAIRED)
    if len(pairs):
        first = np.concatenate([[True], pairs[1:] != pairs[:-1] + 1])
        run = np.maximum.accumulate(np.where(first, np.arange(len(pairs)), 0))
        goes_on[pairs] = (np.arange(len(pairs)) - run) % 2 == 1
    return goes_on


def continue_spaces(text: str, codes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    return continue_chunks(bits)


def continue_datatrove(text: str, codes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """spaCy's tokens. Letters, or digits, with a sign before or after them or both are most chunks of a text, and are parted
    here; the rest, and exceptions, chunk by chunk."""
    goes_on = continue_chunks(bits)
    starts, lengths = spans_of(goes_on, bits)
    if not len(starts):
        return goes_on
    ends = starts + lengths
    first, last, second = bits[starts], bits[ends - 1], bits[np.maximum(ends - 2, starts)]
    front = ((first & OPENING) != 0) & (lengths > 1)
    back = ((last & CLOSING) != 0) | (((last & FULL_STOP) != 0) & ((second & BEFORE_POINT) != 0))
    back &= lengths - front > 1
    core, core_end = starts + front, ends - back
    odd = np.zeros(len(bits) + 1, np.int32)  # how many characters before each place are neither letter nor digit
    np.cumsum((bits & PLAIN) == 0, out=odd[1:])
    digits = np.zeros(len(bits) + 1, np.int32)
    np.cumsum((bits & (PLAIN | LETTER)) == PLAIN, out=digits[1:])
    num_digits = digits[core_end] - digits[core]
    single = lengths == 1
    plain = single | ((odd[core_end] == odd[core]) & ((num_digits == 0) | (num_digits == core_end - core)))
    hashes = hash_spans(codes, core, core_end - core)
    slots = (hashes >> np.uint64(64 - FILTER_BITS)).astype(np.int64)
    hard = places_of(~plain | (exceptional()[slots] & ~single))
    front[hard] = back[hard] = False
    goes_on[core[front]] = False
    goes_on[core_end[back]] = False
    if len(hard):
        places = zip(starts[hard].tolist(), ends[hard].tolist(), strict=True)
        if len(INNER) > MAX_CHUNKS:
            INNER.clear()
        inner = [INNER[text[start:end]] for start, end in places]
        within = np.fromiter(chain.from_iterable(inner), np.int64)
        goes_on[np.repeat(starts[hard], np.fromiter(map(len, inner), np.int64, len(inner))) + within] = False
    return goes_on


class Inner(dict[str, tuple[int, ...]]):
    """Where spaCy's tokens of a chunk begin, the first left out."""

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        places, at = [], 0
        for token in english.split_chunk(chunk)[:-1]:
            at += len(token)
            places.append(at)
        found = tuple(places)
        if len(chunk) <= SHORT:
            self[chunk] = found
        return found


INNER = Inner()


@cache
def exceptional() -> np.ndarray:
    """bool [2 ** FILTER_BITS], by the highest bits of a hash: letters or digits that are an exception, or with a sign before or
    after them, and a few others."""
    cores = []
    for chunk in english.tables().exceptions:
        core = chunk[chunk[0] in english.OPENING :]
        core = core[: len(core) - (core[-1:] in english.CLOSING or core[-1:] == ".")]
        if core:
            cores.append(core)
    codes = code_points("".join(cores))
    lengths = np.fromiter(map(len, cores), np.int64, len(cores))
    hashes = hash_spans(codes, np.cumsum(lengths) - lengths, lengths)
    found = np.zeros(1 << FILTER_BITS, bool)
    found[(hashes >> np.uint64(64 - FILTER_BITS)).astype(np.int64)] = True
    return found


SPLITTERS: dict[str, Callable[[str, np.ndarray, np.ndarray], np.ndarray]] = {
    "white-space": continue_spaces,
    "unicode": continue_unicode,
    "datatrove": continue_datatrove,
}


def code_points(text: str) -> np.ndarray:
    """uint8 or uint32 [characters]."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def places_of(marks: np.ndarray) -> np.ndarray:
    """Where marks are not 0, int64. numpy.flatnonzero takes three times as long to get to work, and twice for what is no bool."""
    return (marks if marks.dtype == bool else marks != 0).nonzero()[0]


def spans_of(goes_on: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths, int64 [words], of what is no white space."""
    filled = (bits & SPACE) == 0
    starts = np.greater(filled, goes_on).nonzero()[0]
    filled[:-1] &= ~goes_on[1:]  # the last character of each
    return starts, filled.nonzero()[0] + 1 - starts


def hash_spans(codes: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The hash of each span of characters, uint64; spans in order. Differences of running sums of character x base^-place."""
    if len(codes) > BLOCK and len(starts) > 1:
        blocks = places_of(np.diff(starts // BLOCK)) + 1
        if len(blocks):
            parts = zip([0, *blocks.tolist()], [*blocks.tolist(), len(starts)], strict=True)
            return np.concatenate([hash_spans_of_block(codes, starts[a:b], lengths[a:b]) for a, b in parts])
    return hash_spans_of_block(codes, starts, lengths)


def hash_spans_of_block(codes: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    if not len(starts):
        return np.empty(0, np.uint64)
    offset, ends = int(starts[0]), starts + lengths
    codes = codes[offset : int(ends.max())]
    up, down = hash_powers(len(codes) + 1)
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * down[: len(codes)], out=sums[1:])
    ends -= offset
    return (sums[ends] - sums[starts - offset]) * up[ends - 1]


POWERS = [(np.ones(1, np.uint64), np.ones(1, np.uint64))]


def hash_powers(number: int) -> tuple[np.ndarray, np.ndarray]:
    """The first powers of HASH_BASE and of its inverse from the 0th on, uint64, at least `number` of each."""
    if len(POWERS[0][0]) < number:
        both = []
        for base in (HASH_BASE, BASE_INVERSE):
            factors = np.full(2 * number, base, np.uint64)
            factors[0] = 1
            both.append(np.cumprod(factors))
        POWERS[0] = (both[0], both[1])
    return POWERS[0]


def hash_word(word: str) -> int:
    value = 0
    for character in word:
        value = (value * HASH_BASE + ord(character)) & MASK
    return value


STOP_HASHES = {word: np.uint64(hash_word(word)) for word in STOP_WORDS}
