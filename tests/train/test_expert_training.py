"""Experts and latent attention in training: exact resume, loads that even out, and nothing moved by a step that is dropped."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prepared import Prepared, assert_same_model
from safetensors.torch import load_file

from seedbed.files import read_json
from seedbed.recipe.dump import load_resolved
from seedbed.run.folder import RunFolder
from seedbed.run.pipeline import STAGE_NAMES, apply_measured
from seedbed.run.stages import load_output
from seedbed.train.engine import Engine, Execution
from seedbed.train.measure import model_config, open_data
from seedbed.train.parallel import Ranks

MODELS = {
    "experts": {"model.num_experts": 4, "model.shared_experts": 1, "model.layers": 2},
    "latent attention": {"model.architecture": "llama", "model.attention": "mla", "model.ngram_rows": 0,
                         "model.prior_order": 0, "model.num_experts": 4, "model.dense_layers": 1, "model.layers": 2,
                         "model.balance": "loss", "model.router_z_loss": 0.001, "train.optimizer": "adamw"},
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_resumed_run_with_experts_equals_an_unbroken_one(prepare: Callable[..., Prepared], name: str) -> None:
    prepared = prepare(MODELS[name])
    unbroken = prepared.train("unbroken")
    steps = prepared.of_kind("step")
    assert all(0 <= e["expert_load_least"] <= 1 <= e["expert_load_most"] <= 4 for e in steps)
    assert [len(e["expert_loads"]) for e in steps] == [2 - MODELS[name].get("model.dense_layers", 0)] * len(steps)
    resumed = prepared.train("resumed", stop_after=5)
    prepared.train("resumed")
    assert [e["step"] for e in prepared.of_kind("resume")] == [5]
    assert_same_model(unbroken, resumed)
    biases = [value for key, value in load_file(unbroken / "model.safetensors").items() if key.endswith("bias_E")]
    assert all(bias.abs().max() >= 0.01 for bias in biases) and bool(biases) == (name == "experts")


def make_engine(prepared: Prepared, micro_batch_rows: int) -> Engine:
    context = prepared.context("engine")
    config = model_config(prepared.recipe, prepared.outputs["tokenizer"].summary["vocab_size"])
    execution = Execution("cpu", "float32", False, 1, micro_batch_rows)
    return Engine(config, prepared.recipe.train, 12, 1, execution, open_data(context), Ranks())


@pytest.mark.parametrize("name", MODELS)
def test_gradients_loads_and_biases_do_not_depend_on_the_micro_batch(
    prepare: Callable[..., Prepared], name: str
) -> None:
    prepared = prepare(MODELS[name])
    whole, single = make_engine(prepared, 4), make_engine(prepared, 1)
    for engine in (whole, single):
        engine.gradients(0)
    for (key, one), other in zip(whole.model.named_parameters(), single.model.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad.to_dense(), other.grad.to_dense(), rtol=1e-4, atol=1e-6, msg=key)
    for engine in (whole, single):
        engine.update(0, engine.gradients(0))
    assert whole.model.expert_loads() == single.model.expert_loads()
    assert all(sum(loads) == pytest.approx(4) for loads in whole.model.expert_loads().values())


def test_a_dropped_step_moves_no_bias_and_its_loads_are_forgotten(prepare: Callable[..., Prepared]) -> None:
    engine = make_engine(prepare(MODELS["experts"]), 2)
    before = {key: value.clone() for key, value in engine.model.state_dict().items()}
    engine.gradients(0)
    engine.drop()
    assert all(torch.equal(before[key], value) for key, value in engine.model.state_dict().items())
    engine.gradients(1)
    tokens = engine.data.loader.plan.rows_at(1) * engine.config.context
    assert [int(router.load_E.sum()) for router in engine.model.routers().values()] == [2 * tokens] * 2


@pytest.mark.slow
def test_moe_small_at_reduced_size_learns_evens_out_and_resumes(tmp_path: Path) -> None:
    settings = ["train.steps=150", "train.batch_tokens=1024", "train.compile=off", "train.precision=float32",
                "train.threads=1", "tokenizer.vocab_size=1024", "model.prior_order=0", "model.ngram_rows=0",
                'corpus.sources=[{path="builtin:kjv", max_bytes=400000}]']  # fmt: skip
    command = [sys.executable, "-m", "seedbed", "run", "moe-small", "--size", "300k", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, *(part for setting in settings for part in ("--set", setting))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    folder = RunFolder(tmp_path / "run")
    names = STAGE_NAMES[: STAGE_NAMES.index("train") + 1]
    outputs: dict[str, Any] = {name: load_output(folder.stage_path(name)) for name in names}
    unbroken = outputs["train"].path
    losses = np.load(unbroken / "losses.npy")
    assert losses[-20:].mean() < losses[:20].mean() - 2
    steps = read_json(unbroken / "history.json")["steps"]
    late = [pair for entry in steps[-20:] for pair in entry["expert_loads"]]
    assert np.mean([least for least, _ in late]) > 0.6 and np.mean([most for _, most in late]) < 1.5
    recipe = apply_measured(load_resolved(tmp_path / "run" / "recipe.toml"), outputs["measure"].summary)
    prepared = Prepared(recipe, outputs, tmp_path, [])
    resumed = prepared.train("resumed", stop_after=70)
    prepared.train("resumed")
    assert [e["step"] for e in prepared.of_kind("resume")] == [70]
    assert_same_model(unbroken, resumed)
