"""Steps that Muon needs to the loss that tuned AdamW reaches, on the same data, batches and initial weights, at two widths.

    python bench/optimizers.py [--only muon|adamw] [--widths 64 128]

AdamW trains STEPS steps over a grid of learning rates of the matrices; its best held-out loss is the target. Muon trains shorter
runs, each with its whole schedule, and the steps to the target are read off the line of loss over log steps through its two
longest, or stated as a bound where no run reached it. Tables, head and gains move alike in both. The transformer alone is trained
(no n-gram tables, no counted expert) on the built-in corpus. Finished runs are kept in bench/results/optimizers.json and not
trained again: the bench can be stopped and started.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

from small_runs import Result, prepare, settings, train

from seedbed.run.machine import describe, usable_cores

LAYERS, BATCH_TOKENS, STEPS = 2, 16_384, 120
# at width 64; AdamW's go with 1 / width (seedbed/train/optimizers/group.py)
ADAMW_RATES = (0.012, 0.024)
MUON_RATES = (0.02, 0.04)
MUON_STEPS = (72, 96)
RESULT = Path(__file__).parent / "results/optimizers.json"


def grid(width: int) -> list[dict[str, Any]]:
    runs = [
        {"optimizer": "adamw", "width": width, "matrix_lr": rate * 64 / width, "steps": STEPS} for rate in ADAMW_RATES
    ]
    for steps in MUON_STEPS:
        runs += [{"optimizer": "muon", "width": width, "matrix_lr": rate, "steps": steps} for rate in MUON_RATES]
    return runs


def train_one(tokens: Path, run: dict[str, Any], seed: int, threads: int) -> Result:
    changes = {"train.optimizer": run["optimizer"], "train.matrix_lr": run["matrix_lr"], "seed": seed}
    return train(tokens, settings(LAYERS, run["width"], BATCH_TOKENS, run["steps"], changes), threads)


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
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="keep the tokens here")
    arguments = parser.parse_args()
    tokens = prepare(arguments.work or Path(tempfile.mkdtemp()) / "run")
    threads = usable_cores()[0]
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {"runs": []}
    done: list[dict[str, Any]] = kept["runs"]
    for width in arguments.widths:
        for run in grid(width):
            run |= {"seed": arguments.seed, "layers": LAYERS, "batch_tokens": BATCH_TOKENS}
            if arguments.only not in (None, run["optimizer"]) or any(run.items() <= other.items() for other in done):
                continue
            result = train_one(tokens, run, arguments.seed, threads)
            done.append({**run, "held_out": round(result.held_out, 4), "seconds": round(result.seconds, 1)})
            print(done[-1], flush=True)
        ofwidth = [run for run in done if run["width"] == width and run["seed"] == arguments.seed]
        if {run["optimizer"] for run in ofwidth} == {"muon", "adamw"}:
            kept.setdefault("compared", {})[str(width)] = compare(ofwidth)
            print(f"width {width}: {kept['compared'][str(width)]}", flush=True)
        RESULT.write_text(
            json.dumps({**kept, "machine": describe(), "date": time.strftime("%Y-%m-%d")}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
