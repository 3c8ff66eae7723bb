"""Toxicity: the original model's own numbers, read safely; English only; places are told."""

import math
import pickle
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.rules import load_group
from seedbed.corpus.rules.toxicity import MODEL, WINDOW_WORDS, WORD, Toxicity
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import ToxicityRules

INSULT = "Go to hell you stupid bitch"
CALM = "The council met on Tuesday to discuss the repair of the old bridge over the river near the market. "


@cache
def model() -> Toxicity:
    worker = load_group("toxicity").start(ToxicityRules(), CurateConfig())
    assert isinstance(worker, Toxicity)
    return worker


@pytest.fixture
def toxicity() -> Toxicity:
    return model()


@pytest.mark.parametrize(
    ("text", "probability"),
    [  # alt-profanity-check 1.9.1 itself, predict_prob on scikit-learn 1.9.1
        ("You are a fucking idiot and I hate you", 0.9999999999567546),
        ("Thank you for the kind help with the article", 0.0010972287738505422),
        ("the cat sat on the mat", 0.031449223424800624),
        (INSULT, 0.9999999998124934),
        ("Sexual reproduction in plants requires pollination", 0.0510504710250145),
        ("What a damn fool he was, said the old captain, and laughed.", 0.8589685267828993),
    ],
)
def test_probabilities_are_the_original_models(toxicity: Toxicity, text: str, probability: float) -> None:
    assert toxicity.probabilities(WORD.findall(text.lower())).tolist() == pytest.approx([probability], abs=1e-6)


def test_the_model_file_is_no_pickle() -> None:
    assert MODEL.suffix == ".safetensors" and not MODEL.read_bytes().startswith(pickle.PROTO)
    assert not list(Path(MODEL).parent.glob("*.joblib")) + list(MODEL.parent.glob("*.pkl"))


def test_an_insult_in_a_long_text_is_found_and_weighs_little(toxicity: Toxicity) -> None:
    text = CALM * 40 + INSULT + ". " + CALM * 40
    share, worst = toxicity.examine(TextView(text), {})[0]
    assert worst > 0.5 and 0 < share < 0.05
    (span,) = toxicity.explain(TextView(text), {}, "max_worst")
    assert INSULT in text[span.start : span.end] and span.replacement is None
    assert toxicity.examine(TextView(CALM * 40), {})[0][0] == 0


def test_other_languages_have_no_score(toxicity: Toxicity) -> None:
    """The German article "die" is a threat to a model of English words."""
    german = "Die Katze und die Maus und die Kuh gingen an die See, die die Sonne wärmte. " * 5
    assert all(map(math.isnan, toxicity.examine(TextView(german), {})[0]))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=400))
def test_any_text_has_shares_and_spans_within_it(text: str) -> None:
    scores, spans = model().examine(TextView(text), {})
    assert not spans and all(math.isnan(value) or 0 <= value <= 1 for value in scores)
    assert all(0 <= span.start < span.end <= len(text) for span in model().explain(TextView(text), {}, "max_share"))


def test_windows_cut_every_text_alike(toxicity: Toxicity) -> None:
    """A window's probability depends on its own words alone."""
    calm = CALM.lower().split() * 10
    tokens = calm[:WINDOW_WORDS] + (INSULT.lower().split() * 10)[:WINDOW_WORDS] + calm[:7]
    chances = toxicity.probabilities(tokens)
    alone = [
        toxicity.probabilities(tokens[start : start + WINDOW_WORDS])[0] for start in range(0, len(tokens), WINDOW_WORDS)
    ]
    assert chances.tolist() == pytest.approx(alone, abs=1e-12)
