"""Steps that Muon needs to the loss that tuned AdamW reaches, on the same data, batches and initial weights, at two widths.

    python bench/optimizers.py [--only muon|adamw] [--layers 2] [--widths 64 128] [--batch-tokens 16384] [--steps 120]

AdamW trains `--steps` steps over a grid of learning rates of the matrices; its best held-out loss is the target. Muon trains
shorter runs, each with its whole schedule, and the steps to the target are read off the line of loss over log steps through its
two longest. Tables, head and gains move alike in both, at the rates that are best for either. The transformer alone is trained,
without n-gram tables and counted expert, on the built-in corpus. Finished runs are kept in bench/results/optimizers.json and not
trained again: the bench can be stopped and started. Uses a GPU where there is one.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

from small_runs import Result, prepare, settings, train

from seedbed.files import write_json
from seedbed.run.machine import describe, usable_cores

# at width 64; AdamW's go with 1 / width (seedbed/train/optimizers/group.py)
ADAMW_RATES = (0.012, 0.024)
MUON_RATES = (0.02, 0.04)
MUON_SHARES = (0.6, 0.8)  # of AdamW's steps
RESULT = Path(__file__).parent / "results/optimizers.json"


def grid(width: int, steps: int) -> list[dict[str, Any]]:
    runs = [{"optimizer": "adamw", "matrix_lr": rate * 64 / width, "steps": steps} for rate in ADAMW_RATES]
    for share in MUON_SHARES:
        runs += [{"optimizer": "muon", "matrix_lr": rate, "steps": round(share * steps)} for rate in MUON_RATES]
    return runs


def train_one(tokens: Path, run: dict[str, Any], threads: int) -> Result:
    changes = {"train.optimizer": run["optimizer"], "train.matrix_lr": run["matrix_lr"], "seed": run["seed"]}
    return train(tokens, settings(run["layers"], run["width"], run["batch_tokens"], run["steps"], changes), threads)


def compare(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """AdamW's best loss, and the steps in which Muon's best rate comes to it."""
    adamw = min((r for r in runs if r["optimizer"] == "adamw"), key=lambda r: r["held_out"])
    best: dict[int, dict[str, Any]] = {}
    for run in runs:
        if run["optimizer"] == "muon" and run["held_out"] < best.get(run["steps"], {"held_out": math.inf})["held_out"]:
            best[run["steps"]] = run
    target = adamw["held_out"]
    found: dict[str, Any] = {"target": target, "adamw_lr": adamw["matrix_lr"], "adamw_steps": adamw["steps"]}
    reached = [steps for steps in sorted(best) if best[steps]["held_out"] <= target]
    found["muon_best"] = {str(steps): [best[steps]["matrix_lr"], best[steps]["held_out"]] for steps in sorted(best)}
    if len(best) >= 2:
        short, long = sorted(best)[-2:]
        slope = (best[long]["held_out"] - best[short]["held_out"]) / math.log(long / short)
        steps = long * math.exp((target - best[long]["held_out"]) / slope)
        found |= {"muon_steps": round(steps, 1), "ratio": round(steps / adamw["steps"], 3)}
    if reached:
        found["reached_in_at_most"] = round(reached[0] / adamw["steps"], 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("muon", "adamw"))
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="keep the tokens here")
    arguments = parser.parse_args()
    tokens = prepare(arguments.work or Path(tempfile.mkdtemp()) / "run")
    threads = usable_cores()[0]
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {"runs": []}
    done: list[dict[str, Any]] = kept["runs"]
    for width in arguments.widths:
        size = {"layers": arguments.layers, "width": width, "batch_tokens": arguments.batch_tokens}
        planned = [{**run, **size, "seed": arguments.seed} for run in grid(width, arguments.steps)]
        for run in planned:
            if arguments.only not in (None, run["optimizer"]) or any(run.items() <= other.items() for other in done):
                continue
            result = train_one(tokens, run, threads)
            done.append({**run, "held_out": round(result.held_out, 4), "seconds": round(result.seconds, 1)})
            print(done[-1], flush=True)
            write_json(RESULT, {**kept, "machine": describe(), "date": time.strftime("%Y-%m-%d")})
        same = [other for other in done if any(run.items() <= other.items() for run in planned)]
        if {run["optimizer"] for run in same} == {"muon", "adamw"}:
            name = f"{arguments.layers} x {width}, batches of {arguments.batch_tokens} tokens, seed {arguments.seed}"
            kept.setdefault("compared", {})[name] = compare(same)
            print(f"{name}: {kept['compared'][name]}", flush=True)
    write_json(RESULT, {**kept, "machine": describe(), "date": time.strftime("%Y-%m-%d")})


if __name__ == "__main__":
    main()
