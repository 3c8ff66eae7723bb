"""The rules every recipe has: what is broken, whatever its kind. Loose: they take what is broken, not what is dull."""

import math
import zlib
from collections import Counter

from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.corpus.words import UNSPACED
from seedbed.recipe.curation import BasicRules, CurateConfig


def characters(view: TextView) -> float:
    return len(view.text)


def words(view: TextView) -> float:
    return len(view.plain_words)


def mean_word_length(view: TextView) -> float:
    """Characters per word (Gopher, Rae et al. 2021, table A1). NaN, which fails no rule, for scripts without spaces."""
    total = sum(map(len, view.plain_words))
    if not view.text.isascii() and sum(map(len, UNSPACED.findall(view.text))) > total / 2:
        return math.nan
    return total / max(1, len(view.plain_words))


def symbol_fraction(view: TextView) -> float:
    return view.classes["S"] / max(1, len(view.text))


def letter_fraction(view: TextView) -> float:
    return view.classes["L"] / max(1, len(view.text) - view.classes["Z"])


def duplicate_line_fraction(view: TextView) -> float:
    """Gopher's duplicate lines by characters (Rae et al. 2021, table A1); lines are compared without indentation."""
    counts = Counter(map(str.strip, view.text.split("\n")))
    total = repeated = 0
    for line, count in counts.items():
        total += len(line) * count
        repeated += len(line) * (count - 1)
    return repeated / max(1, total)


def top_bigram_fraction(view: TextView) -> float:
    """Gopher's top 2-gram by characters (Rae et al. 2021, table A1)."""
    if len(view.plain_words) < 3:  # one pair is the whole text: no repetition
        return 0.0
    pairs = Counter(zip(view.plain_words, view.plain_words[1:], strict=False))
    count = max(pairs.values())
    if count == 1:
        return 0.0
    length = max(len(first) + len(second) for (first, second), n in pairs.items() if n == count)
    return min(1.0, count * length / sum(map(len, view.plain_words)))


def compression_ratio(view: TextView) -> float:
    return len(view.data) / len(zlib.compress(view.data, 1))


def replacement_fraction(view: TextView) -> float:
    return view.text.count("\ufffd") / max(1, len(view.text))


SCORERS = (
    (characters, "number of characters"),
    (words, "number of words"),
    (mean_word_length, "mean word length"),
    (symbol_fraction, "share of characters that are no letter, digit or space"),
    (letter_fraction, "share of letters among characters that are no space"),
    (duplicate_line_fraction, "share of characters in lines that occurred before"),
    (top_bigram_fraction, "share of characters in the most frequent pair of words"),
    (compression_ratio, "compression ratio (bytes over zlib level 1)"),
    (replacement_fraction, "share of replacement characters (U+FFFD)"),
)


class Basic:
    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        return [float(function(view)) for function, _ in SCORERS], []


def start(section: BasicRules, config: CurateConfig) -> Basic:
    return Basic()


BASIC = Group(
    name="basic",
    version=1,
    scores=tuple(Score(function.__name__, what) for function, what in SCORERS),
    rules=(
        Rule("min_characters", "characters", "at least"),
        Rule("max_characters", "characters", "at most"),
        Rule("min_words", "words", "at least"),
        Rule("max_replacement_fraction", "replacement_fraction", "at most"),
        Rule("mean_word_length", "mean_word_length", "between"),
        Rule("max_symbol_fraction", "symbol_fraction", "at most"),
        Rule("min_letter_fraction", "letter_fraction", "at least"),
        Rule("max_duplicate_line_fraction", "duplicate_line_fraction", "at most"),
        Rule("max_top_bigram_fraction", "top_bigram_fraction", "at most"),
        Rule("max_compression_ratio", "compression_ratio", "at most"),
    ),
    start=start,
)
