"""Ranks beyond the first under torchrun: they wait for rank 0's data stages, then train with it."""

import os
import signal
from pathlib import Path
from typing import Any

from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.stages import Stage, StageContext, StageOutput


def this_rank() -> int:
    return int(os.environ.get("RANK", "0")) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0


def share_with_ranks(recipe: Recipe, out: Path, outputs: dict[str, StageOutput]) -> None:
    """Rank 0 tells the others what to train on. Nothing happens without torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    import torch.distributed as dist

    from seedbed.train.parallel import join_ranks

    join_ranks()
    dist.broadcast_object_list([(recipe, outputs)], src=0)


def follow_rank_zero(stage: Stage, out: Path) -> None:
    """What every other rank does: receive the inputs, resume, train. It writes its part of checkpoints."""
    import torch.distributed as dist

    from seedbed.train.parallel import join_ranks

    # rank 0 hears the signal too, and all save and leave at the same step (train/checkpoints/moments.py)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    join_ranks()
    received: list[Any] = [None]
    dist.broadcast_object_list(received, src=0)
    recipe, outputs = received[0]
    inputs = {name: outputs[name] for name in stage.inputs}
    key = stage.key(recipe, inputs)
    if (out / "stages" / f"{stage.name}-{key[:12]}").exists():
        return  # trained before: rank 0 has nothing to do either
    path = out / "stages" / f"{stage.name}-{key[:12]}.partial"
    stage.run(StageContext(stage.name, recipe, path, inputs, EventLog(None)))
