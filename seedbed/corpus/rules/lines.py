"""RefinedWeb's line correction (Penedo et al. 2023, appendix G.2) with the values of DCLM's refinedweb configuration.

Lines of capitals, of digits alone, of one word, and counters ("3 likes") go; "sign-in", "read more..." and "items in
cart" are cut out of short lines. A document that loses more than 5% of its words this way is dropped: it was not text
with a little furniture. Words are the view's, signs alone not counted. DCLM takes any three characters after "read
more" (its dots are a pattern); here they are dots.
"""

import math
import re
from functools import cache
from typing import Any

import numpy as np

from seedbed.corpus.rules.c4 import trim_ends
from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.corpus.words import COUNTED as COUNTED_WORD
from seedbed.recipe.curation import CurateConfig, RefinedWebLines

COUNTED = "likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers"
COUNTER = re.compile(rf"\W*\d[\d,.]*[kmb]?\s+(?:{COUNTED})\W*", re.IGNORECASE)
PHRASES = re.compile(r"\A(?:sign-in)\s?|\s?items in cart|\s?read more(?:\.\.\.|\u2026)\Z", re.IGNORECASE)
HINTS = ("sign-in", "items in cart", "read more")


class Lines:
    def __init__(self, section: RefinedWebLines) -> None:
        self.section = section

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        spans = self.find_cuts(view)
        words, cut = (
            counted_words(view),
            sum(counted_words(TextView(view.text[s.start : s.end], view.splitter)) for s in spans),
        )
        # A phrase cut out of the middle of a word can leave more words than it takes.
        return [min(1.0, cut / words) if words else math.nan, sum(span.kind != "white_space" for span in spans)], spans

    def explain(self, view: TextView, facts: Facts, rule: str) -> list[Span]:
        return [Span(span.start, span.end, span.kind) for span in self.find_cuts(view)]

    def find_cuts(self, view: TextView) -> list[Span]:
        """Whole lines with their line feed, phrases within lines, and white space that they leave at the ends; in order."""
        section, text = self.section, view.text
        shouting = set(loud_lines(view, section.max_uppercase)) if section.max_uppercase is not None else ()
        lowered = text.lower()
        hinted = section.phrase_line_words is not None and any(hint in lowered for hint in HINTS)
        counters = section.cut_counters and any(word in lowered for word in COUNTED.split("|"))
        cuts: list[tuple[int, int, str]] = []
        for number, (line, chunks) in enumerate(zip(view.lines, view.line_chunks.tolist(), strict=True)):
            if not line:
                continue
            why, phrases = "", []
            if number in shouting:
                why = "capitals"
            elif section.cut_numbers and line.isdigit():
                why = "number"
            elif counters and COUNTER.fullmatch(line):
                why = "counter"
            elif section.min_words_per_line is not None and chunks < section.min_words_per_line:
                why = "few_words"
            elif hinted and section.phrase_line_words is not None and chunks <= section.phrase_line_words:
                phrases = [match.span() for match in PHRASES.finditer(line)]
                if phrases and not PHRASES.sub("", line).strip():
                    why = "phrase"
            start = view.line_starts[number]
            if why:
                cuts.append((start, view.line_starts[number + 1], why))
            else:
                cuts += [(start + a, start + b, "phrase") for a, b in phrases]
        return [Span(*cut, "") for cut in (trim_ends(text, cuts) if cuts else [])]


def loud_lines(view: TextView, most: float) -> list[int]:
    """Numbers of the lines of which more than `most` of the characters are capitals."""
    if not view.lines or view.text.islower():
        return []
    codes = np.frombuffer(view.text.encode("utf-32-le", "surrogatepass"), np.uint32)
    capitals = np.concatenate([[0], np.cumsum(capital_table()[np.minimum(codes, LAST)])])
    starts = np.array(view.line_starts[:-1])
    lengths = np.fromiter(map(len, view.lines), np.int64, len(starts))
    return np.flatnonzero(capitals[starts + lengths] - capitals[starts] > most * lengths).tolist()


LAST = 0x1F200  # no capitals beyond (Unicode 16)


@cache
def capital_table() -> np.ndarray:
    return np.array([chr(code).isupper() for code in range(LAST + 1)])


def counted_words(view: TextView) -> int:
    return int(np.count_nonzero(view.word_bits & COUNTED_WORD))


def start(section: Any, config: CurateConfig) -> Lines:
    return Lines(section)


LINES = Group(
    name="refinedweb_lines",
    version=1,
    scores=(
        Score("removed_words", "share of words in lines and phrases that were cut"),
        Score("cuts", "number of lines and phrases cut"),
    ),
    rules=(Rule("max_removed_words", "removed_words", "at most"),),
    start=start,
    applies="prose",
)
