"""The stages `count`, `measure` and `train`: what each depends on.

Torch is imported when one of them runs, not to know its key.
"""

from typing import Any

from seedbed.recipe.schema import Recipe
from seedbed.run.stages import Stage, StageContext
from seedbed.tokens.data_order import data_key
from seedbed.train.branch import fingerprint

# fields of `train` that no weight depends on, or that `start_from` stands for below
UNSEEN = {
    "checkpoint_seconds",
    "keep_checkpoints",
    "keep_every_steps",
    "stuck_seconds",
    "parallel",
    "start_from",
    "sinks",
}


def count_config(recipe: Recipe) -> Any:
    return {"order": recipe.model.prior_order}


def measure_config(recipe: Recipe) -> Any:
    return train_config(recipe)


def train_config(recipe: Recipe) -> Any:
    """What weights and losses depend on: not how often checkpoints are written, nor how many devices share the work."""
    return {
        "seed": recipe.seed,
        "model": recipe.model.model_dump(),
        "train": recipe.train.model_dump(exclude=UNSEEN),
        "start_from": fingerprint(recipe.train.start_from),
        **data_key(recipe),
    }


def run_count(context: StageContext) -> dict[str, Any]:
    from seedbed.train.count import run_count as run

    return run(context)


def run_measure(context: StageContext) -> dict[str, Any]:
    from seedbed.train.measure import run_measure as run

    return run(context)


def run_train(context: StageContext) -> dict[str, Any]:
    from seedbed.train.loop import run_train as run

    return run(context)


DATA = ("tokenizer", "tokenize", "count")
STAGES = {
    "count": Stage("count", 1, ("tokenize",), count_config, run_count),
    "measure": Stage("measure", 1, DATA, measure_config, run_measure, volatile=("measure.json",)),
    "train": Stage(
        "train",
        1,
        DATA,
        train_config,
        run_train,
        resumable=True,
        volatile=("history.json", "autopsies/*", "stuck-*.txt"),
    ),
}
