"""A run keeps checkpoints of its plateau; another run goes on from one, or decays it into a model of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbed.errors import InputError
from seedbed.files import read_json, sha256_file
from seedbed.recipe.schema import Recipe
from seedbed.run.folder import RunFolder
from seedbed.run.pipeline import run_pipeline
from seedbed.run.verify import verify
from seedbed.train.stages import train_config

MakeRecipe = Callable[..., Recipe]
LONG = {"train.steps": 12, "train.decay_from_step": 8, "train.keep_every_steps": 4}


@pytest.fixture(autouse=True)
def short_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.train.trials.MEASURED_SECONDS", 0.0)


@pytest.fixture
def train(small_recipe: MakeRecipe, tmp_path: Path) -> Callable[..., Path]:
    """train({field: value}) -> the folder of the finished stage `train`, in one run folder."""

    def make(changes: dict[str, Any]) -> Path:
        recipe = small_recipe(changes)
        return run_pipeline(recipe, tmp_path / "run", lambda event: None, last="train").stage_path("train")

    return make


def test_a_branch_is_the_run_it_left(train: Callable[..., Path], tmp_path: Path) -> None:
    long = train(LONG)
    assert sorted(path.name for path in (long / "kept").iterdir()) == ["step-000000004", "step-000000008"]
    assert not (long / "checkpoints").exists() and not any("kept" in f for f in read_json(long / "stage.json")["files"])
    start = {"train.start_from": f"{tmp_path / 'run'}@8"}

    same = train({"train.steps": 12, **start})  # decays at once, which is where the long run decayed
    assert same != long
    assert sha256_file(same / "model.safetensors") == sha256_file(long / "model.safetensors")
    assert np.array_equal(np.load(same / "losses.npy"), np.load(long / "losses.npy"))

    longer = train({"train.steps": 20, "train.decay_from_step": 16, **start})
    losses = np.load(longer / "losses.npy")
    assert np.array_equal(losses[:9], np.load(long / "losses.npy")[:9]) and np.isfinite(losses).all()
    records = read_json(longer / "history.json")["steps"]
    assert [entry["step"] for entry in records] == list(range(1, 21))
    rates = [entry["lr"] for entry in records]
    assert len(set(rates[1:16])) == 1 and rates[17] < rates[16] == rates[15]
    assert verify(RunFolder.existing(tmp_path / "run")).problems == []


def test_a_branch_is_known_by_the_checkpoints_content(
    train: Callable[..., Path], small_recipe: MakeRecipe, tmp_path: Path
) -> None:
    kept = train(LONG) / "kept"
    shutil.copytree(kept / "step-000000008", tmp_path / "elsewhere" / "step-000000008")
    by_step, by_path, other = (
        train_config(small_recipe({"train.start_from": place, "train.decay_from_step": 8}))
        for place in (f"{tmp_path / 'run'}@8", tmp_path / "elsewhere/step-000000008", f"{tmp_path / 'run'}@4")
    )
    assert by_step == by_path != other


def test_a_branch_may_change_its_batch_from_where_it_starts_and_not_before(
    train: Callable[..., Path], tmp_path: Path
) -> None:
    train(LONG)
    start = {"train.steps": 10, "train.start_from": f"{tmp_path / 'run'}@4", "train.batch_tokens": 128}
    with pytest.raises(InputError, match=r"^train\.start_from: .* 16 rows, .* before step 4 hold 32: "):
        train(start)
    grown = train({**start, "train.batch_warmup": [[4, 64]]})
    assert [entry["tokens"] for entry in read_json(grown / "history.json")["steps"]][2:6] == [192, 256, 384, 512]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.start_from": "runs/long"}, r"names no step: give RUN@STEP"),
        (
            {"train.start_from": "runs/long@4", "train.steps": 4},
            r"^train\.steps: 4 steps are over at the start, step 4",
        ),
        ({"train.start_from": "runs/long@4", "train.decay_from_step": 2}, r"^train\.decay_from_step: 2 lies before"),
        ({"train.start_from": "runs/long@4", "train.schedule": "cosine"}, r"^train\.start_from: needs .*=trapezoid"),
        ({"train.schedule": "linear", "train.decay_from_step": 2}, r"^train\.decay_from_step: needs .*=trapezoid"),
        (
            {"train.start_from": "runs/long@4", "train.steps": None, "train.minutes": 1.0},
            r"the horizon as train\.steps",
        ),
    ],
)
def test_a_branch_that_cannot_be_is_refused_with_its_field(
    small_recipe: MakeRecipe, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        small_recipe(changes)


def test_a_checkpoint_that_is_missing_or_of_something_else_is_refused(
    train: Callable[..., Path], tmp_path: Path
) -> None:
    kept = train(LONG) / "kept"
    start = {"train.start_from": f"{tmp_path / 'run'}@4"}
    for changes, message in (
        ({"train.start_from": f"{tmp_path / 'run'}@5"}, r"kept no checkpoint of step 5 \(kept: 4, 8\)"),
        ({"train.start_from": str(tmp_path / "step-4")}, r"is no checkpoint: give RUN@STEP"),
        ({**start, "model.width": 64}, r"checkpoint .* is of another training \(its model differs\)"),
        ({**start, "corpus.held_out_fraction": 0.3}, r"checkpoint .* is of another training \(its data differ\)"),
    ):
        with pytest.raises(InputError, match=rf"^train\.start_from: .*{message}"):
            train(changes)
    file = kept / "step-000000004/rank-00000.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(
        InputError,
        match=r"^train\.start_from: checkpoint .* is damaged \(the checksum of .* does not match\): give another",
    ):
        train(start)
