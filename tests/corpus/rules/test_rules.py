"""Rules and decisions: each rule fires on its side of its threshold, in order, and says so in a sentence."""

import math
from typing import Any

import pyarrow as pa
import pytest

from seedbed.corpus.chain import SCORE_PREFIX, apply_spans, apply_steps, judgements, scoring_config
from seedbed.corpus.decide import first_failures
from seedbed.corpus.rules import GROUPS, load_group
from seedbed.corpus.rules.group import Check, Rule, Span
from seedbed.recipe.curation import STEPS, CurateConfig

GOOD = {
    "characters": 1000.0, "words": 200.0, "mean_word_length": 4.5, "symbol_fraction": 0.05, "letter_fraction": 0.9,
    "duplicate_line_fraction": 0.0, "top_bigram_fraction": 0.02, "compression_ratio": 2.2, "replacement_fraction": 0.0,
}  # fmt: skip


def failures(scores: dict[str, Any], config: CurateConfig) -> list[Check]:
    checks = [rule.check(scores[rule.rule.score]) for rule in judgements(config)]
    failing = [check for check in checks if not check.passed]
    table = pa.table({f"{SCORE_PREFIX}basic.{name}": pa.array([value], pa.float64()) for name, value in scores.items()})
    [first] = first_failures(table, judgements(config)).tolist()  # the way of the stage agrees with one check at a time
    assert (first < 0) == (not failing)
    assert not failing or judgements(config)[first].name == failing[0].name
    return failing


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_a_group_is_whole(name: str) -> None:
    """Every rule has a score and a field, and a group is a step with a section of its name."""
    group = load_group(name)
    assert group.name == name and name in STEPS
    assert {rule.score for rule in group.rules} <= {score.name for score in group.scores}
    assert {rule.name for rule in group.rules} <= set(type(group.section(CurateConfig())).model_fields)
    assert all(score.what for score in group.scores)


def test_every_field_of_basic_is_a_rule() -> None:
    group = load_group("basic")
    assert {rule.name for rule in group.rules} == set(type(CurateConfig().basic).model_fields)
    assert set(GOOD) == {score.name for score in group.scores}


@pytest.mark.parametrize(
    ("score", "bad", "rule"),
    [
        ("characters", 199, "basic.min_characters"),
        ("characters", 2e7 + 1, "basic.max_characters"),
        ("words", 29, "basic.min_words"),
        ("mean_word_length", 1.9, "basic.mean_word_length"),
        ("mean_word_length", 20.1, "basic.mean_word_length"),
        ("symbol_fraction", 0.51, "basic.max_symbol_fraction"),
        ("letter_fraction", 0.29, "basic.min_letter_fraction"),
        ("duplicate_line_fraction", 0.51, "basic.max_duplicate_line_fraction"),
        ("top_bigram_fraction", 0.31, "basic.max_top_bigram_fraction"),
        ("compression_ratio", 12.5, "basic.max_compression_ratio"),
        ("replacement_fraction", 0.003, "basic.max_replacement_fraction"),
    ],
)
def test_a_rule_fires_beyond_its_threshold_unless_it_is_off(score: str, bad: float, rule: str) -> None:
    assert not failures(GOOD, CurateConfig())
    [failure] = failures({**GOOD, score: bad}, CurateConfig())
    assert failure.name == rule
    assert rule in failure.reason
    off = CurateConfig.model_validate({"basic": {rule.removeprefix("basic."): "none"}})
    assert not failures({**GOOD, score: bad}, off)


def test_the_reason_tells_score_and_threshold() -> None:
    [failure] = failures({**GOOD, "characters": 151}, CurateConfig())
    assert failure.reason == "number of characters is 151, below 200 (curate.basic.min_characters)."


def test_the_threshold_itself_passes_and_nan_fails_nothing() -> None:
    assert not failures({**GOOD, "characters": 200.0, "mean_word_length": math.nan}, CurateConfig())


def test_all_failures_are_seen_and_the_first_decides() -> None:
    failing = failures({**GOOD, "characters": 10, "words": 2}, CurateConfig())
    assert [check.name for check in failing] == ["basic.min_characters", "basic.min_words"]


@pytest.mark.parametrize(
    ("side", "score", "passed"),
    [
        ("one of", "en", True),
        ("one of", "de", False),
        ("none of", "de", True),
        ("none of", "en", False),
        ("one of", "", True),
    ],
)
def test_labels_are_asked_for_or_refused(side: Any, score: str, passed: bool) -> None:
    check = Check("language", Rule("allowed", "language", side), "language", score, ("en", "fr"))
    assert check.passed == passed
    assert passed or "en, fr (curate.language.allowed)" in check.reason


def test_a_threshold_is_no_part_of_what_scores_depend_on() -> None:
    strict = CurateConfig.model_validate({"basic": {"min_words": 1000}})
    assert scoring_config(strict) == scoring_config(CurateConfig())
    assert scoring_config(CurateConfig(words="white-space")) != scoring_config(CurateConfig())


def test_edits_apply_step_by_step() -> None:
    text = "keep CUT keep mail@x.org"
    spans = [
        ("lines", Span(5, 9, "line", "")),
        ("scrub", Span(0, 4, "noted")),
        ("scrub", Span(10, 20, "email", "<EMAIL>")),
    ]
    assert apply_spans(text, [spans[0][1]]) == "keep keep mail@x.org"
    assert apply_steps(text, spans) == "keep keep <EMAIL>"
