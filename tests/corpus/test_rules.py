"""Rules: each fires on its side of its threshold, in order, and says so in a sentence."""

import math

import pytest

from seedbed.corpus.rules import RULES, check_all, first_failure
from seedbed.corpus.scorers import SCORERS
from seedbed.recipe.schema import CurateConfig

GOOD = {
    "characters": 1000.0, "words": 200.0, "mean_word_length": 4.5, "symbol_fraction": 0.05, "letter_fraction": 0.9,
    "duplicate_line_fraction": 0.0, "top_bigram_fraction": 0.02, "compression_ratio": 2.2, "replacement_fraction": 0.0,
}  # fmt: skip


def test_every_rule_has_a_scorer_and_a_field_and_every_threshold_a_rule() -> None:
    fields = set(CurateConfig.model_fields) - {"unicode_form", "exact_dedup"}
    assert {rule.name for rule in RULES} == fields
    assert {rule.scorer for rule in RULES} <= set(SCORERS)
    assert set(GOOD) == set(SCORERS)


@pytest.mark.parametrize(
    ("scorer", "bad", "rule"),
    [
        ("characters", 199, "min_characters"),
        ("characters", 2e7 + 1, "max_characters"),
        ("words", 29, "min_words"),
        ("mean_word_length", 1.9, "mean_word_length"),
        ("mean_word_length", 20.1, "mean_word_length"),
        ("symbol_fraction", 0.51, "max_symbol_fraction"),
        ("letter_fraction", 0.29, "min_letter_fraction"),
        ("duplicate_line_fraction", 0.51, "max_duplicate_line_fraction"),
        ("top_bigram_fraction", 0.31, "max_top_bigram_fraction"),
        ("compression_ratio", 12.5, "max_compression_ratio"),
        ("replacement_fraction", 0.003, "max_replacement_fraction"),
    ],
)
def test_a_rule_fires_beyond_its_threshold_unless_it_is_off(scorer: str, bad: float, rule: str) -> None:
    assert first_failure(GOOD, CurateConfig()) is None
    failure = first_failure({**GOOD, scorer: bad}, CurateConfig())
    assert failure is not None and failure.rule.name == rule
    assert rule in failure.reason
    off = CurateConfig.model_validate({rule: "none"})
    assert first_failure({**GOOD, scorer: bad}, off) is None


def test_the_reason_tells_score_and_threshold() -> None:
    failure = first_failure({**GOOD, "characters": 151}, CurateConfig())
    assert failure is not None
    assert failure.reason == "number of characters is 151, below 200 (curate.min_characters)."


def test_the_threshold_itself_passes_and_nan_fails_nothing() -> None:
    assert first_failure({**GOOD, "characters": 200, "mean_word_length": math.nan}, CurateConfig()) is None


def test_all_failures_are_seen_and_the_first_decides() -> None:
    scores = {**GOOD, "characters": 10, "words": 2}
    failing = [check.rule.name for check in check_all(scores, CurateConfig()) if not check.passed]
    assert failing == ["min_characters", "min_words"]
    first = first_failure(scores, CurateConfig())
    assert first is not None and first.rule.name == "min_characters"
