"""Muon's polar iteration in float32 (on the Gram matrix) and in bfloat16 (direct): its time, and the loss it trains to.

    python bench/polar.py times
    python bench/polar.py losses [--width 64] [--steps 120] [--seeds 1 2 3]

`times`: milliseconds for the stacks of matrices in models of 5M and 20M parameters, three steps, the fastest of 9.
`losses`: held-out nats per token after equal steps of 2,048 tokens, trained in bfloat16, with everything else the same.
Writes bench/results/polar.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from small_runs import prepare, settings, train

from seedbed.run.machine import describe, usable_cores
from seedbed.train.host_memory import keep_freed_memory
from seedbed.train.optimizers import group
from seedbed.train.optimizers.polar import orthogonalize, polar_dtype

RESULT = Path(__file__).parent / "results/polar.json"
STACKS = {
    "5M": ((24, 256, 256), (6, 1024, 256), (6, 256, 1024)),
    "20M": ((36, 448, 448), (9, 1792, 448), (9, 448, 1792)),
}
DTYPES = (torch.float32, torch.bfloat16)
BATCH_TOKENS = 2048


def times() -> dict[str, dict[str, list[float]]]:
    """Milliseconds for each stack of a size, by dtype; the two take turns, so that a busy moment meets both."""
    torch.set_num_threads(usable_cores()[0])
    keep_freed_memory()
    found: dict[str, dict[str, list[float]]] = {}
    for size, shapes in STACKS.items():
        found[size] = {str(dtype).removeprefix("torch."): [] for dtype in DTYPES}
        for shape in shapes:
            x_NRC = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            best = dict.fromkeys(DTYPES, float("inf"))
            for _ in range(9):
                for dtype in DTYPES:
                    began = time.perf_counter()
                    orthogonalize(x_NRC, group.POLAR_STEPS, dtype)
                    best[dtype] = min(best[dtype], time.perf_counter() - began)
            for dtype, seconds in best.items():
                found[size][str(dtype).removeprefix("torch.")].append(round(1e3 * seconds, 2))
    return found


def losses(width: int, steps: int, seeds: list[int]) -> dict[str, list[float]]:
    tokens = prepare(Path(tempfile.mkdtemp()) / "run")
    found: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for seed in seeds:
        for name, values in found.items():
            group.polar_dtype = lambda precision, name=name: polar_dtype(name)  # type: ignore[assignment, misc]
            chosen = settings(4, width, BATCH_TOKENS, steps, {"seed": seed, "train.precision": "bfloat16"})
            result = train(tokens, chosen, usable_cores()[0])
            values.append(round(result.held_out, 4))
            print(f"seed {seed}: {name} {result.held_out:.4f} ({result.seconds:.1f} s)", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("times", "losses"))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    if arguments.part == "times":
        kept["milliseconds"] = times()
    else:
        found = losses(arguments.width, arguments.steps, arguments.seeds)
        key = f"4 x {arguments.width}, {arguments.steps} steps of {BATCH_TOKENS} tokens"
        means = {name: round(statistics.mean(values), 4) for name, values in found.items()}
        kept.setdefault("held_out_nats_per_token", {})[key] = {**found, "mean": means}
    RESULT.write_text(json.dumps({**kept, "machine": describe(), "date": time.strftime("%Y-%m-%d")}, indent=1) + "\n")
    print(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
