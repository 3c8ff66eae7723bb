"""Training: sources -> examples -> a fastText model, measured on held-out documents, in a folder with its card.

Word bigrams as DCLM's classifier has them (Li et al. 2024). One thread, and the order of hashes: the same
sources and seed give the same bytes.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from seedbed.corpus import normalise
from seedbed.corpus.classifier import text
from seedbed.corpus.classifier.examples import BAD, GOOD, LABELS, POOL, Examples, distinct, gather
from seedbed.corpus.classifier.metrics import (
    KEPT_SHARES,
    area_under_curve,
    at_threshold,
    by_kept_share,
    quantiles,
    threshold_for,
)
from seedbed.corpus.fasttext_models import FastText, trainer
from seedbed.errors import InputError
from seedbed.files import publish_folder, sha256_file, write_json
from seedbed.recipe.schema import SourceConfig

MODEL_FILE, CARD_FILE, FORMAT = "model.bin", "card.json", 1
MIN_HELD_OUT = 10  # of each kind: with fewer, precision and recall say nothing


@dataclass(frozen=True)
class Training:
    """How to train. Two labels need few dimensions and buckets: a model is some 35 MB."""

    keep_share: float = 0.1  # of the pool; DCLM keeps a tenth
    held_out: float = 0.1  # share of documents, drawn by hash
    max_documents: int = 200_000  # of each kind, drawn by hash; DCLM trained on 200,000 of each
    seed: int = 0
    dimensions: int = 16
    buckets: int = 1 << 19  # of hashed bigrams
    min_updates: int = 15_000  # documents seen: few documents are gone over more often, 5 to 50 times
    rate: float = 0.5
    word_ngrams: int = 2
    min_count: int = 2  # a word that one document alone has says nothing


def train_classifier(
    good: Sequence[SourceConfig],
    bad: Sequence[SourceConfig],
    out: Path,
    training: Training,
    pool: Sequence[SourceConfig] = (),
    advance: Callable[[int], None] = lambda bytes_in: None,
) -> dict[str, Any]:
    """Write `out` (it must not exist) and return its card. `pool`: text such as the classifier will judge, for the kept
    share; without it the held-out documents are the pool. Raises InputError for sources that cannot work."""
    if out.exists():
        raise InputError(f"{out}: exists already: name another folder with --out, or remove it")
    fasttext = trainer()
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        examples, repeats, disputed = distinct(gather((good, bad, pool), training.seed, partial / "lines", advance))
        learnt, held_out = split(examples, training)
        write_training_file(examples, learnt, partial / "train")
        fit(fasttext, partial / "train", training, len(learnt)).save_model(str(partial / MODEL_FILE))
        scores = score_lines(
            FastText(partial / MODEL_FILE), examples, np.append(held_out, np.flatnonzero(examples.groups == POOL))
        )
        groups = np.append(examples.groups[held_out], np.full(len(scores) - len(held_out), POOL))
        card = {
            "format": FORMAT,
            "text_version": [text.VERSION, normalise.VERSION],
            "training": {**asdict(training), "epochs": epochs(training, len(learnt))},
            "sources": {
                name: [source.path for source in sources]
                for name, sources in (("good", good), ("bad", bad), ("pool", pool))
            },
            "documents": {LABELS[kind]: describe(examples, learnt, kind) for kind in (GOOD, BAD)},
            "dropped": {"repeats": repeats, "both_good_and_bad": disputed},
            **measure(groups, scores, training.keep_share),
            "versions": {name: metadata.version(name) for name in ("fasttext-community", "numpy")},
            "model_sha256": sha256_file(partial / MODEL_FILE),
        }
        write_json(partial / CARD_FILE, card)
        for name in ("lines", "train"):
            (partial / name).unlink()
        publish_folder(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return card


def split(examples: Examples, training: Training) -> tuple[np.ndarray, np.ndarray]:
    """(numbers of the documents to learn from, numbers held out), each in order of hash, at most max_documents a kind."""
    learnt, held_out = [], []
    for kind in (GOOD, BAD):
        numbers = np.flatnonzero(examples.groups == kind)[: training.max_documents]
        out = examples.draws[numbers] < training.held_out
        if out.sum() < MIN_HELD_OUT or (~out).sum() < MIN_HELD_OUT:
            raise InputError(
                f"--{LABELS[kind]}: {len(numbers)} different documents, {int(out.sum())} of them held out: give more text, "
                f"or another --held-out: at least {MIN_HELD_OUT} of each kind are held out and as many learnt from"
            )
        learnt.append(numbers[~out])
        held_out.append(numbers[out])
    together = np.concatenate(learnt)
    return together[np.argsort(examples.hashes[together], kind="stable")], np.concatenate(held_out)


def write_training_file(examples: Examples, numbers: np.ndarray, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for group, line in zip(examples.groups[numbers].tolist(), examples.lines(numbers), strict=True):
            file.write(f"__label__{LABELS[group]} {line}\n")


def epochs(training: Training, num_documents: int) -> int:
    return min(50, max(5, math.ceil(training.min_updates / num_documents)))


def fit(fasttext: Any, path: Path, training: Training, num_documents: int) -> Any:
    return fasttext.train_supervised(
        input=str(path),
        dim=training.dimensions,
        epoch=epochs(training, num_documents),
        lr=training.rate,
        wordNgrams=training.word_ngrams,
        minCount=training.min_count,
        bucket=training.buckets,
        thread=1,
        seed=training.seed,
        verbose=0,
    )


def good_probability(model: FastText, line: str) -> float:
    """The model's probability that a line of model_text is good; 0.5 for a line without a word it knows."""
    return dict(model.predict(line, len(LABELS))).get(LABELS[GOOD], 0.5)


def score_lines(model: FastText, examples: Examples, numbers: np.ndarray) -> np.ndarray:
    return np.array([good_probability(model, line) for line in examples.lines(numbers)], dtype=np.float64)


def describe(examples: Examples, learnt: np.ndarray, kind: int) -> dict[str, Any]:
    """Counts of one kind's training documents, and a hash of their texts that does not depend on their order."""
    numbers = learnt[examples.groups[learnt] == kind]
    digest = xxhash.xxh3_128_hexdigest(np.sort(examples.hashes[numbers]).tobytes())
    return {"documents": len(numbers), "bytes": int(examples.lengths[numbers].sum()), "xxh3_128": digest}


def measure(groups: np.ndarray, scores: np.ndarray, keep_share: float) -> dict[str, Any]:
    good, bad = scores[groups == GOOD], scores[groups == BAD]
    pool = scores[groups == POOL] if (groups == POOL).any() else scores
    threshold = threshold_for(pool, keep_share)
    return {
        "held_out": {
            "good": len(good),
            "bad": len(bad),
            "auc": area_under_curve(good, bad),
            "at_half": at_threshold(good, bad, pool, 0.5),
            "by_kept_share": by_kept_share(good, bad, pool, KEPT_SHARES),
        },
        "chosen": {"keep_share": keep_share, **at_threshold(good, bad, pool, threshold)},
        "pool": {"documents": len(pool), "own": not (groups == POOL).any(), "quantiles": quantiles(pool)},
    }
