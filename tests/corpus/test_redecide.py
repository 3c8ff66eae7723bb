"""Deciding anew from stored scores gives what a run with the changed recipe gives, and refuses what is no threshold."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbed.cli.redecide import redecide
from seedbed.corpus.decisions import VERDICTS
from seedbed.corpus.redecide import Redecider, with_settings
from seedbed.errors import InputError
from seedbed.recipe.schema import Recipe

CHANGES = [
    ["basic.min_words=5", "basic.min_characters=20"],
    ["basic.min_characters=450"],
    ["curate.basic.max_top_bigram_fraction=0.12", "basic.mean_word_length=[4.5, 7]"],
    ["basic.min_words=none", "basic.min_characters=none", "basic.max_compression_ratio=4"],
    ["dedup.exact=false"],
]
NEAR = ["dedup.min_jaccard=0.95", "basic.min_characters=250"]


@pytest.fixture
def texts(tmp_path: Path, make_text: Any) -> list[str]:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02d}.txt").write_text(make_text(number % 24, 2 + number % 12) + "word " * (number % 24 % 7))
    (folder / "bad.txt").write_bytes(b"\xff\xfe\xfd")
    (folder / "empty.txt").write_text(" \n ")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "bad.txt").write_bytes(b"\xff\xfe\xfd")  # a shard without a document
    return [str(folder), str(tmp_path / "none")]


@pytest.mark.parametrize("settings", CHANGES)
def test_it_decides_as_a_run_with_the_changed_recipe(texts: list[str], curate: Any, settings: list[str]) -> None:
    before = curate(texts, seed=3)
    decider = Redecider.of(before.folder.path)
    found = decider.ask(settings)
    recipe = found.recipe.curate.model_dump()
    after = curate(texts, seed=3, **recipe)
    ids = decider.ids(np.arange(len(found.ledger)))
    assert {name: VERDICTS[found.after.verdict[at]] for at, name in enumerate(ids)} == {
        name: row["verdict"] for name, row in after.decisions.items() if row["verdict"] != "quarantined"
    }
    rules = {name: count for name, (_, count) in found.rules().items() if count}
    lost = [row["rule"] for row in after.decisions.values() if row["verdict"] in ("removed", "merged")]
    assert rules == {name: lost.count(name) for name in set(lost)}
    assert found.kept_bytes()[1] == after.curate.summary["bytes_kept"]
    kept = {name for name, row in before.decisions.items() if row["verdict"] == "kept"}
    now = {name for name, row in after.decisions.items() if row["verdict"] == "kept"}
    assert set(decider.ids(found.gained())) == now - kept
    assert set(decider.ids(found.lost())) == kept - now
    assert now != kept


def test_similar_documents_are_merged_anew(texts: list[str], curate: Any) -> None:
    folder = Path(texts[0])
    draw = random.Random(1)
    for number in range(6):
        words = ["".join(draw.choices("abcdefghij", k=5)) for _ in range(200)]
        for name, changed in (("a", 0), ("b", 3 * number)):  # of 196 shingles up to 15 are new: Jaccard .9 and more
            (folder / f"pair{number}{name}.txt").write_text(" ".join(words[: 200 - changed] + ["others"] * changed))
    before = curate(texts, dedup={"near": True})
    found = Redecider.of(before.folder.path).ask(NEAR)
    after = curate(texts, **found.recipe.curate.model_dump())
    assert found.rules()["near_dedup"][0] > found.rules()["near_dedup"][1] > 0
    for verdict, (old, new) in found.verdicts().items():
        assert (old, new) == (before.curate.summary[verdict], after.curate.summary[verdict])


@pytest.mark.parametrize("settings", [["basic.min_characters=420"], ["basic.min_characters=30"], ["dedup.exact=false"]])
def test_the_preview_counts_cuts_as_the_run_then_makes_them(texts: list[str], curate: Any, settings: list[str]) -> None:
    """Who is kept decides whose passages came before: here two thirds of the texts end as others do."""
    folder = Path(texts[0])
    for number in range(0, 30, 3):
        ending = " ".join(f"{word}{number % 4}" for word in "abcdefghijklm")
        path = folder / f"{number:02d}.txt"
        path.write_text(f"{path.read_text()}\n{ending}\n")
    (folder / "ending.txt").write_text(" ".join(f"{word}0" for word in "abcdefghijklm") + "\n")
    dedup = {"substrings": True, "substring_words": 12}
    before = curate(texts, seed=3, dedup=dedup, basic={"min_words": 5})
    decider = Redecider.of(before.folder.path)
    found = decider.with_cuts(decider.ask(settings))
    after = curate(texts, seed=3, **found.recipe.curate.model_dump())
    assert found.kept_bytes() == (before.curate.summary["bytes_kept"], after.curate.summary["bytes_kept"])
    for verdict, counts in found.verdicts().items():
        assert counts == (before.curate.summary[verdict], after.curate.summary[verdict])
    for side, done in enumerate((before, after)):
        lost = [row["rule"] for row in done.decisions.values() if row["verdict"] in ("removed", "merged")]
        rules = {name: counts[side] for name, counts in found.rules().items() if counts[side]}
        assert rules == {name: lost.count(name) for name in set(lost)}
        cut = sum(row["bytes_text"] - row["bytes_out"] for row in done.decisions.values() if row["verdict"] == "kept")
        assert cut > 0
    assert ("all_cut" in found.rules()) == (settings != ["basic.min_characters=420"])


def test_asking_twice_gives_the_same_as_asking_once(texts: list[str], curate: Any) -> None:
    path = curate(texts).folder.path
    decider = Redecider.of(path)
    for minimum in (100, 300, 500):
        again = decider.ask([f"basic.min_characters={minimum}"]).after
        fresh = Redecider.of(path).ask([f"basic.min_characters={minimum}"]).after
        assert np.array_equal(again.cause, fresh.cause) and np.array_equal(again.verdict, fresh.verdict)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("words=white-space", "no threshold.*seedbed run RECIPE"),
        ("steps=['basic', 'c4']", "no threshold"),
        ("unicode_form=NFKC", "no threshold"),
        ("gopher_quality.min_words=3", "the recipe has no step 'gopher_quality'"),
        ("dedup.ngram=4", "no threshold"),
        ("basic.min_wurds=3", "did you mean basic.min_words"),
        ("basic.min_words=many", "min_words"),
        ("basic.min_words=30", "has that value already"),
    ],
)
def test_what_is_no_threshold_is_refused_with_a_sentence(setting: str, sentence: str) -> None:
    recipe = Recipe.model_validate({"name": "test", "corpus": {"sources": ["x"]}, "train": {"steps": 1}})
    with pytest.raises(InputError, match=sentence):
        with_settings(recipe, [setting])


def test_the_answer_names_what_changes_and_how_to_make_it_so(
    texts: list[str], curate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = curate(texts).folder.path
    redecide(path, ["basic.min_characters=60"], shown=3)
    shown = capsys.readouterr().out
    assert "curate.basic.min_characters: 200 -> 60" in shown
    assert "basic.min_characters" in shown and "newly kept" in shown and "--write" in shown
    redecide(path, ["basic.min_characters=60"], shown=3, json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdicts"]["kept"]["after"] - answer["verdicts"]["kept"]["before"] == answer["gained"]["documents"]
    assert len(answer["gained"]["ids"]) == min(3, answer["gained"]["documents"])


def test_a_threshold_that_keeps_nothing_is_no_advice(
    texts: list[str], curate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    redecide(curate(texts).folder.path, ["basic.min_characters=100000"])
    shown = capsys.readouterr().out
    assert "no document would be kept" in shown and "--write" not in shown


def test_write_curates_the_run_anew(finished_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = Redecider.of(finished_run.path)
    minimum = int(np.median(before.ledger.num_bytes))
    wanted = before.ask([f"basic.min_characters={minimum}"])
    assert 0 < len(wanted.lost()) < 30
    shutil.rmtree(finished_run.stage_path("tokenize"))
    redecide(finished_run.path, [f"basic.min_characters={minimum}"], write=True)
    assert finished_run.recipe().curate.basic.min_characters == minimum
    after = Redecider.of(finished_run.path)
    assert np.array_equal(after.before.verdict, wanted.after.verdict)
    assert finished_run.stage_summary("curate")["kept"] == wanted.verdicts()["kept"][1]
