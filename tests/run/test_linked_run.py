"""A run that trains on shards made before, by their folders alone."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seedbed.errors import InputError, SeedbedError
from seedbed.recipe.dump import dump_recipe, load_resolved
from seedbed.recipe.resolve import load_recipe
from seedbed.recipe.schema import Recipe
from seedbed.run.folder import RunFolder
from seedbed.run.pipeline import run_pipeline
from seedbed.run.verify import verify
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.remote import shard_cache


@pytest.fixture
def shards(finished_run: RunFolder, tmp_path: Path) -> Path:
    """Shards and tokenizer of a run of the usual kind, copied out of it: FOLDER/train, validation, tokenizer.json."""
    folder = tmp_path / "shards"
    shutil.copytree(finished_run.stage_path("tokenize"), folder)
    (folder / "stage.json").unlink()
    shutil.copy(finished_run.stage_path("tokenizer") / "tokenizer.json", folder)
    return folder


@pytest.fixture
def linked_recipe(shards: Path, tmp_path: Path, small_settings: Callable[..., list[str]]) -> Callable[..., Recipe]:
    def make(text: str = 'shards = ["shards/train"]', **changes: str) -> Recipe:
        path = tmp_path / "linked.toml"
        path.write_text(
            f'[tokens]\n{text}\nvalidation = ["shards/validation"]\n\n[tokenizer]\npath = "shards/tokenizer.json"\n'
        )
        settings = small_settings(
            {"tokenizer.vocab_size": None, **{k.replace("__", "."): v for k, v in changes.items()}}
        )
        return load_recipe(str(path), settings=settings)

    return make


def ignore(event: dict[str, object]) -> None:
    pass


def test_training_on_linked_shards_equals_training_on_the_text_they_were_made_of(
    linked_recipe: Callable[..., Recipe], finished_run: RunFolder, tmp_path: Path
) -> None:
    folder = run_pipeline(linked_recipe(), tmp_path / "run", ignore)
    before, now = (np.load(run.stage_path("train") / "losses.npy") for run in (finished_run, folder))
    assert np.array_equal(before, now)
    assert sorted(path.name for path in (folder.stage_path("tokenize") / "train").iterdir()) == ["manifest.json"]
    assert folder.report_path.is_file()
    result = verify(folder, samples=10)
    assert result.problems == []
    assert all(trace.document and trace.source and trace.before + trace.after for trace in result.traces)
    assert (folder.stage_path("evaluate") / "evaluation.json").is_file()


def test_training_on_fetched_shards_is_the_same_run(
    linked_recipe: Callable[..., Recipe],
    shards: Path,
    finished_run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From fsspec's memory file system, through the cache; what is held out stays local."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    shard_cache.cache_clear()
    for path in (shards / "train").iterdir():
        fsspec.filesystem("memory").pipe_file(f"/fetched/{path.name}", path.read_bytes())
    shutil.rmtree(shards / "train")
    folder = run_pipeline(linked_recipe('shards = ["memory://fetched"]'), tmp_path / "run", ignore)
    before, now = (np.load(run.stage_path("train") / "losses.npy") for run in (finished_run, folder))
    assert np.array_equal(before, now)
    assert any((tmp_path / "cache" / "shards").iterdir())
    assert verify(folder, samples=5).problems == []


def test_two_folders_mix_by_their_names(linked_recipe: Callable[..., Recipe], shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards / "train", tmp_path / "better")
    recipe = linked_recipe(
        'shards = ["shards/train", { path = "better", name = "good" }]',
        mixture__weights="{ good = 3 }", model__prior_order="0",
    )  # fmt: skip
    folder = run_pipeline(recipe, tmp_path / "run", ignore, last="train")
    taken = {entry["name"]: entry["rows"] for entry in folder.stage_summary("train")["sources"]}
    assert taken["train"] + taken["good"] == 12 * 4
    assert abs(taken["good"] - 36) <= 1


@pytest.mark.parametrize(("damage", "status"), [("cut", SeedbedError), ("manifest", InputError)])
def test_shards_that_change_under_a_run_are_refused_when_it_goes_on(
    linked_recipe: Callable[..., Recipe], shards: Path, tmp_path: Path, damage: str, status: type[Exception]
) -> None:
    recipe = linked_recipe()
    run_pipeline(recipe, tmp_path / "run", ignore, last="measure")
    if damage == "cut":
        path = shards / "train" / "00000.bin"
        path.write_bytes(path.read_bytes()[:-2])
        message = r"00000\.bin has [\d,]+ bytes .*: copy the folder again"
    else:
        shutil.rmtree(shards / "train")
        message = r"there is no manifest\.json"
    with pytest.raises(status, match=message):
        run_pipeline(recipe, tmp_path / "run", ignore)


def test_text_and_shards_together_or_neither_are_refused(
    linked_recipe: Callable[..., Recipe], shards: Path, tmp_path: Path
) -> None:
    recipe = linked_recipe()
    assert recipe.corpus.sources == ()
    assert [Path(entry.path) for entry in recipe.tokens.shards] == [shards / "train"]
    (tmp_path / "dumped.toml").write_text(dump_recipe(recipe))
    assert load_resolved(tmp_path / "dumped.toml") == recipe
    (tmp_path / "both.toml").write_text(
        '[corpus]\nsources = ["builtin:kjv"]\n[tokens]\nshards = ["shards/train"]\nvalidation = ["shards/validation"]\n'
        '[tokenizer]\npath = "shards/tokenizer.json"\n'
    )
    with pytest.raises(InputError, match=r"give either corpus\.sources .* or tokens\.shards \(found both\)"):
        load_recipe(str(tmp_path / "both.toml"))
    (tmp_path / "bare.toml").write_text('[tokens]\nshards = ["shards/train"]\nvalidation = ["shards/validation"]\n')
    with pytest.raises(InputError, match=r"tokens\.shards: give tokenizer\.path"):
        load_recipe(str(tmp_path / "bare.toml"))


def test_a_linked_stream_holds_what_the_folder_holds(
    linked_recipe: Callable[..., Recipe], shards: Path, tmp_path: Path
) -> None:
    folder = run_pipeline(linked_recipe(), tmp_path / "run", ignore, last="tokenize")
    linked, plain = ShardReader(folder.stage_path("tokenize") / "train"), ShardReader(shards / "train")
    assert np.array_equal(linked.read(0, linked.num_tokens), plain.read(0, plain.num_tokens))
