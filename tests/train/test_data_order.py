"""A recipe's packing, masks and mixture, from the recipe to the batch and back to the text."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seedbed.errors import InputError
from seedbed.files import read_json
from seedbed.recipe.dump import dump_recipe, load_resolved
from seedbed.recipe.resolve import load_recipe
from seedbed.recipe.schema import Recipe
from seedbed.run.folder import RunFolder
from seedbed.run.pipeline import run_pipeline
from seedbed.run.verify import verify
from seedbed.tokens.data_order import open_loader
from seedbed.tokens.loader import DataOrder, Loader
from seedbed.train.batch import IGNORED
from seedbed.train.data import TrainingData
from seedbed.train.objectives import Masked

WORDS = ["the", "people", "of", "this", "land", "shall", "give", "their", "king", "a", "house", "and", "bread", "for"]
SETTINGS = {"model.prior_order": "0", "train.steps": "12"}


@pytest.fixture
def two_sources(tmp_path: Path) -> Path:
    """A recipe file with the sources `plain` and `good`, 30 and 10 texts of the same kind."""
    draw = random.Random(2)
    for name, count in (("plain", 30), ("good", 10)):
        (tmp_path / name).mkdir()
        for number in range(count):
            lines = [" ".join(draw.choices(WORDS, k=12)) + f" {name} {number}." for _ in range(8)]
            (tmp_path / name / f"{number:02d}.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "recipe.toml").write_text('preset = "first-light"\n[corpus]\nsources = ["plain", "good"]\n')
    return tmp_path / "recipe.toml"


@pytest.fixture
def make_recipe(two_sources: Path, small_settings: Callable[..., list[str]]) -> Callable[..., Recipe]:
    def make(**changes: Any) -> Recipe:
        settings = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
        return load_recipe(str(two_sources), settings=[*small_settings(SETTINGS), *settings])

    return make


def run(recipe: Recipe, out: Path) -> tuple[RunFolder, list[str]]:
    notes: list[str] = []
    folder = run_pipeline(
        recipe, out, lambda event: notes.append(event["message"]) if event["kind"] == "note" else None
    )
    return folder, notes


def test_a_mixture_trains_is_accounted_for_and_traces_back_to_its_text(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """The small source three times its size and then only it; packed whole, masked, and with a cap that binds."""
    recipe = make_recipe(
        mixture__weights="{ good = [[0, 3], [0.5, 3], [0.5, 30]] }",
        mixture__caps="{ good = 0.1 }",
        tokens__packing="best-fit",
        tokens__document_masks="true",
    )
    folder, notes = run(recipe, tmp_path / "run")
    result = verify(folder, samples=40)
    assert result.problems == []
    assert {trace.source for trace in result.traces} == {"plain", "good"}
    tokenize = folder.stage_path("tokenize")
    manifest = read_json(tokenize / "train" / "manifest.json")
    assert [group["name"] for group in manifest["groups"]] == ["good", "plain"]
    assert (tokenize / "train" / "packing-16" / "rows").is_file()
    sources = {entry["name"]: entry for entry in folder.stage_summary("train")["sources"]}
    # the loader's own documents of every step, counted again: the prefix of an id is its source
    loader = open_loader(tokenize / "train", folder.recipe())
    read = Counter(
        {span.id.split("/")[0] for span in row}.pop() for step in range(12) for row in loader.documents(step)
    )
    assert {name: entry["rows"] for name, entry in sources.items()} == read and read.total() == 12 * 4
    assert all(entry["tokens"] == 16 * entry["rows"] for entry in sources.values())
    assert read_json(folder.receipt_path)["training"]["sources"] == list(sources.values())
    assert sources["good"]["epochs"] <= 0.1 + 1 / 40
    assert [note for note in notes if note.startswith("mixture: good would be read")]


def test_masks_make_targets_stay_in_their_document_and_every_share_of_the_batch_counts_them_alike(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(tokens__packing="best-fit", tokens__document_masks="true", mixture__weights="{ good = 1 }")
    folder = run_pipeline(recipe, tmp_path / "run", lambda event: None, last="tokenize")
    loader = open_loader(folder.stage_path("tokenize") / "train", recipe)
    data = TrainingData(loader, None, 0)
    for step in range(6):
        whole = data.rows(step, 0, 4)
        assert whole.documents_BT is not None and whole.sources_B is not None
        assert int((whole.targets_BT != IGNORED).sum()) == data.num_targets(step)
        parts = [data.rows(step, a, a + 1) for a in range(4)]
        assert torch.equal(whole.targets_BT, torch.cat([part.targets_BT for part in parts]))
        assert torch.equal(whole.sources_B, torch.cat([part.sources_B for part in parts]))  # type: ignore[misc]
        documents = loader.read(step, 0, 4).documents
        assert documents is not None
        asked = whole.targets_BT.numpy() != IGNORED
        assert np.array_equal(asked, (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] >= 0))
        assert np.array_equal(whole.documents_BT.numpy(), documents[:, :-1])
        eos = loader.shards.manifest["eos_id"]
        assert not asked[whole.inputs_BT.numpy() == eos].any()  # nothing is asked of what follows a document's end


def test_a_masked_objective_asks_nothing_of_padding(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    folder = run_pipeline(
        make_recipe(tokens__packing="best-fit"), tmp_path / "run", lambda event: None, last="tokenize"
    )
    order = DataOrder(packing="best-fit", document_masks=True)
    loader = Loader(folder.stage_path("tokenize") / "train", 16, 4, 1, order)
    ordinary = np.ones(300, bool)
    ordinary[loader.shards.manifest["eos_id"]] = False
    data = TrainingData(loader, None, 0, Masked(16, 1, 0.9, 299, ordinary))
    for step in range(20):
        batch = data.rows(step, 0, 4)
        assert batch.documents_BT is not None
        asked = batch.targets_BT != IGNORED
        assert not asked[batch.documents_BT == -1].any()
        assert int(asked.sum()) == data.num_targets(step)
        parts = [data.rows(step, a, a + 2).targets_BT for a in (0, 2)]
        assert torch.equal(torch.cat(parts), batch.targets_BT)


def test_the_default_recipe_reads_the_plain_stream(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = make_recipe()
    folder = run_pipeline(recipe, tmp_path / "run", lambda event: None, last="tokenize")
    shards = folder.stage_path("tokenize") / "train"
    assert "groups" not in read_json(shards / "manifest.json")
    plain = Loader(shards, 16, 4, recipe.seed, DataOrder())
    for step in range(5):
        assert np.array_equal(open_loader(shards, recipe).batch(step), plain.batch(step))
    batch = TrainingData(open_loader(shards, recipe), None, 0).rows(0, 0, 4)
    assert batch.documents_BT is None and batch.sources_B is None


def test_the_recipe_of_a_mixture_reads_back_as_it_was_written(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(
        mixture__weights="{ good = [[0, 1], [1, 2.5]], 'a b' = 0 }",
        mixture__max_epochs="none",
        tokens__shuffle_tokens="512",
    )
    (tmp_path / "dumped.toml").write_text(dump_recipe(recipe))
    assert load_resolved(tmp_path / "dumped.toml") == recipe


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mixture__weights", "{ good = -1 }", r"mixture\.weights: good: expected a number of 0 or more"),
        ("mixture__weights", "{ good = [[0.5, 1], [0.2, 1]] }", r"mixture\.weights: good: .* rise from 0 to 1"),
        ("mixture__weights", "{ good = [] }", r"mixture\.weights: good: expected"),
        ("mixture__weights", "{ good = 'much' }", r"mixture\.weights: good: expected"),
        ("mixture__caps", "{ good = 0 }", r"mixture\.caps: good: expected a number of repetitions above 0"),
        ("tokens__packing", "bestfit", r"tokens\.packing"),
        ("tokens__shards", "['x']", r"tokens: give validation too"),
        ("train__objective", "span", r"tokens\.document_masks: train\.objective 'span' moves tokens"),
    ],
)
def test_bad_fields_are_refused_by_name(
    make_recipe: Callable[..., Recipe], field: str, value: str, message: str
) -> None:
    masks = {"tokens__document_masks": "true"} if field == "train__objective" else {}
    with pytest.raises(InputError, match=message):
        make_recipe(**{field: value}, **masks)


def test_a_name_that_is_no_source_is_refused_before_anything_runs(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"mixture\.weights: no source is called 'god': did you mean 'good'"):
        run(make_recipe(mixture__weights="{ god = 2 }"), tmp_path / "run")
    assert not list((tmp_path / "run" / "stages").iterdir())
