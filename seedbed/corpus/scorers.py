"""Scorers: small named functions from a text to one number. Every document gets every score, whatever the rules say.

A scorer's version enters the stage's key: raise it when its numbers change. Further scorers register in SCORERS.
"""

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

# Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, CJK ideographs. Their text has no words
# to split at, so a pair of characters stands for a word: enough to tell a sentence from a page.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{1,2}"
)
BEYOND_ASCII = re.compile("[^\x00-\x7f]+")


@cache
def character_class(character: str) -> str:
    """L letter (with the marks that many scripts need), N digit, Z space, S anything else."""
    kind = unicodedata.category(character)[0]
    if character.isspace():
        return "Z"
    return {"L": "L", "M": "L", "N": "N"}.get(kind, "S")


CLASSES = "LNZS"
ASCII_CLASSES = np.array(
    [[character_class(chr(code)) == kind for code in range(128)] for kind in CLASSES], dtype=np.int64
)


class TextView:
    """A normalised text and what several scorers need of it, computed once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        """Split at white space; scripts without spaces into pairs of characters."""
        if self.text.isascii() or not UNSPACED.search(self.text):
            return self.text.split()
        return UNSPACED.sub(r" \g<0> ", self.text).split()

    @cached_property
    def classes(self) -> Counter[str]:
        """Characters by class. ASCII is counted as bytes, which is some ten times faster than as characters."""
        plain = np.frombuffer(self.text.encode("ascii", "ignore"), dtype=np.uint8)
        by_class = ASCII_CLASSES @ np.bincount(plain, minlength=128)
        counts = Counter(dict(zip(CLASSES, by_class.tolist(), strict=True)))
        if not self.text.isascii():
            for character, count in Counter("".join(BEYOND_ASCII.findall(self.text))).items():
                counts[character_class(character)] += count
        return counts

    @cached_property
    def data(self) -> bytes:
        return self.text.encode()


@dataclass(frozen=True)
class Scorer:
    """`what` completes the sentence "the document's ... is 0.31"."""

    name: str
    version: int
    what: str
    function: Callable[[TextView], float]


SCORERS: dict[str, Scorer] = {}


def scorer(what: str, version: int = 1) -> Callable[[Callable[[TextView], float]], Callable[[TextView], float]]:
    """Register a function under its own name."""

    def register(function: Callable[[TextView], float]) -> Callable[[TextView], float]:
        SCORERS[function.__name__] = Scorer(function.__name__, version, what, function)
        return function

    return register


def score(text: str) -> list[float]:
    """Every score of a normalised text, in the order of SCORERS."""
    view = TextView(text)
    return [float(item.function(view)) for item in SCORERS.values()]


@scorer("number of characters")
def characters(view: TextView) -> float:
    return len(view.text)


@scorer("number of words")
def words(view: TextView) -> float:
    return len(view.words)


@scorer("mean word length")
def mean_word_length(view: TextView) -> float:
    """Characters per word (Gopher, Rae et al. 2021, table A1). NaN, which fails no rule, for scripts without spaces."""
    total = sum(map(len, view.words))
    if not view.text.isascii() and sum(map(len, UNSPACED.findall(view.text))) > total / 2:
        return math.nan
    return total / max(1, len(view.words))


@scorer("share of characters that are no letter, digit or space")
def symbol_fraction(view: TextView) -> float:
    return view.classes["S"] / max(1, len(view.text))


@scorer("share of letters among characters that are no space")
def letter_fraction(view: TextView) -> float:
    return view.classes["L"] / max(1, len(view.text) - view.classes["Z"])


@scorer("share of characters in lines that occurred before")
def duplicate_line_fraction(view: TextView) -> float:
    """Gopher's duplicate lines by characters (Rae et al. 2021, table A1); lines are compared without indentation."""
    counts = Counter(map(str.strip, view.text.split("\n")))
    total = repeated = 0
    for line, count in counts.items():
        total += len(line) * count
        repeated += len(line) * (count - 1)
    return repeated / max(1, total)


@scorer("share of characters in the most frequent pair of words")
def top_bigram_fraction(view: TextView) -> float:
    """Gopher's top 2-gram by characters (Rae et al. 2021, table A1)."""
    if len(view.words) < 3:  # one pair is the whole text: no repetition
        return 0.0
    pairs = Counter(zip(view.words, view.words[1:], strict=False))
    count = max(pairs.values())
    if count == 1:
        return 0.0
    length = max(len(first) + len(second) for (first, second), n in pairs.items() if n == count)
    return min(1.0, count * length / sum(map(len, view.words)))


@scorer("compression ratio (bytes over zlib level 1)")
def compression_ratio(view: TextView) -> float:
    return len(view.data) / len(zlib.compress(view.data, 1))


@scorer("share of replacement characters (U+FFFD)")
def replacement_fraction(view: TextView) -> float:
    return view.text.count("\ufffd") / max(1, len(view.text))
