"""A classifier of one's own: it separates on documents it never saw, says how well, and is the same twice."""

import json
import sys
from collections.abc import Callable
from functools import cache, partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from seedbed.cli.corpus import app
from seedbed.corpus import builtin
from seedbed.corpus.classifier.examples import BAD, GOOD, distinct, gather
from seedbed.corpus.classifier.metrics import area_under_curve, at_threshold, quantiles, share_above, threshold_for
from seedbed.corpus.classifier.text import model_text
from seedbed.corpus.classifier.train import CARD_FILE, MODEL_FILE, Training, train_classifier
from seedbed.corpus.fasttext_models import FastText
from seedbed.corpus.records import Document
from seedbed.corpus.rules import load_group
from seedbed.corpus.view import TextView
from seedbed.errors import InputError, SeedbedError
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import ClassifierRules
from seedbed.recipe.schema import SourceConfig

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SMALL = partial(Training, dimensions=8, buckets=1 << 12, held_out=0.2, min_updates=2000)
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60).map(np.array)


def source(path: Path | str, **fields: Any) -> list[SourceConfig]:
    return [SourceConfig(path=str(path), **fields)]


def write_lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Countries of the factbook as good, chapters of the Bible as bad: 150 beginnings of each."""
    folder = tmp_path_factory.mktemp("texts")
    found = {}
    for kind, name in (("good", "factbook"), ("bad", "kjv")):
        records = (record for record in builtin.read(SourceConfig(name=name, path=f"builtin:{name}")))
        documents = [record.text[:3000] for record in islice(records, 150) if isinstance(record, Document)]
        found[kind] = write_lines(folder / f"{kind}.jsonl", documents)
    return found


@pytest.fixture(scope="module")
def model(texts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "model"
    train_classifier(source(texts["good"]), source(texts["bad"]), out, SMALL())
    return out


@cache
def worker_of(folder: Path) -> Any:
    return load_group("classifier").start(ClassifierRules(model=str(folder)), CurateConfig())


# What it learns from


@given(st.text(max_size=200))
def test_no_text_can_spell_a_label_or_a_line(text: str) -> None:
    words = model_text(text + " __label__good </s>\n").split(" ")
    assert not any(word.startswith("__label__") or word == "</s>" or "\n" in word for word in words)
    assert model_text(" ".join(words)) == " ".join(words)[: len(model_text(" ".join(words)))]


def test_equal_texts_are_one_and_disputed_texts_none(tmp_path: Path) -> None:
    good = write_lines(tmp_path / "good.jsonl", ["Alpha one.", "alpha  ONE .", "Beta two.", "Gamma three.", "  "])
    bad = write_lines(tmp_path / "bad.jsonl", ["Delta four.", "Beta two.", "Beta two."])
    examples = gather((source(good), source(bad)), 0, tmp_path / "lines", lambda bytes_in: None)
    kept, repeats, disputed = distinct(examples)
    by_group = {kind: set(kept.lines(np.flatnonzero(kept.groups == kind))) for kind in (GOOD, BAD)}
    assert by_group == {GOOD: {"alpha one .", "gamma three ."}, BAD: {"delta four ."}}
    assert (len(examples), repeats, disputed) == (7, 2, 1)


# What it says of itself


@given(SCORES, st.floats(0.01, 1))
def test_a_kept_share_keeps_that_share_and_ties(pool: np.ndarray, share: float) -> None:
    threshold = threshold_for(pool, share)
    wanted = max(1, round(share * len(pool)))
    assert (pool > threshold).sum() < wanted <= (pool >= threshold).sum()


@given(SCORES, SCORES)
def test_the_area_is_the_share_of_pairs_in_order(good: np.ndarray, bad: np.ndarray) -> None:
    pairs = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
    assert area_under_curve(good, bad) == pytest.approx(np.mean(pairs))


@given(SCORES, st.floats(0, 1))
def test_rank_is_the_share_of_the_pool_above(pool: np.ndarray, score: float) -> None:
    assert share_above(np.array(quantiles(pool)), score) == pytest.approx((pool > score).mean())


def test_precision_and_recall_are_the_textbook_ones() -> None:
    good, bad = np.array([0.9, 0.8, 0.3]), np.array([0.85, 0.2, 0.1, 0.0])
    found = at_threshold(good, bad, np.concatenate([good, bad]), 0.5)
    assert (found["precision"], found["recall"], found["bad_kept"], found["kept_share"]) == (2 / 3, 2 / 3, 1 / 4, 3 / 7)


def test_it_separates_documents_it_never_saw_and_its_card_says_so(model: Path) -> None:
    card = json.loads((model / CARD_FILE).read_text())
    held = card["held_out"]
    assert held["auc"] > 0.99 and held["at_half"]["precision"] > 0.95 and held["at_half"]["recall"] > 0.9
    for kind in ("good", "bad"):
        assert card["documents"][kind]["documents"] + held[kind] == 150 and held[kind] > 15
    shares = [row["kept_share"] for row in held["by_kept_share"]]
    assert shares == sorted(shares) and card["chosen"]["keep_share"] == 0.1


def test_the_same_sources_and_seed_give_the_same_bytes(texts: dict[str, Path], model: Path, tmp_path: Path) -> None:
    train_classifier(source(texts["good"]), source(texts["bad"]), tmp_path / "again", SMALL())
    for name in (MODEL_FILE, CARD_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (model / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_a_pool_sets_the_threshold(texts: dict[str, Path], tmp_path: Path) -> None:
    """Of a pool of bad text alone, a tenth stays, however bad it is."""
    pool = source("builtin:kjv", max_bytes=400_000)
    card = train_classifier(source(texts["good"]), source(texts["bad"]), tmp_path / "m", SMALL(), pool)
    assert card["pool"]["documents"] > 50 and not card["pool"]["own"]
    assert card["chosen"]["kept_share"] == pytest.approx(0.1, abs=0.02) and card["chosen"]["recall"] > 0.95


@pytest.mark.skipif(not (DATA / "crawl").is_dir(), reason="needs shared/data/crawl and shared/data/corpus")
def test_textbooks_are_told_from_raw_pages(tmp_path: Path) -> None:
    """Sections of textbooks against whole English pages with their menus, on held-out documents of both."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text

    from seedbed.corpus.rules.language import Language

    language, pages = Language(1000), []
    with (DATA / "crawl" / "labelled_pages" / "trafilatura_eval.warc.gz").open("rb") as file:
        for record in islice(ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True), 500):
            text = extract_plain_text(record.reader.read().decode("utf-8", "replace"), main_content=False)
            if language.detect(text)[0] == "en":
                pages.append(text)
    good = source(DATA / "corpus" / "academic_openstax_ccby.jsonl.xz", max_bytes=3_000_000)
    bad = source(write_lines(tmp_path / "pages.jsonl", pages))
    card = train_classifier(good, bad, tmp_path / "model", SMALL(held_out=0.3, buckets=1 << 16, rate=1.0))
    held = card["held_out"]
    assert held["good"] > 30 and held["bad"] > 15
    assert held["auc"] > 0.99 and held["at_half"]["precision"] > 0.9 and held["at_half"]["recall"] > 0.95


# Errors


def test_sources_that_cannot_work_are_input_errors(texts: dict[str, Path], model: Path, tmp_path: Path) -> None:
    kjv, few = source(texts["bad"]), source(write_lines(tmp_path / "few.jsonl", ["One.", "Two."]))
    with pytest.raises(InputError, match="exists already"):
        train_classifier(kjv, kjv, model, SMALL())
    with pytest.raises(InputError, match="no such file"):
        train_classifier(source(tmp_path / "missing"), kjv, tmp_path / "m", SMALL())
    with pytest.raises(InputError, match=r"--good: 2 different documents"):
        train_classifier(few, kjv, tmp_path / "m", SMALL())
    with pytest.raises(InputError, match=r"--good: 0 different documents"):  # all of them are disputed
        train_classifier(kjv, kjv, tmp_path / "m", SMALL())
    assert not (tmp_path / "m").exists() and not list(tmp_path.glob(".m*"))


@pytest.mark.parametrize("spoil", ["model", "card", "version", "no card"])
def test_a_folder_that_is_no_classifier_is_refused(model: Path, tmp_path: Path, spoil: str) -> None:
    card = json.loads((model / CARD_FILE).read_text())
    data = (model / MODEL_FILE).read_bytes()
    (tmp_path / MODEL_FILE).write_bytes(data[:-1] if spoil == "model" else data)
    if spoil == "version":
        card["text_version"] = [0, 0]
    if spoil != "no card":
        (tmp_path / CARD_FILE).write_text("{}" if spoil == "card" else json.dumps(card))
    with pytest.raises(SeedbedError, match="seedbed corpus classifier train"):
        load_group("classifier").start(ClassifierRules(model=str(tmp_path)), CurateConfig())


def test_a_reader_of_models_alone_is_told_what_to_install(
    model: Path, texts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fasttext-predict and fasttext-community install one module: the former has nothing to train with."""
    monkeypatch.setitem(sys.modules, "fasttext", ModuleType("fasttext"))
    with pytest.raises(SeedbedError, match=r"seedbed\[classifier\]"):
        train_classifier(source(texts["good"]), source(texts["bad"]), tmp_path / "m", SMALL())
    assert FastText(model / MODEL_FILE).predict("in the beginning", 2)  # reading needs neither
    monkeypatch.setitem(sys.modules, "fasttext_pybind", None)
    with pytest.raises(SeedbedError, match="fasttext-predict"):
        FastText(model / MODEL_FILE)


# In a recipe


def test_the_best_of_the_pool_stay_and_code_is_left_alone(
    texts: dict[str, Path], model: Path, tmp_path: Path, curate: Callable[..., Any]
) -> None:
    found = curate(
        [{"path": "builtin:kjv", "max_bytes": 300_000}, {"path": str(texts["good"]), "name": "factbook"}],
        steps=["classifier"],
        classifier={"model": str(model), "keep_share": 0.4},
    ).decisions
    kept = {
        source: [row["verdict"] == "kept" for row in found.values() if row["source"] == source]
        for source in ("kjv", "factbook")
    }
    assert np.mean(kept["kjv"]) < 0.05 and np.mean(kept["factbook"]) > 0.7
    removed = next(row for row in found.values() if row["verdict"] == "removed")
    assert (
        removed["rule"] == "classifier.keep_share"
        and "share of the classifier's pool that scores higher" in removed["reason"]
    )
    scores = worker_of(model).examine(TextView("import os"), {"domain": "code:python"})[0]
    assert all(score != score for score in scores)


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=300))
def test_any_text_has_a_score(model: Path, text: str) -> None:
    quality, rank = worker_of(model).examine(TextView(text), {"domain": "prose"})[0]
    assert 0 <= float(quality) <= 1 and 0 <= float(rank) <= 1


def test_the_command_prints_the_table_and_what_to_write_in_a_recipe(texts: dict[str, Path], tmp_path: Path) -> None:
    sources = ["--good", str(texts["good"]), "--bad", str(texts["bad"])]
    options = ["--max-bytes", "200000", "--held-out", "0.4", "--keep-share", "0.15", "--out", str(tmp_path / "m")]
    result = CliRunner().invoke(app, ["classifier", "train", *sources, *options])
    assert result.exit_code == 0, result.output
    assert "precision" in result.output and "15.0%" in result.output and "<- chosen" in result.output
    assert "[curate.classifier]" in result.output
