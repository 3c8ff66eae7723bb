"""What `seedbed plan --gpu this` says of a step's time and a process's peak memory, beside real runs of three sizes here.

    python bench/plan_accuracy.py [--sizes 1M,2M,4M,8M,16M] [--seconds 20] [--batch-tokens 8192] [--set NAME=VALUE] [--out DIR]

Each size is planned (seedbed/plan/probe.py), then trained by `seedbed train` in a process of its own on the built-in corpus,
eagerly, for about so many seconds. Median step time and the most memory of the training process are from the run's own history.
Writes bench/results/plan_accuracy.json; with options that change the recipe, prints only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.files import read_json, write_json
from seedbed.plan.probe import measure
from seedbed.recipe import load_recipe
from seedbed.run.folder import RunFolder
from seedbed.run.machine import describe

SIZES, BATCH_TOKENS = "1M,2M,4M,8M,16M", 8192


def settings(size: str, steps: int, batch_tokens: int, more: list[str]) -> list[str]:
    values = {
        "model.size": size, "model.ngram_rows": 0, "model.prior_order": 0, "model.context": 128, "tokenizer.vocab_size": 2048,
        "train.batch_tokens": batch_tokens, "train.steps": steps, "train.compile": "off", "train.precision": "float32",
        "train.validate_every_fraction": 1, "evaluate.max_bytes_per_domain": 2000, "evaluate.sample_tokens": 4,
    }  # fmt: skip
    return [*(f"{name}={value}" for name, value in values.items()), *more]


def seedbed(verb: str, out: Path, chosen: list[str]) -> None:
    command = [sys.executable, "-m", "seedbed", verb, "--out", str(out), "--json"]
    for setting in chosen:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")


def real(chosen: list[str], batch_tokens: int, folder: Path) -> dict[str, float]:
    """Data stages first, in a process of their own; then `train` alone: what its history says of steps and memory."""
    seedbed("tokenize", folder, chosen)
    seedbed("train", folder, chosen)
    history = read_json(RunFolder.existing(folder).stage_path("train") / "history.json")["steps"]
    rates = [entry["tokens_per_second"] for entry in history[1:] if entry.get("tokens_per_second")]
    memory = max(entry["memory_bytes"] for entry in history)
    return {"step_seconds": batch_tokens / statistics.median(rates), "peak_bytes": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch-tokens", type=int, default=BATCH_TOKENS)
    parser.add_argument(
        "--set", action="append", default=[], dest="more", help="of the recipe, such as model.layers=16"
    )
    parser.add_argument("--out", type=Path, default=None, help="where the runs go; default: a temporary folder")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for size in options.sizes.split(","):
            asked = (options.batch_tokens, options.more)
            planned = measure(load_recipe(settings=settings(size, 10, *asked)))
            steps = max(20, round(options.seconds / planned.step_seconds))
            actual = real(settings(size, steps, *asked), options.batch_tokens, (options.out or Path(name)) / size)
            rows.append(
                {
                    "size": size,
                    "steps": steps,
                    "depths": planned.depths,
                    "step_seconds_planned": round(planned.step_seconds, 4),
                    "step_seconds": round(actual["step_seconds"], 4),
                    "step_error": round(planned.step_seconds / actual["step_seconds"] - 1, 3),
                    "peak_mb_planned": round(planned.peak_bytes / 1e6),
                    "peak_mb": round(actual["peak_bytes"] / 1e6),
                    "peak_error": round(planned.peak_bytes / actual["peak_bytes"] - 1, 3),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    if options.batch_tokens != BATCH_TOKENS or options.more:
        return
    machine = describe()
    result = {
        "command": f"python bench/plan_accuracy.py --sizes {options.sizes}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {key: machine[key] for key in ("cpu", "cores", "os", "python", "torch")},
        "load_at_the_end": round(os.getloadavg()[0], 2),
        "rows": rows,
    }
    write_json(Path(__file__).parent / "results" / "plan_accuracy.json", result)


if __name__ == "__main__":
    main()
