"""What the parts of a small model's step on a CPU are worth: milliseconds a step as they are put in, one after another.

    python bench/step.py [--seconds 6]

The default architecture, 4 layers of width 128, 1,024 random tokens a step, vocabulary 4,096, layers compiled, without the n-gram
expert. Writes bench/results/step.json. docs/experiments/first-light.md tells what each did to the loss.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from gpu_train import SETTINGS, RandomTokens

from seedbed.model.config import TransformerConfig, seedbed_config
from seedbed.run.machine import describe, usable_cores
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution
from seedbed.train.optimizers import group
from seedbed.train.parallel import Ranks

ROWS, CONTEXT, VOCAB = 8, 128, 4096


def step_milliseconds(softcap: float, polar_steps: int, compile: bool, seconds: float) -> float:
    config = seedbed_config(TransformerConfig(VOCAB, 4, 128, 4, 4, 512, CONTEXT))
    config = replace(config, logit_softcap=softcap, ngram_rows=2**15)
    group.POLAR_STEPS = polar_steps
    execution = Execution("cpu", "float32", compile, usable_cores()[0], ROWS)
    data = RandomTokens(ROWS, CONTEXT, VOCAB, "cpu")
    engine = Engine(config, SETTINGS, 100_000, 1, execution, data, Ranks())  # type: ignore[arg-type]
    if softcap and compile:  # the fused head and loss knows no softcap: the compiler has to make one of the passes
        engine.model.own_losses = torch.compile(engine.model.own_losses, dynamic=False)  # type: ignore[method-assign]
    times: list[float] = []
    for step in range(3):
        engine.step(step)
    while sum(times) < seconds:
        began = time.perf_counter()
        engine.step(3 + len(times))
        times.append(time.perf_counter() - began)
    torch.compiler.reset()
    return round(1e3 * statistics.median(times), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="timed seconds a row")
    seconds = parser.parse_args().seconds
    rows = {
        "softcap 15, cross-entropy left to the compiler, 5 polar iterations": (15.0, 5, True),
        "fused head and loss, no softcap": (0.0, 5, True),
        "the same with 3 polar iterations": (0.0, 3, True),
        "the same without compiling": (0.0, 3, False),
    }
    result = {
        "milliseconds": {name: step_milliseconds(*options, seconds) for name, options in rows.items()},
        "machine": describe(),
        "date": time.strftime("%Y-%m-%d"),
    }
    (Path(__file__).parent / "results/step.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
