"""A normalised text and what several scorers need of it, each computed once."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import accumulate

import numpy as np

from seedbed.corpus.words import (
    CHARACTERS,
    SPACE,
    SPLITTERS,
    UNSPACED,
    code_points,
    hash_powers,
    hash_spans,
    places_of,
    spans_of,
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
    """A normalised text and what several scorers need of it, computed once. `words`: the splitter's name."""

    def __init__(self, text: str, words: str = "unicode") -> None:
        self.text = text
        self.splitter = words
        self.uncut: TextView | None = None  # the view that this one's text was cut from
        self.cuts: Sequence[tuple[int, int]] = ()

    def without(self, cuts: Sequence[tuple[int, int]], text: str) -> "TextView":
        """The view of `text`, which the cuts, in order, leave of this one. It takes over the words that were found here."""
        view = TextView(text, self.splitter)
        if "word_spans" in self.__dict__:
            view.uncut, view.cuts = self, cuts
        return view

    def spans_after_cuts(self, cuts: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray] | None:
        """The words that cuts leave, if every cut begins and ends beside white space: what counts as a word is a matter of what
        white space parts."""
        edges = np.array(cuts, np.int64)
        apart = places_of(edges[1:, 0] > edges[:-1, 1])
        starts, ends = edges[np.append(0, apart + 1), 0], edges[np.append(apart, len(edges) - 1), 1]
        spaces = np.ones(len(self.text) + 2, bool)  # of the character before each place; white space lies around a text
        np.not_equal(self.bits & SPACE, 0, out=spaces[1:-1])
        before_start, at_start, before_end, at_end = spaces[starts], spaces[starts + 1], spaces[ends], spaces[ends + 1]
        if not ((before_start | at_start) & (before_end | at_end) & (before_start | at_end)).all():
            return None
        removed = np.concatenate([[0], np.cumsum(ends - starts)])
        number = np.searchsorted(starts, self.word_starts, "right")
        stays = self.word_starts >= np.append(0, ends)[number]
        return self.word_starts[stays] - removed[number[stays]], self.word_lengths[stays]

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
    def codes(self) -> np.ndarray:
        """Code points, uint8 or uint32 [characters]."""
        return code_points(self.text)

    @cached_property
    def bits(self) -> np.ndarray:
        """What each character is (corpus/words.py), uint16 [characters]."""
        return CHARACTERS.of(self.codes)

    @cached_property
    def chunks(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and lengths of what white space parts, int64 [chunks]."""
        return spans_of(SPLITTERS["white-space"](self.text, self.codes, self.bits), self.bits)

    @cached_property
    def line_chunks(self) -> np.ndarray:
        """How many chunks each line has, int64 [lines]."""
        return np.diff(np.searchsorted(self.chunks[0], self.line_starts))

    @cached_property
    def word_spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and lengths of the words, int64 [words]."""
        found = self.uncut.spans_after_cuts(self.cuts) if self.uncut is not None and self.cuts else None
        if found is not None:
            return found
        return spans_of(SPLITTERS[self.splitter](self.text, self.codes, self.bits), self.bits)

    @property
    def word_starts(self) -> np.ndarray:
        """Where each word begins in the text, int64 [words]."""
        return self.word_spans[0]

    @property
    def word_lengths(self) -> np.ndarray:
        """Characters of each word, int64 [words]."""
        return self.word_spans[1]

    @cached_property
    def word_hashes(self) -> np.ndarray:
        """A hash of each word's characters, uint64 [words]: the same in every process and on every machine."""
        return hash_spans(self.codes, *self.word_spans)

    @cached_property
    def word_powers(self) -> np.ndarray:
        """HASH_BASE ** length, uint64 [words]: what a hash is multiplied by when the word is written after it."""
        lengths = self.word_lengths
        return hash_powers(int(lengths.max(initial=0)) + 1)[0][lengths]

    @cached_property
    def word_bits(self) -> np.ndarray:
        """The bits of each word's characters together, uint16 [words]."""
        starts = self.word_starts  # white space after a word adds its own bit alone
        return np.bitwise_or.reduceat(self.bits, starts) if len(starts) else np.empty(0, np.uint16)

    @cached_property
    def words(self) -> list[str]:
        """The words by the view's splitter."""
        starts, lengths = self.word_spans
        return [self.text[a:b] for a, b in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]

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
