"""A normalised text and what several scorers need of it, each computed once."""

import re
import unicodedata
from collections import Counter
from functools import cache, cached_property
from itertools import accumulate, chain

import numpy as np

from seedbed.corpus.words import UNSPACED, Column, Lexicon, lexicon

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
    """A normalised text and what several scorers need of it, computed once. `words`: the splitter's name."""

    def __init__(self, text: str, words: str = "unicode") -> None:
        self.text = text
        self.splitter = words

    # Lines and paragraphs

    @cached_property
    def lines(self) -> list[str]:
        """Lines without their ends."""
        return self.text.splitlines()

    @cached_property
    def line_starts(self) -> list[int]:
        """Where each line begins in the text, and the text's end."""
        return list(accumulate(map(len, self.text.splitlines(keepends=True)), initial=0))

    @cached_property
    def filled_lines(self) -> list[str]:
        """Lines that hold more than white space."""
        return [line for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def paragraphs(self) -> list[str]:
        """What blank lines part."""
        pieces = [piece.lstrip("\n") for piece in self.text.strip().split("\n\n") if piece]
        return pieces or [""]

    # Words

    @cached_property
    def line_chunks(self) -> list[list[str]]:
        """Of each line, what white space parts."""
        return list(map(str.split, self.lines))

    @cached_property
    def lexicon(self) -> Lexicon:
        return lexicon(self.splitter)

    @cached_property
    def numbered(self) -> tuple[np.ndarray, np.ndarray]:
        return self.lexicon.numbers(list(chain.from_iterable(self.line_chunks)))

    @property
    def word_numbers(self) -> np.ndarray:
        """The lexicon's numbers of the words, int64 [words]: equal numbers, equal words. They mean nothing elsewhere."""
        return self.numbered[0]

    @property
    def chunk_counts(self) -> np.ndarray:
        """How many words each chunk has, int64 [chunks]."""
        return self.numbered[1]

    def of_words(self, column: Column) -> np.ndarray:
        """A column of the view's lexicon, word by word."""
        numbers = self.word_numbers  # first: it may add to the column
        return column.array[numbers]

    @cached_property
    def word_lengths(self) -> np.ndarray:
        """Characters of each word, int64 [words]."""
        return self.of_words(self.lexicon.lengths)

    @cached_property
    def word_hashes(self) -> np.ndarray:
        """A hash of each word's characters, uint64 [words]: the same in every process and on every machine."""
        return self.of_words(self.lexicon.hashes)

    @cached_property
    def word_classes(self) -> np.ndarray:
        """Bits of each word (corpus/words.py), uint16 [words]."""
        return self.of_words(self.lexicon.classes)

    @cached_property
    def words(self) -> list[str]:
        """The words by the view's splitter."""
        texts = self.lexicon.texts
        return [texts[number] for number in self.word_numbers.tolist()]

    @cached_property
    def word_starts(self) -> list[int]:
        """Where each word begins in the text."""
        starts, at = [], 0
        for word in self.words:
            at = self.text.index(word, at)
            starts.append(at)
            at += len(word)
        return starts

    @cached_property
    def plain_words(self) -> list[str]:
        """Split at white space; scripts without spaces into pairs of characters."""
        if self.text.isascii() or not UNSPACED.search(self.text):
            return self.text.split()
        return UNSPACED.sub(r" \g<0> ", self.text).split()

    # Characters

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
