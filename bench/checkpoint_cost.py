"""What a checkpoint costs the training loop, beside what writing it in the loop would cost.

    python bench/checkpoint_cost.py --size 2M --size 20M

Takes the weights and optimizer state of the default model at each size and saves them several times. The loop stands still
for the copy; the writing goes on beside it, here with nothing else to do. "in the loop" is the same file written and hashed
by the loop itself: safetensors' own writer, fsync, SHA-256.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from seedbed.files import sha256_file, sync, write_json
from seedbed.model.transformer import build_model
from seedbed.recipe.resolve import load_recipe
from seedbed.run.machine import describe
from seedbed.train.checkpoints import Checkpoints
from seedbed.train.measure import model_config
from seedbed.train.optimizers import Optimizer
from seedbed.train.store import live_weights

RESULT = Path(__file__).parent / "results" / "checkpoint_cost.json"


def median_seconds(work: Callable[[], Any], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return round(statistics.median(taken), 4)


def measure(size: str, folder: Path, times: int) -> dict[str, Any]:
    recipe = load_recipe(settings=["train.steps=100"], size=size)
    model = build_model(model_config(recipe, 8192), 1, "cpu")
    optimizer = Optimizer(model, recipe.train, 100)
    tensors = {f"model/{name}": value for name, value in live_weights(model).items()}
    tensors |= {f"optimizer/{name}": value for name, value in optimizer.state().items()}

    def in_the_loop() -> None:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, folder / "plain")
        sync(folder / "plain")
        sha256_file(folder / "plain")

    told: list[dict[str, Any]] = []
    checkpoints = Checkpoints(folder / "checkpoints", {}, 2, emit=lambda kind, **fields: told.append(fields))
    for step in range(times + 1):
        checkpoints.save(step, tensors, {}, wait=True)
    told = told[1:]  # the first save makes the buffers
    return {
        "size": size,
        "megabytes": round(sum(tensor.nbytes for tensor in tensors.values()) / 1e6, 1),
        "copy_seconds": statistics.median(entry["copy_seconds"] for entry in told),
        "write_seconds": statistics.median(entry["write_seconds"] for entry in told),
        "load_seconds": median_seconds(lambda: checkpoints.load_newest(tensors), times),
        "in_the_loop_seconds": median_seconds(in_the_loop, times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--size", action="append", dest="sizes")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--out", type=Path, help="where to write; default: a temporary folder")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    results = []
    for size in options.sizes or ["2M", "20M"]:
        folder = Path(tempfile.mkdtemp(dir=options.out))
        try:
            results.append(measure(size, folder, options.times))
        finally:
            shutil.rmtree(folder)
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(),
        "command": "python bench/checkpoint_cost.py",
        "results": results,
    }
    write_json(RESULT, record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
