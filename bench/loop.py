"""What the loop costs: the share of a step that is neither forward, backward nor optimizer, on the default model.

    python bench/loop.py [--size 2M] [--steps 200]

Trains on built-in text through the real `train` stage and takes the seconds by kind from its own notes; the guard's judgement and
the gradient norm, which lie within the steps, are timed by themselves on the same model. Looks and checkpoints are set aside:
they come by the clock. Writes bench/results/loop.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.files import read_json
from seedbed.recipe import load_recipe
from seedbed.run.machine import describe
from seedbed.run.pipeline import run_pipeline
from seedbed.train import loop
from seedbed.train.engine import Engine, Outcome
from seedbed.train.gradients import gradient_values, norm_of
from seedbed.train.guard import Guard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="2M")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    within: dict[str, list[float]] = {"judge": [], "norm": []}
    plain_judge, plain_gradients = Guard.judge, Engine.gradients

    def judge(self: Guard, step: int, outcome: Outcome) -> Any:
        began = time.perf_counter()
        found = plain_judge(self, step, outcome)
        within["judge"].append(time.perf_counter() - began)
        return found

    def gradients(self: Engine, step: int) -> Outcome:
        outcome = plain_gradients(self, step)
        if step % 10 == 5:  # the gradients stand: once more the norm alone; sparse ones are coalesced already
            began = time.perf_counter()
            float(norm_of(gradient_values(self.model)))
            within["norm"].append(time.perf_counter() - began)
        return outcome

    settings = [f"train.steps={options.steps}", "train.checkpoint_seconds=1e9", "train.compile=off", *options.settings]
    recipe = load_recipe(size=options.size, settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        Guard.judge, Engine.gradients = judge, gradients  # type: ignore[method-assign]
        loop.TIMES_SECONDS = 1e9
        run = run_pipeline(recipe, Path(folder), lambda event: None, last="train")
        spent = next(event for event in reversed(run.events()) if event["kind"] == "time")["spent"]
        steps = read_json(run.stage_path("train") / "stage.json")["summary"]["steps"]
    step_seconds = (spent["step"] + spent["data"]) / steps
    parts = {
        "data": spent["data"] / steps,
        "record and events": spent["record"] / steps,
        "guard": statistics.median(within["judge"]),
        "gradient norm": statistics.median(within["norm"]),
    }
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe(),
        "load_average": [round(load, 1) for load in os.getloadavg()],  # of the machine: other work slows steps down
        "size": options.size,
        "steps": steps,
        "step_seconds": round(step_seconds, 5),
        "share_of_step": {name: round(seconds / step_seconds, 5) for name, seconds in parts.items()},
        "loop_share_of_step": round(float(np.sum(list(parts.values()))) / step_seconds, 5),
    }
    path = Path(__file__).parent / "results" / "loop.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
