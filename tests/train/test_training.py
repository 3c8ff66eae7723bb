"""Training is exact: the same weights however a run was cut, batched or repeated."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prepared import Prepared, assert_same_model

from seedbed.errors import InputError, SeedbedError
from seedbed.files import read_json, sha256_file
from seedbed.recipe.schema import Recipe
from seedbed.run.stages import describe_files
from seedbed.train.checkpoints import list_checkpoints
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution
from seedbed.train.gradients import clip_gradients, gradient_values, norm_of
from seedbed.train.measure import horizon_steps, model_config, open_data
from seedbed.train.parallel import Ranks

ARCHITECTURES = [
    {"model.architecture": "seedbed"},
    {"model.architecture": "seedbed", "model.prior_order": 0, "model.kv_heads": 1, "model.heads": 2},
    {"model.architecture": "gpt2", "model.ngram_rows": 0, "model.prior_order": 0, "train.optimizer": "adamw"},
    {"model.architecture": "llama", "model.ngram_rows": 0, "model.prior_order": 0, "train.schedule": "cosine"},
    {"model.architecture": "bert", "model.ngram_rows": 0, "model.prior_order": 0, "train.objective": "masked",
     "train.mask_whole_words": True},
    {"model.prior_order": 0, "train.objective": "span"},
    {"model.prior_order": 0, "train.objective": "fim"},
]  # fmt: skip


@pytest.mark.parametrize("changes", ARCHITECTURES)
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(
    prepare: Callable[..., Prepared], changes: dict[str, Any]
) -> None:
    prepared = prepare(changes)
    unbroken = prepared.train("unbroken")
    resumed = prepared.train("resumed", stop_after=5)
    assert not (resumed / "model.safetensors").exists()
    prepared.train("resumed", stop_after=3)
    prepared.train("resumed")
    assert [e["step"] for e in prepared.events if e["kind"] == "resume"] == [5, 8]
    assert_same_model(unbroken, resumed)
    assert len(np.load(resumed / "losses.npy")) == 12
    tables = [read_json(path / "history.json") for path in (unbroken, resumed)]
    steps = [[entry["step"] for entry in table["steps"]] for table in tables]
    assert steps[0] == steps[1] == list(range(1, 13))


def test_training_learns(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare({"train.steps": 60})
    losses = np.load(prepared.train("run") / "losses.npy")
    own = np.load(prepared.root / "run" / "transformer_losses.npy")
    assert own[-5:].mean() < own[:5].mean() - 0.5
    assert losses[-5:].mean() < losses[:5].mean()


def test_two_runs_of_a_recipe_are_bit_identical_and_another_seed_is_not(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare()
    one, other = prepared.train("one"), prepared.train("other")
    assert_same_model(one, other)
    reseeded = prepared.train("reseeded", prepared.recipe.model_copy(update={"seed": 2}))
    assert sha256_file(reseeded / "model.safetensors") != sha256_file(one / "model.safetensors")


def test_micro_batches_keep_the_global_batch(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare()
    weights: dict[int, torch.Tensor] = {}
    losses: dict[int, list[float]] = {}
    for rows in (4, 2, 1):
        engine = make_engine(prepared, {"micro_batch_rows": rows, "steps": 3})
        start = torch.cat([p.detach().flatten() for p in engine.model.parameters()])
        losses[rows] = [engine.step(step).loss for step in range(3)]
        weights[rows] = torch.cat([p.detach().flatten() for p in engine.model.parameters()]) - start
    for rows in (2, 1):
        np.testing.assert_allclose(losses[rows], losses[4], rtol=1e-4)
        # Adam's first steps turn the rounding of a gradient that is zero in truth into a full move, so not each weight agrees
        assert (weights[rows] - weights[4]).norm() < 0.02 * weights[4].norm()


def test_a_growing_batch_counts_its_tokens_and_resumes_where_it_stood(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare({"train.batch_warmup": [[3, 16], [4, 32]]})
    unbroken = prepared.train("unbroken")
    prepared.train("resumed", stop_after=5)
    prepared.train("resumed")
    assert_same_model(unbroken, prepared.root / "resumed")
    tokens = [entry["tokens"] for entry in read_json(unbroken / "history.json")["steps"]]
    assert tokens == [16, 32, 48, 80, 112, 144, 176, 240, 304, 368, 432, 496]


@pytest.mark.parametrize(
    ("horizon", "steps"), [({"train.tokens": 240}, 8), ({"train.tokens": 100}, 5), ({"train.tokens": 500}, 12)]
)
def test_a_horizon_in_tokens_counts_the_smaller_batches(
    small_recipe: Callable[..., Recipe], horizon: dict[str, Any], steps: int
) -> None:
    recipe = small_recipe({"train.steps": None, "train.batch_warmup": [[3, 16], [4, 32]], **horizon})
    assert horizon_steps(recipe, model_config(recipe, 300), 1.0, 0.0) == steps


@pytest.mark.parametrize("field", ["train.tokens", "train.flops"])
def test_a_horizon_of_more_steps_than_anybody_trains_is_refused(
    small_recipe: Callable[..., Recipe], field: str
) -> None:
    recipe = small_recipe({"train.steps": None, field: 10**30})
    with pytest.raises(InputError, match=rf"{field}: .* steps, and 1,000,000,000 are the most"):
        horizon_steps(recipe, model_config(recipe, 300), 1.0, 0.0)


def make_engine(prepared: Prepared, train_fields: dict[str, Any] | None = None, **execution: Any) -> Engine:
    train = prepared.recipe.train.model_copy(update=train_fields or {})
    config = model_config(prepared.recipe, prepared.outputs["tokenizer"].summary["vocab_size"])
    chosen = replace(Execution("cpu", "float32", False, 1, train.micro_batch_rows or 4), **execution)
    return Engine(config, train, train.steps or 1, 1, chosen, open_data(prepared.context("engine")), Ranks())


def test_clipping_scales_dense_and_sparse_gradients_to_one_norm() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(5, 3, sparse=True), torch.nn.Linear(3, 2))
    for limit in (1e-3, 1e6):
        model.zero_grad()
        model(torch.tensor([1, 1, 4])).square().sum().backward()
        before = torch.cat([p.grad.to_dense().flatten() for p in model.parameters()])  # type: ignore[union-attr]
        norm = float(norm_of(gradient_values(model)))
        assert norm == pytest.approx(float(before.norm()), rel=1e-6)
        clip_gradients(model, limit, norm)
        after = torch.cat([p.grad.to_dense().flatten() for p in model.parameters()])  # type: ignore[union-attr]
        torch.testing.assert_close(after, before * min(1.0, limit / float(before.norm())), rtol=2e-3, atol=1e-9)


def test_a_loss_that_is_not_finite_leaves_the_weights_alone(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare()
    engine = make_engine(prepared)
    with torch.no_grad():
        engine.model.head.weight[0, 0] = float("nan")
    before = {name: value.detach().clone() for name, value in engine.model.named_parameters()}
    assert not engine.step(0).loss < float("inf")
    for name, value in engine.model.named_parameters():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num()), name
        assert value.grad is None


def test_a_diverging_run_ends_with_one_line_that_names_the_step(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare({"train.head_lr": 1e30, "train.matrix_lr": 1e30, "train.embedding_lr": 1e30})
    with pytest.raises(SeedbedError, match=r"^train: the (loss|gradient) is not finite at step \d+, the 4th bad step"):
        prepared.train("run")


def damage(checkpoint: Path) -> None:
    state = bytearray((checkpoint / "rank-00000.safetensors").read_bytes())
    state[-1] ^= 1
    (checkpoint / "rank-00000.safetensors").write_bytes(state)


@pytest.mark.parametrize("how", ["flip a bit", "cut the state", "no progress", "progress is no JSON"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(prepare: Callable[..., Prepared], how: str) -> None:
    prepared = prepare()
    unbroken = prepared.train("unbroken")
    path = prepared.train("resumed", stop_after=4)
    prepared.train("resumed", stop_after=3)
    newest = list_checkpoints(path / "checkpoints")[-1]
    assert newest.name == "step-000000007"
    if how == "flip a bit":
        damage(newest)
    elif how == "cut the state":
        os.truncate(newest / "rank-00000.safetensors", 100)
    elif how == "no progress":
        (newest / "progress.json").unlink()
    else:
        (newest / "progress.json").write_text('{"sha')
    prepared.train("resumed")
    notes = [e["message"] for e in prepared.events if e["kind"] == "note"]
    assert len(notes) == 1 and str(newest) in notes[0] and "damaged" in notes[0] and "\n" not in notes[0]
    assert [e["step"] for e in prepared.events if e["kind"] == "resume"] == [4, 4]
    assert_same_model(unbroken, path)


def test_when_every_checkpoint_is_damaged_training_begins_anew(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare()
    path = prepared.train("run", stop_after=4)
    for checkpoint in list_checkpoints(path / "checkpoints"):
        damage(checkpoint)
    prepared.train("run")
    assert_same_model(prepared.train("unbroken"), path)


def test_a_checkpoint_of_another_model_or_recipe_is_refused_and_left(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare()
    path = prepared.train("run", stop_after=4)
    before = describe_files(path / "checkpoints")
    for changes, says in (({"matrix_lr": 0.5}, "recipe or data differ"), ({"seed": 3}, "recipe or data differ")):
        train = prepared.recipe.train.model_copy(update={k: v for k, v in changes.items() if k != "seed"})
        other = prepared.recipe.model_copy(update={"train": train, "seed": changes.get("seed", prepared.recipe.seed)})
        with pytest.raises(
            InputError,
            match=rf"step-000000004 is of another training \(its {says}\): remove it, or choose another --out",
        ):
            prepared.train("run", other)
    wider = prepared.recipe.model_copy(update={"model": prepared.recipe.model.model_copy(update={"width": 64})})
    with pytest.raises(InputError, match=r"step-000000004 is of another training \(its model differs\): "):
        prepared.train("run", wider)
    assert describe_files(path / "checkpoints") == before


def test_checkpoints_are_written_by_the_clock_beside_what_is_the_output(
    prepare: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare({"train.checkpoint_seconds": 1e-9})
    path = prepared.train("run")
    told = [e for e in prepared.events if e["kind"] == "checkpoint"]
    assert [e["step"] for e in told] == list(range(1, 12))  # none after the last step: the model is written then
    assert all(e["bytes"] > 0 and e["copy_seconds"] >= 0 and e["write_seconds"] >= 0 for e in told)
    assert list(describe_files(path)) == [
        "batches.npy", "config.json", "history.json", "losses.npy", "model.safetensors", "ngram.safetensors", "tokenizer.json",
        "transformer_losses.npy",
    ]  # fmt: skip


@pytest.mark.slow
def test_two_ranks_train_what_one_does(
    small_corpus: Path, small_settings: Callable[..., list[str]], tmp_path: Path
) -> None:
    arguments = ["-m", "seedbed", "run", "--corpus", str(small_corpus)]
    for setting in small_settings():
        arguments += ["--set", setting]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    for name, launcher in (("one", []), ("two", torchrun)):
        command = [sys.executable, *launcher, *arguments, "--out", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    one, two = (np.load(next((tmp_path / n / "stages").glob("train-*")) / "losses.npy") for n in ("one", "two"))
    assert two[0] == pytest.approx(one[0], rel=1e-6)
    np.testing.assert_allclose(two, one, rtol=1e-3)  # later Adam amplifies rounding (see the micro-batches above)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_resumed_run_on_a_gpu_equals_an_unbroken_one(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare({"train.device": "cuda", "train.precision": "bfloat16"})
    unbroken = prepared.train("unbroken")
    resumed = prepared.train("resumed", stop_after=5)
    prepared.train("resumed")
    losses = [np.load(path / "losses.npy") for path in (unbroken, resumed)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
