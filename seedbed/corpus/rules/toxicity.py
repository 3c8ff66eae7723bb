"""Profane and insulting language, by a linear model over words that needs no network and no pickle.

The weights are alt-profanity-check 1.9.1's (MIT; linear SVMs on TF-IDF, trained on some 200,000 English tweets and Wikipedia talk
comments that people had marked), re-written by tools/build_profanity_model.py. It was trained on short texts, so a document is
read in windows. It knows English words (to it the German article "die" is a threat): other languages get NaN, which fails no
rule. It does not see harm politely put.
"""

import math
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.rules.language import Language
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import LanguageRules, ToxicityRules

MODEL = Path(__file__).parent / "data" / "profanity.safetensors"
WORD = re.compile(r"\b\w\w+\b")  # the model's own tokens, in lower case
WINDOW_WORDS = 50  # the order of the comments it learnt from
OFFENSIVE = 0.5  # probability at which the model itself decides


class Toxicity:
    def __init__(self, language: Language) -> None:
        self._language = language
        tensors = load_file(MODEL)
        words = tensors["words"].tobytes().decode().split("\n")
        self._numbers = {word: number for number, word in enumerate(words)}
        self._idf = tensors["idf"].astype(np.float64)
        self._weights = tensors["weights"].astype(np.float64)
        self._scales = tensors["scales"].astype(np.float64)

    def probabilities(self, tokens: list[str]) -> np.ndarray:
        """float64 [windows]: the probability that each window of WINDOW_WORDS tokens is offensive."""
        num_windows = -(-len(tokens) // WINDOW_WORDS)
        numbers = self._numbers
        found = [numbers.get(token, -1) for token in tokens]
        known = np.array(found, dtype=np.int64)
        window = np.arange(len(tokens)) // WINDOW_WORDS
        keys, counts = np.unique((window * len(numbers) + known)[known >= 0], return_counts=True)
        window, word = np.divmod(keys, len(numbers))
        values = counts * self._idf[word]
        norms = np.sqrt(np.bincount(window, values * values, num_windows))
        norms[norms == 0] = 1.0
        total = np.zeros(num_windows)
        for model, (intercept, slope, offset) in enumerate(self._scales):
            margins = np.bincount(window, values * self._weights[word, model], num_windows) / norms + intercept
            total += 1 / (1 + np.exp(slope * margins + offset))
        return total / len(self._scales)

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        if self._language.detect(view.text)[0] != "en":
            return [math.nan, math.nan], []
        tokens = WORD.findall(view.text.lower())
        if not tokens:
            return [0.0, 0.0], []
        chances = self.probabilities(tokens)
        return [float((chances >= OFFENSIVE).mean()), float(chances.max())], []

    def explain(self, view: TextView, facts: Facts, rule: str) -> list[Span]:
        """The windows that the model takes for offensive."""
        # Found in the text itself and lowered one by one: lower case can change a text's length.
        places = [match.span() for match in WORD.finditer(view.text)]
        tokens = [view.text[start:end].lower() for start, end in places]
        chances = self.probabilities(tokens) if tokens else np.empty(0)
        return [
            Span(places[at][0], places[min(at + WINDOW_WORDS, len(places)) - 1][1], f"offensive {chance:.2f}")
            for at, chance in zip(range(0, len(places), WINDOW_WORDS), chances, strict=True)
            if chance >= OFFENSIVE
        ]


def start(section: ToxicityRules, config: CurateConfig) -> Toxicity:
    return Toxicity(Language(LanguageRules().max_characters))


TOXICITY = Group(
    name="toxicity",
    version=1,
    scores=(
        Score("share", "share of passages with profane or insulting language"),
        Score("worst", "probability that its most offensive passage is profane or insulting"),
    ),
    rules=(Rule("max_share", "share", "at most"), Rule("max_worst", "worst", "at most")),
    start=start,
    applies="prose",
)
