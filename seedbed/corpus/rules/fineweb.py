"""FineWeb's own rules (Penedo et al. 2024, section 3.6), as datatrove's code has them: lines are what line feeds part,
those without text left out. How many characters of repeated lines are too many differs between paper (.1) and code
(.01): the recipe's field says which.
"""

import math
from typing import Any

from seedbed.corpus import english
from seedbed.corpus.rules.gopher import duplicates, repeated_pieces
from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig, FineWebRules


class FineWeb:
    def __init__(self, section: FineWebRules) -> None:
        self.short = section.short_line_characters
        self.line_ends = english.tables().line_ends

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        lines, num_newlines = view.filled_lines, view.text.count("\n")
        words = len(view.word_starts)
        if not lines:
            return [math.nan] * 4, []
        ends = self.line_ends
        return [
            sum(line[-1] in ends for line in lines) / len(lines),
            sum(length <= self.short for length in map(len, lines)) / len(lines),
            duplicates(lines)[1] / (len(view.text) - num_newlines),
            num_newlines / words if words else math.nan,
        ], []

    def explain(self, view: TextView, facts: Facts, rule: str) -> list[Span]:
        if rule == "max_duplicate_line_characters":
            return repeated_pieces(view.text, view.filled_lines, "line")
        tests = {
            "min_lines_ending_in_punctuation": ("open line", lambda line: line[-1] not in self.line_ends),
            "max_short_lines": ("short line", lambda line: len(line) <= self.short),
        }
        if rule not in tests:
            return []
        kind, test = tests[rule]
        spans, at = [], 0
        for line in view.filled_lines:
            at = view.text.index(line, at)
            if test(line):
                spans.append(Span(at, at + len(line), kind))
            at += len(line)
        return spans


def start(section: Any, config: CurateConfig) -> FineWeb:
    return FineWeb(section)


FINEWEB = Group(
    name="fineweb",
    version=1,
    scores=(
        Score("lines_ending_in_punctuation", "share of lines that end in punctuation"),
        Score("short_lines", "share of short lines"),
        Score("duplicate_line_characters", "share of characters in lines that occurred before"),
        Score("newlines_per_word", "number of line ends per word"),
    ),
    rules=(
        Rule("min_lines_ending_in_punctuation", "lines_ending_in_punctuation", "at least"),
        Rule("max_short_lines", "short_lines", "at most"),
        Rule("max_duplicate_line_characters", "duplicate_line_characters", "at most"),
        Rule("max_newlines_per_word", "newlines_per_word", "at most"),
    ),
    start=start,
    applies="prose",
)
