"""Faults put into training on purpose: none reaches the weights, each is told, and a killed run goes the same way again."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prepared import Prepared, assert_same_model

from seedbed.errors import SeedbedError
from seedbed.files import read_json
from seedbed.train.batch import Batch
from seedbed.train.data import TrainingData
from seedbed.train.engine import Engine, Outcome
from seedbed.train.guard import LEAST_STEPS, read_record, spike

Prepare = Callable[..., Prepared]
NO_FAULT: Callable[[int], bool] = lambda step: False  # noqa: E731


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable[[int], bool]]]:
    """faults["gradient"] = steps.__contains__: what is wrong, and at which steps. `text` spoils the batch's tokens."""
    chosen: dict[str, Callable[[int], bool]] = {}
    plain_gradients, plain_rows = Engine.gradients, TrainingData.rows

    def gradients(self: Engine, step: int) -> Outcome:
        weight = self.model.layers[0].attention.query.weight

        def spoil(gradient: torch.Tensor) -> torch.Tensor:
            return gradient * float("nan") if chosen.get("gradient", NO_FAULT)(step) else gradient

        handle = weight.register_hook(spoil)
        outcome = plain_gradients(self, step)
        handle.remove()
        if chosen.get("loss", NO_FAULT)(step):
            outcome = replace(outcome, loss=float("inf"))
        return outcome

    def rows(self: TrainingData, step: int, start: int, stop: int) -> Batch:
        batch = plain_rows(self, step, start, stop)
        if chosen.get("text", NO_FAULT)(step):
            # one row of tokens that are never followed by each other: the expert and the transformer are sure of others
            garbage = torch.arange(batch.targets_BT.shape[1]) * 7919 % 290
            batch.inputs_BT[-1], batch.targets_BT[-1] = garbage, (garbage + 31) % 290
            if batch.prior_BTP is not None:
                batch.prior_BTP[-1, :, 0] = -25.0
        return batch

    monkeypatch.setattr(Engine, "gradients", gradients)
    monkeypatch.setattr(TrainingData, "rows", rows)
    yield chosen


@pytest.mark.parametrize("fault", ["gradient", "loss"])
def test_what_is_not_finite_never_reaches_the_weights_and_is_told(
    prepare: Prepare, faults: dict[str, Any], fault: str
) -> None:
    prepared = prepare()
    faults[fault] = {5}.__contains__
    path = prepared.train("run")
    losses = np.load(path / "losses.npy")
    assert np.flatnonzero(np.isnan(losses)).tolist() == [5]
    assert all(bool(value.isfinite().all()) for value in load_weights(path).values())
    (told,) = prepared.of_kind("intervention")
    assert (told["step"], told["action"], told["skipped"]) == (5, "skip", (5, 6))
    assert told["cause"] == f"the {fault} is not finite" and told["message"].startswith("step 5: the ")
    autopsy = read_json(path / told["autopsy"])
    broken = ["layers.0.attention.query.weight"] if fault == "gradient" else []
    assert autopsy["gradients_not_finite"] == broken
    assert 0 < autopsy["loss_computed_again"] < 10  # the weights are sound, and so is the text


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path / "model.safetensors")


def test_a_skipped_step_is_one_that_never_was(prepare: Prepare, faults: dict[str, Any]) -> None:
    """The other steps see the weights, batches and learning rates that they see in a run which knows of the skip before."""
    prepared = prepare()
    faults["gradient"] = {4}.__contains__
    skipped = prepared.train("skipped")
    told_before = prepared.root / "told-before"
    told_before.mkdir()
    (told_before / "interventions.json").write_bytes((skipped / "interventions.json").read_bytes())
    faults.clear()
    prepared.train("told-before")
    assert_same_model(skipped, told_before)
    assert len(prepared.of_kind("intervention")) == 1


def test_a_run_killed_around_an_intervention_goes_the_same_way(prepare: Prepare, faults: dict[str, Any]) -> None:
    prepared = prepare()
    faults["loss"] = {5}.__contains__
    unbroken = prepared.train("unbroken")
    for stop in (4, 7):
        prepared.train(f"resumed-{stop}", stop_after=stop)
        if stop > 5:
            faults["loss"] = NO_FAULT  # a fault of the machine does not come back; the skip stays
        path = prepared.train(f"resumed-{stop}")
        assert_same_model(unbroken, path)
        assert read_record(path / "interventions.json") == read_record(unbroken / "interventions.json")
        faults["loss"] = {5}.__contains__


def test_training_that_was_never_healthy_ends_with_one_line(prepare: Prepare, faults: dict[str, Any]) -> None:
    prepared = prepare()
    faults["gradient"] = lambda step: step >= 2
    with pytest.raises(SeedbedError) as caught:
        prepared.train("run")
    line = str(caught.value)
    assert line.startswith(
        "train: the gradient is not finite at step 5, the 4th bad step in a row: lower train.matrix_lr"
    )
    assert "autopsies/step-000000005.json" in line and not (prepared.root / "run" / "model.safetensors").exists()


LONG = {"train.steps": 64, "train.rewind_margin_steps": 6, "train.bad_steps_in_a_row": 3}


def test_a_poisoned_batch_is_skipped_and_its_documents_are_named(prepare: Prepare, faults: dict[str, Any]) -> None:
    prepared = prepare(LONG)
    faults["text"] = {50}.__contains__
    path = prepared.train("run")
    (told,) = prepared.of_kind("intervention")
    assert (told["step"], told["action"], told["cause"]) == (50, "skip", "loss spike")
    assert told["loss"] > told["limit"] > told["usual"] > 0
    autopsy = read_json(path / told["autopsy"])
    loader_says = prepared.context("loader")
    worst = max(autopsy["rows"], key=lambda row: row["loss"])
    assert worst["row"] == 3  # the row that was spoilt
    assert {d["id"] for d in told["suspects"][:1]} <= {d["id"] for d in worst["documents"]}
    assert {"id", "source", "domain", "loss", "rows"} <= told["suspects"][0].keys()
    named = {document["id"] for row in autopsy["rows"] for document in row["documents"]}
    assert named == {document["id"] for document in autopsy["documents"]} == documents_of(loader_says, 50)


def documents_of(context: Any, step: int) -> set[str]:
    from seedbed.train.measure import open_data

    return {span.id for row in open_data(context).loader.documents(step) for span in row}


def test_harmed_weights_are_left_for_a_checkpoint_from_before(
    prepare: Prepare, faults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare({**LONG, "train.checkpoint_seconds": 1e-9, "train.keep_checkpoints": 20})
    faults["text"] = {50, 51, 52}.__contains__
    path = prepared.train("run")
    told = prepared.of_kind("intervention")
    assert [(t["step"], t["action"]) for t in told] == [(50, "skip"), (51, "skip"), (52, "rewind")]
    assert told[-1]["skipped"] == (44, 53) and told[-1]["to_step"] == 44
    assert [e["step"] for e in prepared.of_kind("resume")] == [44]
    losses = np.load(path / "losses.npy")
    assert np.flatnonzero(np.isnan(losses)).tolist() == list(range(44, 53))
    steps = [entry["step"] for entry in read_json(path / "history.json")["steps"]]
    assert steps == list(range(1, 65))
    assert read_json(path / "history.json")["steps"][-1]["tokens"] == (64 - 9) * prepared.recipe.train.batch_tokens

    # the same when it was killed after going back, and when no checkpoint but the first step was left
    killed = prepared.train("killed", stop_after=54)  # 52 steps, then two more after going back
    prepared.train("killed")
    assert_same_model(path, killed)
    rare = prepared.recipe.train.model_copy(update={"checkpoint_seconds": 1e9})
    again = prepared.train("again", prepared.recipe.model_copy(update={"train": rare}))
    assert_same_model(path, again)


def test_training_goes_back_only_so_often(prepare: Prepare, faults: dict[str, Any]) -> None:
    prepared = prepare({**LONG, "train.max_rewinds": 1})
    faults["loss"] = lambda step: step >= 50
    with pytest.raises(SeedbedError, match="the loss is not finite at step 55, the 3rd bad step in a row"):
        prepared.train("run")
    assert [t["action"] for t in prepared.of_kind("intervention")] == ["skip", "skip", "rewind", "skip", "skip", "stop"]


def test_spikes_are_judged_against_median_and_deviation() -> None:
    draw = np.random.default_rng(0)
    usual = (3.0 + 0.1 * draw.standard_normal(128)).astype(np.float32)
    assert spike("s", usual, 3.5, 8.0) is None
    assert spike("s", usual, float(usual.max()), 8.0) is None
    found = spike("s", usual, 4.2, 8.0)
    assert found is not None and found.usual == pytest.approx(3.0, abs=0.05)
    assert found.limit == pytest.approx(3.0 + 8 * 0.1, rel=0.06)  # robust: an estimate of 8 standard deviations
    usual[::10] = 9.0  # outliers move the limit little
    assert spike("s", usual, 9.5, 8.0) is not None
    usual[::10] = np.nan  # skipped steps do not count
    assert spike("s", usual, 4.2, 8.0) is not None and spike("s", usual, 3.4, 8.0) is None
    assert spike("s", usual[: LEAST_STEPS - 1], 100.0, 8.0) is None
    steady = np.full(64, 2.0, np.float32)
    assert spike("s", steady, 2.05, 8.0) is None and spike("s", steady, 2.2, 8.0) is not None
    norms = np.exp(draw.standard_normal(128) * 0.1)
    assert spike("s", norms, 9.0, 8.0, logarithmic=True) is None
    assert spike("s", norms, 12.0, 8.0, logarithmic=True) is not None


def test_a_damaged_record_of_interventions_is_named(tmp_path: Path) -> None:
    for content in ("[1]", '[{"step": 1}]', '{"a": 1}', "no json"):
        (tmp_path / "interventions.json").write_text(content)
        with pytest.raises(SeedbedError, match=r"interventions\.json is"):
            read_record(tmp_path / "interventions.json")
    (tmp_path / "interventions.json").write_text(json.dumps([]))
    assert read_record(tmp_path / "interventions.json") == []
