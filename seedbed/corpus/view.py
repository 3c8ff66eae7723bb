"""A normalised text and what several scorers need of it, each computed once."""

import re
import unicodedata
from collections import Counter
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

    def __init__(self, text: str, words: str = "unicode") -> None:
        self.text = text
        self.splitter = words

    @cached_property
    def plain_words(self) -> list[str]:
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
