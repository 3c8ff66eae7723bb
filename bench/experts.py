"""What experts give at equal compute, and what keeps their loads even: small runs that differ in one thing each.

    python bench/experts.py [--steps 200] [--seed 1]

All use 0.3M matrix parameters a token: a dense model, and mixtures of 8 experts, 2 a token and a shared one. Loads are the
least and the most of any expert over the mean, averaged over layers and over the ten steps from a quarter, a half and the
end of the run back. Writes bench/results/experts.json.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from small_runs import build, held_out_loss, prepare, settings

from seedbed.recipe import load_recipe
from seedbed.run.machine import describe
from seedbed.train.optimizers import group

RESULT = Path(__file__).parent / "results/experts.json"
MIXTURE = {"model.num_experts": 8, "model.experts_per_token": 2, "model.shared_experts": 1}
RUNS = {
    "dense": {},
    "bias, rate .01": {**MIXTURE, "model.balance_rate": 0.01},
    "bias, rate .001": {**MIXTURE, "model.balance_rate": 0.001},
    "auxiliary loss, weight .01": {**MIXTURE, "model.balance": "loss"},
    "no balance": {**MIXTURE, "model.balance": "off"},
    "bias, rate .01, router by AdamW": {**MIXTURE, "model.balance_rate": 0.01},
}


def split_with_router_in_head(model: group.nn.Module) -> group.Groups:
    groups = SPLIT(model)
    for name in [name for name in groups.matrices if ".router." in name]:
        groups.head[name] = groups.matrices.pop(name)
    return groups


SPLIT = group.split_parameters


def run(name: str, tokens: Path, steps: int, seed: int) -> dict[str, object]:
    chosen = settings(3, 96, 1024, steps, {**RUNS[name], "seed": seed})
    split = split_with_router_in_head if "AdamW" in name else SPLIT
    with patch.object(group, "split_parameters", split):
        engine = build(tokens, load_recipe(settings=chosen), 1)
    began, loads = time.process_time(), []
    for step in range(steps):
        engine.step(step)
        loads.append([(min(load), max(load)) for load in engine.model.expert_loads().values()])
    seconds = time.process_time() - began
    entry: dict[str, object] = {"held_out": round(held_out_loss(engine, tokens), 4), "cpu_seconds": round(seconds, 1)}
    if loads[0]:
        ends = {"quarter": steps // 4, "half": steps // 2, "end": steps}
        for place, end in ends.items():
            least, most = np.mean(loads[end - 10 : end], axis=(0, 1))
            entry[place] = {"least": round(float(least), 2), "most": round(float(most), 2)}
    return entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="keep the tokens here")
    arguments = parser.parse_args()
    tokens = prepare(arguments.work or Path(tempfile.mkdtemp()) / "run")
    runs = {}
    for name in RUNS:
        runs[name] = run(name, tokens, arguments.steps, arguments.seed)
        print(f"{name}: {runs[name]}", flush=True)
    date = time.strftime("%Y-%m-%d")
    result = {"date": date, "machine": describe(), "steps": arguments.steps, "seed": arguments.seed, "runs": runs}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
