"""The `measure` stage: what this machine should use (precision, compile, micro-batch), and how many steps the minutes buy.

Each candidate trains for a moment on the real batches. The choice is kept per machine and recipe, so that a second run of a
recipe takes the same number of steps; it is written into the run's recipe, which then depends on no clock.
"""

import math
import os
import time
from dataclasses import replace
from typing import Any

import torch

from seedbed.errors import InputError, SeedbedError
from seedbed.files import read_json, sha256_json, write_json
from seedbed.model.arithmetic import training_flops_per_token
from seedbed.model.config import ARCHITECTURES, TransformerConfig
from seedbed.plan.layout import fitting_work
from seedbed.recipe.layout import AUTO, divisible, parse_layout
from seedbed.recipe.schema import MOST_STEPS, Recipe
from seedbed.run.machine import accelerated_dtypes, cache_dir, describe, free_memory_bytes, usable_cores
from seedbed.run.receipt import code_sha256
from seedbed.run.stages import StageContext
from seedbed.tokens.batch_plan import BatchPlan
from seedbed.tokens.data_order import open_loader
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.tokens.vocabulary import SMALLEST
from seedbed.train.compiling import compiling_pays, remember_compiled
from seedbed.train.data import TrainingData
from seedbed.train.execution import FULL_MICRO_BATCH_TOKENS, Execution
from seedbed.train.float8 import has_float8
from seedbed.train.host_fit import fitting_rows
from seedbed.train.model_parts import attention_parts, experts_config, latent_config
from seedbed.train.objectives import make_objective
from seedbed.train.recompute import Recompute
from seedbed.train.trials import Trials

HOST_MEMORY_BYTES = 4e9  # what a rank on a CPU may plan with: such ranks are for tests, several on one machine
# Where the search for a GPU's micro-batch begins: its products gain nothing beyond, and each try that does not fit costs a model.
MOST_MICRO_BATCH_TOKENS = 4 * FULL_MICRO_BATCH_TOKENS
# Allowance for validation, samples, checkpoints and imports: with 5% a quiet run of 150 s ended 3.7% late, one of 300 s 0.5%
# (bench/train_text.py mix30). The report shows what they took.
RESERVED_FRACTION = 0.08
LITTLE_LEFT = 0.75  # of the minutes spent before training: it is said; the default run spends a tenth of them


def choose_device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device: 'cuda' was asked for and torch sees no CUDA device: use cpu or auto")
    return wanted


def model_config(recipe: Recipe, vocab_size: int) -> TransformerConfig:
    """The transformer that a resolved recipe describes."""
    model = recipe.model
    assert model.layers and model.width and model.heads and model.kv_heads and model.mlp_width and model.context
    base = TransformerConfig(
        vocab_size, model.layers, model.width, model.heads, model.kv_heads, model.mlp_width, model.context
    )
    config = ARCHITECTURES[model.architecture](base)
    config = replace(config, **attention_parts(model, config))
    causal = recipe.train.objective != "masked"
    config = replace(config, causal=causal, ngram_rows=model.ngram_rows or 0, prior_order=model.prior_order or 0)
    config = replace(config, experts=experts_config(model), latent=latent_config(model))
    if config.experts and not config.experts.dense_layers:
        # without dense layers their width says nothing: published configurations then name the experts'
        config = replace(config, mlp_width=config.experts.expert_width)
    # the latents' norms take the place of QK-norm, and a cache of latents could not hold value embeddings
    if config.latent:
        config = replace(config, qk_norm=False, qk_norm_weights=False, value_embeddings=False)
    return config


def open_data(context: StageContext) -> TrainingData:
    recipe = context.recipe
    shards = context.inputs["tokenize"].path / "train"
    loader = open_loader(shards, recipe, lambda message: context.emit("note", message=message))
    order = recipe.model.prior_order or 0
    prior_path = context.inputs["count"].path / "train.prior" if order else None
    objective = make_objective(recipe, Tokenizer.load(context.inputs["tokenizer"].path / "tokenizer.json"))
    return TrainingData(loader, prior_path, order, objective)


def run_measure(context: StageContext) -> dict[str, Any]:
    started = time.monotonic()
    recipe, train = context.recipe, context.recipe.train
    device = choose_device(train.device)
    identity = sha256_json(
        [recipe.model_dump(mode="json", exclude={"cost"}), describe(), code_sha256(), context.inputs["tokenize"].digest]
    )
    summary = read_kept(identity)
    if summary is None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "inductor"))
        vocab_size = Tokenizer.load(context.inputs["tokenizer"].path / "tokenizer.json").vocab_size
        config = model_config(recipe, vocab_size)
        threads = train.threads or usable_cores()[0]
        if is_copies(train.parallel):
            summary = measure(context, config, device, threads, started)
            keep(identity, summary)
        else:
            summary = without_measuring(recipe, config, device, threads)
    write_json(context.path / "measure.json", summary)
    return summary


def measure(
    context: StageContext, config: TransformerConfig, device: str, threads: int, started: float
) -> dict[str, Any]:
    """Try what may pay on the real batches, and turn the horizon into steps of the fastest. `started`: of the stage."""
    recipe, train = context.recipe, context.recipe.train
    data = open_data(context)
    trials = Trials(context, config, data)
    precisions = choose_precisions(train.precision, device)
    micro_rows = first_rows(recipe, config, device, data.loader.batch_rows)
    recompute: Recompute = "none" if train.recompute == "auto" else train.recompute
    base = Execution(device, precisions[0], False, threads, micro_rows, recompute, train.loss_chunk_tokens)
    if train.compile != "on":
        for precision in precisions:
            trials.attempt(replace(base, precision=precision))
    counting = read_json(context.inputs["count"].path / "stage.json")["seconds"] if config.prior_order else 0.0
    eager = trials.best[0] if trials.best else None
    remaining = horizon_seconds(recipe, config, eager) - counting - (time.monotonic() - started)
    if compiling_pays(train.compile, config, base, remaining):
        precision = trials.best[1].precision if trials.best else base.precision
        if trials.attempt_compiled(replace(base, precision=precision, compile=True)):
            remember_compiled(config, base)
    assert trials.best is not None
    step_seconds, execution, engine = trials.best
    spent = counting + time.monotonic() - started
    steps = horizon_steps(recipe, config, step_seconds, spent)
    if train.minutes is not None and spent > LITTLE_LEFT * train.minutes * 60:
        context.emit("note", message=little_left(train.minutes, counting, spent, steps))
    most = steps_before_repetition(recipe, data)
    if steps > most:
        context.emit(
            "note",
            message=f"{train.minutes:g} minutes would be {data.loader.epochs(steps):.1f} passes over the corpus: "
            f"training ends after {train.max_epochs:g} (train.max_epochs; more text would use the time better)",
        )
        steps = int(most)
    context.state["engine"] = engine  # None: of the candidates on a GPU only the last is kept
    return {
        "device": device,
        "precision": execution.precision,
        "compile": execution.compile,
        "threads": execution.threads,
        "micro_batch_rows": execution.micro_batch_rows,
        "recompute": execution.recompute,
        "steps": steps,
        "step_seconds": round(step_seconds, 5),
        "seconds": round(time.monotonic() - started, 2),
        "candidates": trials.tried,
    }


def little_left(minutes: float, counting: float, spent: float, steps: int) -> str:
    """What to say, and what to do, when the minutes were nearly over before training."""
    counted = f"counting n-grams took {counting:,.0f} s and " if counting else ""
    cheaper = ", or --set model.prior_order=0, which counts nothing" if counting > spent / 2 else ""
    return (
        f"{counted}measuring {spent - counting:,.0f} s of the {minutes:g} minutes: what is left is {steps:,} "
        f"step{'s' * (steps != 1)} of training. For more of it give more --minutes{cheaper}"
    )


def first_rows(recipe: Recipe, config: TransformerConfig, device: str, batch_rows: int) -> int:
    """Rows of the micro-batch to begin with: the recipe's, else the batch's, of which a GPU takes no more than fill it amply and
    a CPU no more than its memory holds.
    """
    train = recipe.train
    rows = train.micro_batch_rows or batch_rows
    if device != "cpu":
        while (
            train.micro_batch_rows is None and rows % 2 == 0 and rows // 2 * config.context >= MOST_MICRO_BATCH_TOKENS
        ):
            rows //= 2
        return rows
    fitting = fitting_rows(config, rows, train.optimizer, train.recompute == "full", free_memory_bytes())
    return train.micro_batch_rows or fitting


def check_machine(recipe: Recipe) -> None:
    """Refuse what this machine can never train, whatever the corpus gives: before the corpus is read, which may take days."""
    train = recipe.train
    device = choose_device(train.device)
    choose_precisions(train.precision, device)
    if not is_copies(train.parallel):
        if train.minutes is not None:
            raise InputError(
                f"train.minutes: minutes are measured on one device, and {train.parallel} cuts the model: "
                "give train.steps or train.tokens"
            )
        return
    assert train.batch_tokens and recipe.model.context
    smallest = model_config(recipe, recipe.tokenizer.vocab_size or SMALLEST)
    first_rows(recipe, smallest, device, train.batch_tokens // recipe.model.context)


def is_copies(parallel: str) -> bool:
    """Whether every rank holds the whole model, so that one of them can measure alone."""
    return parallel == AUTO or parse_layout(parallel).copies_only


def without_measuring(recipe: Recipe, config: TransformerConfig, device: str, threads: int) -> dict[str, Any]:
    """A layout that cuts the model cannot be timed on rank 0 alone: what the recipe says, and arithmetic for the rest."""
    train, layout = recipe.train, parse_layout(recipe.train.parallel)
    assert train.minutes is None, "refused before (check_machine)"
    if train.micro_batch_rows is None:
        memory = torch.cuda.get_device_properties(0).total_memory if device == "cuda" else HOST_MEMORY_BYTES
        work = fitting_work(config, divisible(recipe), layout, memory, train.optimizer)
        micro_rows, recompute = work.micro_rows, "full" if work.recompute else "none"
    else:
        micro_rows, recompute = train.micro_batch_rows, "none"
    precision = "bfloat16" if device == "cuda" else "float32"
    return {
        "device": device,
        "precision": precision if train.precision == "auto" else train.precision,
        "compile": train.compile == "on",
        "threads": threads,
        "micro_batch_rows": micro_rows,
        "recompute": recompute if train.recompute == "auto" else train.recompute,
        "steps": horizon_steps(recipe, config, 1.0, 0.0),
        "step_seconds": None,
        "seconds": 0.0,
        "candidates": [],
    }


def choose_precisions(wanted: str, device: str) -> list[str]:
    if wanted == "float8" and not has_float8(device):
        raise InputError(
            "train.precision: 'float8' needs a GPU of compute capability 8.9 or more: use bfloat16 or auto"
        )
    if wanted != "auto":
        return [wanted]
    if device == "cuda":
        return ["bfloat16"]
    return ["float32", "bfloat16"] if "bfloat16" in accelerated_dtypes() else ["float32"]


def horizon_seconds(recipe: Recipe, config: TransformerConfig, step_seconds: float | None) -> float:
    """About how long training will take, to judge whether compiling pays."""
    train = recipe.train
    if train.minutes is not None:
        return train.minutes * 60
    return horizon_steps(recipe, config, 1.0, 0.0) * (step_seconds or 1.0)


def horizon_steps(recipe: Recipe, config: TransformerConfig, step_seconds: float, spent_seconds: float) -> int:
    """The steps that the recipe's horizon comes to, at least one. Raises InputError above MOST_STEPS."""
    train, plan = recipe.train, BatchPlan.of(recipe)
    assert recipe.model.context
    if train.steps is not None:
        return train.steps
    if train.minutes is not None:
        left = (train.minutes * 60 - spent_seconds) * (1 - RESERVED_FRACTION)
        # a smaller batch takes its share of a full one's time
        return min(MOST_STEPS, plan.steps_for(math.floor(left / step_seconds) * plan.rows))
    if train.tokens is not None:
        rows = train.tokens / recipe.model.context
    else:
        assert train.flops is not None
        rows = train.flops / (training_flops_per_token(config) * recipe.model.context)
    steps = plan.steps_for(rows)
    if steps > MOST_STEPS:
        field = "tokens" if train.tokens else "flops"
        raise InputError(f"train.{field}: {steps:.3g} steps, and {MOST_STEPS:,} are the most: give less of them")
    return steps


def steps_before_repetition(recipe: Recipe, data: TrainingData) -> float:
    """The steps after which minutes only repeat the corpus. Other horizons are taken at their word; a mixture has its caps."""
    train, loader = recipe.train, data.loader
    if train.minutes is None or loader.mixture is not None:
        return math.inf
    assert train.max_epochs
    return loader.plan.steps_for(train.max_epochs * loader.num_rows)


def read_kept(identity: str) -> dict[str, Any] | None:
    path = cache_dir() / "measured" / f"{identity[:24]}.json"
    try:
        return read_json(path) if path.is_file() else None
    except SeedbedError:
        return None


def keep(identity: str, summary: dict[str, Any]) -> None:
    try:
        path = cache_dir() / "measured" / f"{identity[:24]}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, summary)
    except OSError:
        pass  # a read-only cache: the next run measures again
