"""A quality classifier of the user's own (`seedbed corpus classifier train`) as one more scorer."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.corpus import normalise
from seedbed.corpus.classifier import text
from seedbed.corpus.classifier.metrics import share_above
from seedbed.corpus.classifier.train import CARD_FILE, FORMAT, MODEL_FILE, good_probability
from seedbed.corpus.fasttext_models import FastText
from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.errors import InputError, SeedbedError
from seedbed.files import sha256_file
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import ClassifierRules

REMEDY = "train one with seedbed corpus classifier train --good ... --bad ... --out FOLDER"


def read_card(folder: str) -> dict[str, Any]:
    """The card of a model folder. Raises InputError where there is none, or one of another version."""
    path = Path(folder) / CARD_FILE
    if not folder or not path.is_file():
        raise InputError(f"curate.classifier.model: {folder or 'no folder is named'}: no {CARD_FILE} there: {REMEDY}")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        versions = [card["format"], *card["text_version"]]
        ranked, digest = card["pool"]["quantiles"], card["model_sha256"]
    except (ValueError, KeyError, TypeError, OSError):
        raise InputError(f"{path}: no card of a classifier, or of another version's: {REMEDY}") from None
    if versions != [FORMAT, text.VERSION, normalise.VERSION] or not ranked or not isinstance(digest, str):
        raise InputError(f"{path}: written for another version of the text it reads: {REMEDY}")
    assert isinstance(card, dict)
    return card


class Classifier:
    def __init__(self, section: ClassifierRules) -> None:
        card = read_card(section.model)
        path = Path(section.model) / MODEL_FILE
        self._applies = section.applies
        if not path.is_file() or sha256_file(path) != card["model_sha256"]:
            raise SeedbedError(f"{path}: not the model that {CARD_FILE} describes: {REMEDY}")
        self._model = FastText(path)
        self._ranked = np.array(card["pool"]["quantiles"])

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        kind = "code" if str(facts.get("domain") or "").startswith("code:") else "prose"
        if self._applies not in ("any", kind):
            return [math.nan, math.nan], []
        score = good_probability(self._model, text.model_text(view.text))
        return [score, share_above(self._ranked, score)], []


def start(section: ClassifierRules, config: CurateConfig) -> Classifier:
    return Classifier(section)


def reads(section: ClassifierRules) -> str:
    return str(read_card(section.model)["model_sha256"])


CLASSIFIER = Group(
    name="classifier",
    version=1,
    scores=(
        Score("quality", "classifier's probability of being good"),
        Score("rank", "share of the classifier's pool that scores higher"),
    ),
    rules=(Rule("min_score", "quality", "at least"), Rule("keep_share", "rank", "at most")),
    start=start,
    reads=reads,
)
