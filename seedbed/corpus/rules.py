"""Rules: a score, the field of the recipe that holds its threshold, and the side that is removed. Applied in order."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from seedbed.corpus.scorers import SCORERS
from seedbed.recipe.schema import CurateConfig


@dataclass(frozen=True)
class Rule:
    """`name` is both the field of the recipe's `curate` section with the threshold and the rule's name in decisions."""

    name: str
    scorer: str
    side: Literal["at least", "at most", "between"]


RULES = (
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
)

# Verdicts that no threshold decides.
EMPTY = "empty"
EXACT_DEDUP = "exact_dedup"
IN_VALIDATION = "in_validation"


@dataclass(frozen=True)
class Check:
    """One rule on one document: `low` and `high` are its bounds (infinite where there is none), both None when off."""

    rule: Rule
    score: float
    low: float | None
    high: float | None

    @property
    def passed(self) -> bool:
        if self.low is None or self.high is None or math.isnan(self.score):
            return True
        return self.low <= self.score <= self.high

    @property
    def reason(self) -> str:
        what = SCORERS[self.rule.scorer].what
        assert self.low is not None and self.high is not None
        side, bound = ("below", self.low) if self.score < self.low else ("above", self.high)
        return f"{what} is {number_text(self.score)}, {side} {number_text(bound)} (curate.{self.rule.name})."


def bounds(rule: Rule, config: CurateConfig) -> tuple[float | None, float | None]:
    threshold: Any = getattr(config, rule.name)
    if threshold is None:
        return None, None
    if rule.side == "between":
        return float(threshold[0]), float(threshold[1])
    return (float(threshold), math.inf) if rule.side == "at least" else (-math.inf, float(threshold))


def check_all(scores: Mapping[str, float | None], config: CurateConfig) -> list[Check]:
    """Every rule on one document's scores, in order. A score that is missing counts as NaN: it fails no rule."""
    checks = []
    for rule in RULES:
        value = scores.get(rule.scorer)
        checks.append(Check(rule, math.nan if value is None else value, *bounds(rule, config)))
    return checks


def first_failure(scores: Mapping[str, float], config: CurateConfig) -> Check | None:
    """The first rule that removes a document with these scores."""
    return next((check for check in check_all(scores, config) if not check.passed), None)


def number_text(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
