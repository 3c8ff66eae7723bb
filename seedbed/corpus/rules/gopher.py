"""Gopher's rules (Rae et al. 2021, appendix A.1.1 and table A1), as datatrove defines what the paper leaves open.

Said by datatrove, not the paper: hashes and ellipses are counted over all words, symbols too; "-" is a bullet as well;
two stop words are two different ones; lines are what one or more line ends part, and the shares of characters are of
the whole text; a top n-gram is counted with single spaces between its words, a duplicate n-gram without, and after a
duplicate the next n words are passed over.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.corpus.words import ANY_STOP_WORD, LETTER, STOP_WORDS, SYMBOL
from seedbed.recipe.curation import CurateConfig

BULLETS = ("\u2022", "-")
ELLIPSES = ("...", "\u2026")
TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
# Random odd factors: an n-gram's key is the sum of its words' hashes, each by the factor of its place.
FACTORS = np.random.default_rng(20211208).integers(1 << 62, 1 << 63, 4, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class Quality:
    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        classes, lengths, lines = view.word_classes, view.word_lengths, view.lines
        words = len(classes)
        counted = (classes & SYMBOL) == 0
        num_counted = int(np.count_nonzero(counted))
        stop_words = int(np.bitwise_or.reduce(classes)) & ANY_STOP_WORD if words else 0
        return [
            num_counted,
            int(lengths[counted].sum()) / num_counted if num_counted else math.nan,
            view.text.count("#") / words if words else math.nan,
            sum(map(view.text.count, ELLIPSES)) / words if words else math.nan,
            sum(map(is_bullet, lines)) / len(lines) if lines else math.nan,
            sum(map(ends_in_ellipsis, lines)) / len(lines) if lines else math.nan,
            int(np.count_nonzero(classes & LETTER)) / words if words else math.nan,
            stop_words.bit_count(),
        ], []

    def explain(self, view: TextView, facts: Facts, rule: str) -> list[Span]:
        if rule in ("max_bullet_lines", "max_ellipsis_lines"):
            test = is_bullet if rule == "max_bullet_lines" else ends_in_ellipsis
            kind = "bullet" if rule == "max_bullet_lines" else "ellipsis"
            return [
                Span(start, start + len(line), kind)
                for start, line in zip(view.line_starts, view.lines, strict=False)
                if test(line)
            ]
        signs = {"max_hashes_per_word": "#", "max_ellipses_per_word": r"\.\.\.|…"}
        if rule in signs:
            return [Span(*match.span(), "sign") for match in re.finditer(signs[rule], view.text)]
        marked = {
            "min_alphabetic_words": (view.word_classes & LETTER) == 0,
            "min_stop_words": (view.word_classes & ANY_STOP_WORD) != 0,
            "mean_word_length": (view.word_classes & SYMBOL) == 0,
        }.get(rule)
        if marked is None:
            return []
        return [
            Span(view.word_starts[place], view.word_starts[place] + len(view.words[place]), "word")
            for place in np.flatnonzero(marked).tolist()
        ]


def is_bullet(line: str) -> bool:
    return line.lstrip().startswith(BULLETS)


def ends_in_ellipsis(line: str) -> bool:
    return line.rstrip().endswith(ELLIPSES)


class Repetition:
    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        size = len(view.text)
        if not size:
            return [math.nan] * (4 + len(TOP) + len(DUPLICATE)), []
        lines, paragraphs = repetition_lines(view), view.paragraphs
        num_lines, line_characters = duplicates(lines)
        num_paragraphs, paragraph_characters = duplicates(paragraphs)
        return [
            num_lines / len(lines),
            num_paragraphs / len(paragraphs),
            line_characters / size,
            paragraph_characters / size,
            *(characters / size for characters in top_ngrams(view)),
            *(characters / size for characters in duplicate_ngrams(view)),
        ], []

    def explain(self, view: TextView, facts: Facts, rule: str) -> list[Span]:
        if "line" in rule:
            return repeated_pieces(view.text, [line for line in repetition_lines(view) if line], "line")
        if "paragraph" in rule:
            return repeated_pieces(view.text, view.paragraphs, "paragraph")
        n = int(re.findall(r"\d+", rule)[0])
        if "top" in rule:
            keys = ngram_keys(view, n)[-1]
            place, _ = most_frequent(keys)
            places = np.flatnonzero(keys == keys[place]).tolist() if place is not None else []
        else:
            places = duplicate_places(joined_hashes(view, n), n)
        starts, words = view.word_starts, view.words
        return [Span(starts[p], starts[p + n - 1] + len(words[p + n - 1]), f"{n}-gram") for p in places]


def repetition_lines(view: TextView) -> list[str]:
    """What one or more line feeds part: an empty piece stands at an end where the text has one."""
    text = view.text
    pieces = [line for line in text.split("\n") if line]
    return [*[""] * text.startswith("\n"), *pieces, *[""] * text.endswith("\n")]


def duplicates(pieces: Sequence[str]) -> tuple[int, int]:
    """How many pieces occurred before, and their characters."""
    different = set(pieces)
    return len(pieces) - len(different), sum(map(len, pieces)) - sum(map(len, different))


def repeated_pieces(text: str, pieces: Sequence[str], kind: str) -> list[Span]:
    """The pieces that occurred before; `pieces` in order."""
    spans, at, seen = [], 0, set()
    for piece in pieces:
        at = text.index(piece, at)
        if piece in seen:
            spans.append(Span(at, at + len(piece), kind))
        seen.add(piece)
        at += len(piece)
    return spans


def ngram_keys(view: TextView, longest: int) -> list[np.ndarray]:
    """For n from 2 to `longest`: a key of each n words in a row, uint64 [words - n + 1]. Equal n-grams, equal keys."""
    hashes = view.word_hashes
    mixed = hashes ^ (hashes >> np.uint64(29))
    total = mixed * FACTORS[0]
    found = []
    for n in range(2, longest + 1):
        total = total[:-1] + mixed[n - 1 :] * FACTORS[n - 1]
        found.append(total)
    return found


def most_frequent(keys: np.ndarray) -> tuple[int | None, int]:
    """Where the most frequent key first stands, and how often it occurs; the earliest of equally frequent ones."""
    if not len(keys):
        return None, 0
    ordered = np.sort(keys)
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if len(starts) == len(keys) - 1:
        return 0, 1
    counts = np.diff(starts, prepend=0, append=len(keys))
    count = int(counts.max())
    firsts = ordered[np.concatenate([[0], starts])[counts == count]]
    if len(firsts) == 1:
        return int((keys == firsts[0]).argmax()), count
    return int(np.isin(keys, firsts).argmax()), count


def top_ngrams(view: TextView) -> list[int]:
    """Characters in the most frequent n-gram, its words joined by spaces, times its count."""
    found = []
    for n, keys in zip(TOP, ngram_keys(view, TOP[-1]), strict=True):
        place, count = most_frequent(keys)
        found.append(0 if place is None else (int(view.word_lengths[place : place + n].sum()) + n - 1) * count)
    return found


def joined_hashes(view: TextView, n: int) -> np.ndarray:
    """Hashes of each n words in a row written without spaces, uint64 [words - n + 1]."""
    return list(all_joined_hashes(view, n))[-1][1]


def all_joined_hashes(view: TextView, longest: int) -> Any:
    """(n, hashes) for n from 2 to `longest`."""
    hashes, powers = view.word_hashes, view.of_words(view.lexicon.powers)
    total = hashes
    for n in range(2, longest + 1):
        total = total[:-1] * powers[n - 1 :] + hashes[n - 1 :]
        yield n, total


def duplicate_places(hashes: np.ndarray, n: int) -> list[int]:
    """Where n-grams stand that occurred before: after one, the next n places are passed over and not remembered."""
    ordered = np.sort(hashes)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return []
    candidates = np.flatnonzero(np.isin(hashes, again))
    places: list[int] = []
    seen: set[int] = set()
    free = 0
    for place, key in zip(candidates.tolist(), hashes[candidates].tolist(), strict=True):
        if place >= free:
            if key in seen:
                places.append(place)
                free = place + n
            else:
                seen.add(key)
    return places


def duplicate_ngrams(view: TextView) -> list[int]:
    """Characters in n-grams that occurred before, for each n of DUPLICATE."""
    found = []
    ends: np.ndarray | None = None
    for n, hashes in all_joined_hashes(view, DUPLICATE[-1]):
        if n < DUPLICATE[0]:
            continue
        places = duplicate_places(hashes, n)
        if places and ends is None:
            ends = np.concatenate([[0], np.cumsum(view.word_lengths)])
        found.append(int((ends[np.array(places) + n] - ends[places]).sum()) if places and ends is not None else 0)
    return found


def start_quality(section: Any, config: CurateConfig) -> Quality:
    return Quality()


def start_repetition(section: Any, config: CurateConfig) -> Repetition:
    return Repetition()


QUALITY = Group(
    name="gopher_quality",
    version=1,
    scores=(
        Score("words", "number of words"),
        Score("mean_word_length", "mean word length"),
        Score("hashes_per_word", "number of # per word"),
        Score("ellipses_per_word", "number of ellipses per word"),
        Score("bullet_lines", "share of lines that begin with a bullet"),
        Score("ellipsis_lines", "share of lines that end with an ellipsis"),
        Score("alphabetic_words", "share of words that hold a letter"),
        Score("stop_words", f"number of different words of: {' '.join(STOP_WORDS)}"),
    ),
    rules=(
        Rule("min_words", "words", "at least"),
        Rule("max_words", "words", "at most"),
        Rule("mean_word_length", "mean_word_length", "between"),
        Rule("max_hashes_per_word", "hashes_per_word", "at most"),
        Rule("max_ellipses_per_word", "ellipses_per_word", "at most"),
        Rule("max_bullet_lines", "bullet_lines", "at most"),
        Rule("max_ellipsis_lines", "ellipsis_lines", "at most"),
        Rule("min_alphabetic_words", "alphabetic_words", "at least"),
        Rule("min_stop_words", "stop_words", "at least"),
    ),
    start=start_quality,
    applies="prose",
)

REPETITION = Group(
    name="gopher_repetition",
    version=1,
    scores=(
        Score("duplicate_lines", "share of lines that occurred before"),
        Score("duplicate_paragraphs", "share of paragraphs that occurred before"),
        Score("duplicate_line_characters", "share of characters in lines that occurred before"),
        Score("duplicate_paragraph_characters", "share of characters in paragraphs that occurred before"),
        *(Score(f"top_{n}gram", f"share of characters in the most frequent {n} words in a row") for n in TOP),
        *(
            Score(f"duplicate_{n}grams", f"share of characters in {n} words in a row that occurred before")
            for n in DUPLICATE
        ),
    ),
    rules=(
        Rule("max_duplicate_lines", "duplicate_lines", "at most"),
        Rule("max_duplicate_paragraphs", "duplicate_paragraphs", "at most"),
        Rule("max_duplicate_line_characters", "duplicate_line_characters", "at most"),
        Rule("max_duplicate_paragraph_characters", "duplicate_paragraph_characters", "at most"),
        *(Rule(f"max_top_{n}gram", f"top_{n}gram", "at most") for n in TOP),
        *(Rule(f"max_duplicate_{n}grams", f"duplicate_{n}grams", "at most") for n in DUPLICATE),
    ),
    start=start_repetition,
    applies="prose",
)
