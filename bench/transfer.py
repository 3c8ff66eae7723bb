"""Does the best learning rate stay in its place when the width changes? Train three widths over a grid of multiples of the
derived rates, for Muon and AdamW, and print the held-out losses.

    python bench/transfer.py [--steps 120] [--widths 64 128 256] [--optimizers muon adamw]

A multiple scales the rates of matrices, tables and head together. The rules hold when the best multiple of each width is within
one step of the grid of the others'. Writes bench/results/transfer.json.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

from small_runs import model_config, prepare, settings, train

from seedbed.recipe import load_recipe
from seedbed.run.machine import describe, usable_cores
from seedbed.train.optimizers.group import derive_learning_rates

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
LAYERS, BATCH_TOKENS, VOCAB = 2, 1024, 1024
RESULT = Path(__file__).parent / "results/transfer.json"


def scaled(width: int, steps: int, optimizer: str, multiple: float, seed: int) -> list[str]:
    """Settings with the derived rates times `multiple`."""
    base = settings(LAYERS, width, BATCH_TOKENS, steps, {"train.optimizer": optimizer, "seed": seed})
    recipe = load_recipe(settings=base)
    rates = derive_learning_rates(model_config(recipe, VOCAB), recipe.train)
    named = {"matrix_lr": rates.matrix, "embedding_lr": rates.table, "head_lr": rates.head}
    return [*base, *(f"train.{name}={value * multiple!r}" for name, value in named.items())]


def best_places(losses: dict[str, list[float | None]]) -> dict[str, int]:
    """Width -> place in the grid of its lowest loss. None stands for a run that diverged."""
    return {width: values.index(min(filter(None, values))) for width, values in losses.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--optimizers", nargs="+", default=["muon", "adamw"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="keep the tokens here")
    arguments = parser.parse_args()
    tokens = prepare(arguments.work or Path(tempfile.mkdtemp()) / "run")
    threads = usable_cores()[0]
    result = json.loads(RESULT.read_text()) if RESULT.is_file() else {"optimizers": {}}
    for optimizer in arguments.optimizers:
        losses: dict[str, list[float | None]] = {}
        for width in arguments.widths:
            runs = [
                train(tokens, scaled(width, arguments.steps, optimizer, m, arguments.seed), threads) for m in MULTIPLES
            ]
            losses[str(width)] = [round(run.held_out, 4) if run.held_out < math.inf else None for run in runs]
            shown = "  ".join(f"x{m:g} {run.held_out:.4f}" for m, run in zip(MULTIPLES, runs, strict=True))
            print(f"{optimizer} width {width}: {shown}  ({sum(run.seconds for run in runs):.0f} s)", flush=True)
        places = best_places(losses)
        result["optimizers"][optimizer] = {
            "held_out_nats_per_token": losses,
            "best_multiple": {width: MULTIPLES[place] for width, place in places.items()},
            "within_one_step": max(places.values()) - min(places.values()) <= 1,
            "steps": arguments.steps,
            "seed": arguments.seed,
        }
        result |= {"multiples": MULTIPLES, "layers": LAYERS, "batch_tokens": BATCH_TOKENS}
        result |= {"machine": describe(), "date": time.strftime("%Y-%m-%d")}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
