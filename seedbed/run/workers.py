"""Ranks beyond the first under torchrun: they wait for rank 0's data stages, then train with it."""

import os
import signal
from pathlib import Path
from typing import Any

from seedbed.errors import InputError
from seedbed.plan.shape import planned_config
from seedbed.recipe.layout import AUTO, Layout, check_layout, check_parts, divisible, parse_layout
from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.stages import Stage, StageContext, StageOutput
from seedbed.run.stop import StopSignal


def this_rank() -> int:
    return int(os.environ.get("RANK", "0")) if num_ranks() > 1 else 0


def num_ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def settle_layout(recipe: Recipe) -> Recipe:
    """The recipe with a layout for the ranks that torchrun started. Refuses one that cannot be, before anything is done.

    Ranks on a CPU hold copies unless told otherwise; on GPUs "auto" asks the planner.
    """
    ranks, wanted = num_ranks(), recipe.train.parallel
    if wanted == AUTO:
        if ranks == 1:
            return recipe
        layout = choose_for_gpus(recipe, ranks) or Layout(dp=ranks)
    else:
        layout = parse_layout(wanted)
    check_recipe(layout, recipe, ranks)
    for _, tokens in recipe.train.batch_warmup:
        rows = tokens // divisible(recipe).context
        if rows % layout.row_ways or rows // layout.row_ways < layout.pp:
            ways = f"rows that {layout.row_ways} devices share evenly"
            raise InputError(
                f"train.batch_warmup: {tokens} tokens make {rows} rows, and {layout} needs "
                f"{f'{ways}, {layout.pp} or more for each' if layout.pp > 1 else ways}: begin with more, or change a degree"
            )
    return with_parallel(recipe, str(layout))


def check_recipe(layout: Layout, recipe: Recipe, ranks: int) -> None:
    """Refuse a layout in which this recipe cannot be trained on so many ranks."""
    check_layout(layout, divisible(recipe), ranks)
    check_parts(layout, planned_config(recipe))
    if recipe.train.precision == "float8" and not layout.copies_only:
        raise InputError(f"train.precision: float8 is not made for {layout}: use bfloat16, or dp alone")


def with_parallel(recipe: Recipe, parallel: str) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"parallel": parallel})})


def choose_for_gpus(recipe: Recipe, ranks: int) -> Layout | None:
    """The planner's choice; None without GPUs or where theirs is not in its table."""
    import torch

    from seedbed.plan.chips import find_chip, known_chip
    from seedbed.plan.layout import choose

    if recipe.train.device == "cpu" or not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    if known_chip(name) is None:
        return None
    return choose(planned_config(recipe), divisible(recipe), ranks, find_chip(name), recipe.train.optimizer).layout


def share_with_ranks(recipe: Recipe, out: Path, outputs: dict[str, StageOutput]) -> None:
    """Rank 0 tells the others what to train on. Nothing happens without torchrun."""
    if num_ranks() == 1:
        return
    import torch.distributed as dist

    from seedbed.train.parallel import join_ranks

    join_ranks()
    dist.broadcast_object_list([(recipe, outputs)], src=0)


def follow_rank_zero(stage: Stage, out: Path) -> None:
    """What every other rank does: receive the inputs, resume, train. It writes its part of checkpoints."""
    import torch.distributed as dist

    from seedbed.train.parallel import join_ranks

    # while this rank waits inside a call that no handler of Python's interrupts, a signal ends it: it has nothing to save
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    join_ranks()
    received: list[Any] = [None]
    dist.broadcast_object_list(received, src=0)
    recipe, outputs = received[0]
    inputs = {name: outputs[name] for name in stage.inputs}
    key = stage.key(recipe, inputs)
    if (out / "stages" / f"{stage.name}-{key[:12]}").exists():
        return  # trained before: rank 0 has nothing to do either
    path = out / "stages" / f"{stage.name}-{key[:12]}.partial"
    stop = StopSignal()
    with stop.installed():
        stage.run(StageContext(stage.name, recipe, path, inputs, EventLog(None), stop.check))
