"""Short training runs on the built-in corpus for the optimizer benchmarks: the transformer alone, no n-gram tables, no expert.

`prepare` tokenizes once; `train` gives the held-out loss of one run. Only the optimizer's settings, the size, the steps and
the seed differ between the runs of a benchmark: data, batches and initialisation are the same functions of them.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch

from seedbed.recipe import load_recipe
from seedbed.recipe.schema import Recipe
from seedbed.run.pipeline import run_pipeline
from seedbed.tokens.loader import Loader
from seedbed.train.data import TrainingData
from seedbed.train.engine import Engine, Execution
from seedbed.train.measure import choose_device, model_config
from seedbed.train.parallel import Ranks

VOCAB = 1024
CONTEXT = 128
HELD_OUT_ROWS = 512
MICRO_ROWS = 16  # of a CPU's micro-batches: activations of a layer of width 64 then stay in the cache


@dataclass(frozen=True)
class Result:
    """Nats per token on held-out text at the end, the mean training loss of the last steps, seconds of the run."""

    held_out: float
    training: float
    seconds: float


def settings(layers: int, width: int, batch_tokens: int, steps: int, changes: dict[str, Any]) -> list[str]:
    values = {
        "tokenizer.vocab_size": VOCAB, "model.layers": layers, "model.width": width, "model.context": CONTEXT,
        "model.ngram_rows": 0, "model.prior_order": 0, "train.batch_tokens": batch_tokens, "train.steps": steps,
    } | changes  # fmt: skip
    return [f"{key}={value}" for key, value in values.items()]


def prepare(folder: Path, vocab: int = VOCAB) -> Path:
    """The built-in corpus as tokens of a vocabulary of that size: the folder of the splits."""
    chosen = settings(2, 32, 1024, 1, {"tokenizer.vocab_size": vocab})
    run = run_pipeline(load_recipe(settings=chosen), folder, lambda event: None, last="tokenize")
    return run.stage_path("tokenize")


def build(tokens: Path, recipe: Recipe, threads: int) -> Engine:
    assert recipe.train.batch_tokens and recipe.train.steps and recipe.tokenizer.vocab_size
    config = model_config(recipe, recipe.tokenizer.vocab_size)
    rows = recipe.train.batch_tokens // CONTEXT
    data = TrainingData(Loader(tokens / "train", CONTEXT, rows, recipe.seed), None, 0)
    device = choose_device("auto")
    precision = recipe.train.precision
    if precision == "auto":
        precision = "float32" if device == "cpu" else "bfloat16"
    micro = min(rows, MICRO_ROWS) if device == "cpu" else rows
    execution = Execution(device, precision, False, threads, micro)
    return Engine(config, recipe.train, recipe.train.steps, recipe.seed, execution, data, Ranks())


def train(
    tokens: Path, chosen: list[str], threads: int, change: Callable[[Engine], None] = lambda engine: None
) -> Result:
    """One run with these recipe settings, from its seed to its held-out loss. A run that diverges has an infinite loss.

    `change`: what no recipe says, done to the engine before its first step.
    """
    recipe = load_recipe(settings=chosen)
    engine = build(tokens, recipe, threads)
    change(engine)
    began = time.perf_counter()
    losses: list[float] = []
    for step in range(recipe.train.steps or 0):
        losses.append(engine.step(step).loss)
        if not losses[-1] < 20:
            return Result(float("inf"), float("inf"), time.perf_counter() - began)
    seconds = time.perf_counter() - began
    last = losses[-max(1, len(losses) // 20) :]
    return Result(held_out_loss(engine, tokens), sum(last) / len(last), seconds)


@torch.no_grad()
def held_out_loss(engine: Engine, tokens: Path) -> float:
    """Nats per token over the first windows of the epoch order that seed 0 gives the held-out split."""
    loader = Loader(tokens / "validation", CONTEXT, 32, 0)
    engine.model.eval()
    total, count = 0.0, 0
    for step in range(HELD_OUT_ROWS // 32):
        windows = torch.from_numpy(loader.batch(step)).to(engine.execution.device)
        losses = engine.model.losses(windows[:, :-1], windows[:, 1:])[0]
        total, count = total + float(losses.sum()), count + losses.numel()
    return total / count
