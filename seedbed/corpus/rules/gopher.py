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
from seedbed.corpus.words import COUNTED, LETTER, STOP_HASHES, STOP_WORDS, places_of
from seedbed.recipe.curation import CurateConfig

BULLETS = ("\u2022", "-")
ELLIPSES = ("...", "\u2026")
TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
# Random odd factors: an n-gram's key is the sum of its words' hashes, each by the factor of its place.
FACTORS = np.random.default_rng(20211208).integers(1 << 62, 1 << 63, 4, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
# What tells n-grams of different n apart when their hashes lie in one array.
SALTS = np.random.default_rng(20211209).integers(1 << 62, 1 << 63, len(DUPLICATE), dtype=np.uint64)
LONG = 1 << 15  # words: from here on each n is looked at by itself, for the memory's sake


class Quality:
    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        bits, lengths, lines, hashes = view.word_bits, view.word_lengths, view.lines, view.word_hashes
        words = len(bits)
        counted = (bits & COUNTED) != 0
        num_counted = int(np.count_nonzero(counted))
        ellipses = sum(map(view.text.count, ELLIPSES))
        return [
            num_counted,
            int(lengths[counted].sum()) / num_counted if num_counted else math.nan,
            view.text.count("#") / words if words else math.nan,
            ellipses / words if words else math.nan,
            sum(map(is_bullet, lines)) / len(lines) if lines else math.nan,
            (sum(map(ends_in_ellipsis, lines)) if ellipses else 0) / len(lines) if lines else math.nan,
            int(np.count_nonzero(bits & LETTER)) / words if words else math.nan,
            sum(bool((hashes == stop_word).any()) for stop_word in STOP_HASHES.values()),
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
            "min_alphabetic_words": (view.word_bits & LETTER) == 0,
            "min_stop_words": np.isin(view.word_hashes, list(STOP_HASHES.values())),
            "mean_word_length": (view.word_bits & COUNTED) != 0,
        }.get(rule)
        if marked is None:
            return []
        starts, ends = view.word_starts[marked], (view.word_starts + view.word_lengths)[marked]
        return [Span(start, end, "word") for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


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
            place, count = most_frequent(view)[TOP.index(n)]
            keys = ngram_keys(view, n)[-1]
            places = places_of(keys == keys[place]).tolist() if count else []
        else:
            places = duplicate_places(view)[DUPLICATE.index(n)]
        starts, ends = view.word_starts.tolist(), (view.word_starts + view.word_lengths).tolist()
        return [Span(starts[p], ends[p + n - 1], f"{n}-gram") for p in places]


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


def most_frequent(view: TextView) -> list[tuple[int, int]]:
    """For each n of TOP: where the most frequent n words in a row first stand, and how often; the earliest of equals.

    Only places where both shorter n-grams occur again are looked at. A count of 0: there are fewer than n words.
    """
    found: list[tuple[int, int]] = []
    again: np.ndarray | None = None  # by place: whether the n-gram occurs more than once
    for keys in ngram_keys(view, TOP[-1]):
        suspects = meeting(keys) if again is None else places_of(again[:-1] & again[1:])
        again = np.zeros(len(keys), bool)
        place, count = 0, min(1, len(keys))
        if len(suspects):
            some = keys[suspects]
            order = np.argsort(some)
            ordered = some[order]
            starts = np.concatenate([[0], places_of(ordered[1:] != ordered[:-1]) + 1, [len(some)]])
            sizes = starts[1:] - starts[:-1]
            counts = np.empty(len(some), np.int64)
            counts[order] = np.repeat(sizes, sizes)
            again[suspects[counts > 1]] = True
            most = int(counts.argmax())
            if counts[most] > 1:
                place, count = int(suspects[most]), int(counts[most])
        found.append((place, count))
    return found


def meeting(keys: np.ndarray) -> np.ndarray:
    """Places, in order, of the keys that fall together with another one by their highest bits: those that occur more
    than once, and a few others."""
    bits = max(12, len(keys).bit_length() + 2)
    slot = (keys >> np.uint64(64 - bits)).view(np.int64)
    place = np.arange(len(keys), dtype=np.int32)
    table = np.empty(1 << bits, np.int32)
    table[slot] = place
    last = table[slot]
    met = last != place
    met[last[places_of(met)]] = True
    return places_of(met)


def repeated(keys: np.ndarray) -> np.ndarray:
    """Places, in order, of the keys that occur more than once."""
    suspects = meeting(keys)
    some = keys[suspects]
    order = np.argsort(some)
    ordered = some[order]
    same = places_of(ordered[1:] == ordered[:-1])
    if not len(same):
        return suspects[:0]
    found = np.zeros(len(some), bool)
    found[order[same]] = found[order[same + 1]] = True
    return suspects[found]


def top_ngrams(view: TextView) -> list[int]:
    """Characters in the most frequent n-gram, its words joined by spaces, times its count."""
    return [
        (int(view.word_lengths[place : place + n].sum()) + n - 1) * count
        for n, (place, count) in zip(TOP, most_frequent(view), strict=True)
    ]


def joined_hashes(view: TextView) -> list[np.ndarray]:
    """For each n of DUPLICATE, hashes of each n words in a row written without spaces, uint64 [words - n + 1]."""
    hashes, powers = view.word_hashes, view.word_powers
    total, found = hashes, []
    for n in range(2, DUPLICATE[-1] + 1):
        total = total[:-1] * powers[n - 1 :] + hashes[n - 1 :]
        if n in DUPLICATE:
            found.append(total)
    return found


def duplicate_places(view: TextView) -> list[list[int]]:
    """For each n of DUPLICATE, where n-grams stand that occurred before: after one, the next n places are passed over and
    not remembered."""
    hashes = joined_hashes(view)
    if len(view.word_starts) > LONG:
        by_size = [(repeated(some), some) for some in hashes]
    else:  # all at once, told apart by a salt
        keys = np.concatenate([some + salt for some, salt in zip(hashes, SALTS, strict=True)])
        places = repeated(keys)
        starts = np.cumsum([0, *map(len, hashes)])
        cuts = np.searchsorted(places, starts).tolist()
        by_size = [(places[a:b] - s, some) for a, b, s, some in zip(cuts, cuts[1:], starts, hashes, strict=False)]
    return [pass_over(places, some, n) for n, (places, some) in zip(DUPLICATE, by_size, strict=True)]


def pass_over(candidates: np.ndarray, hashes: np.ndarray, n: int) -> list[int]:
    places: list[int] = []
    if not len(candidates):
        return places
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
    all_places = duplicate_places(view)
    if not any(all_places):
        return [0] * len(DUPLICATE)
    ends = np.concatenate([[0], np.cumsum(view.word_lengths)])
    return [
        int((ends[np.array(places) + n] - ends[places]).sum()) if places else 0
        for n, places in zip(DUPLICATE, all_places, strict=True)
    ]


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
