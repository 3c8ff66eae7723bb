"""What `seedbed plan --gpu this` says of a step's time and a process's peak memory, beside real runs of three sizes here.

    python bench/plan_accuracy.py [--sizes 1M,4M,16M] [--seconds 20] [--out DIR]

Each size is planned (two shallow models, seedbed/plan/probe.py), then trained by `seedbed train` in a process of its own on the
built-in corpus, eagerly, for about so many seconds. Median step time is from the run's own history, peak memory the kernel's
(VmHWM) of the process that trains. Writes bench/results/plan_accuracy.json.
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


def settings(size: str, steps: int) -> list[str]:
    values = {
        "model.size": size, "model.ngram_rows": 0, "model.prior_order": 0, "model.context": 128, "tokenizer.vocab_size": 2048,
        "train.batch_tokens": 8192, "train.steps": steps, "train.compile": "off", "train.precision": "float32",
        "train.validate_every_fraction": 1, "evaluate.max_bytes_per_domain": 2000, "evaluate.sample_tokens": 4,
    }  # fmt: skip
    return [f"{name}={value}" for name, value in values.items()]


def seedbed(verb: str, out: Path, chosen: list[str]) -> float:
    """Run it in a process of its own; the most memory that process had, in bytes."""
    command = [sys.executable, str(Path(__file__).parent / "peak_memory.py"), verb, "--out", str(out), "--json"]
    for setting in chosen:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return float(done.stderr.strip().splitlines()[-1])


def real(size: str, steps: int, folder: Path) -> dict[str, float]:
    """Data stages first, in another process; then `train` alone, its memory read from the events and from the kernel."""
    chosen = settings(size, steps)
    seedbed("tokenize", folder, chosen)
    peak = seedbed("train", folder, chosen)
    run = RunFolder.existing(folder)
    history = read_json(run.stage_path("train") / "history.json")["steps"]
    tokens = 8192
    rates = [entry["tokens_per_second"] for entry in history[1:] if entry.get("tokens_per_second")]
    return {"step_seconds": tokens / statistics.median(rates), "peak_bytes": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1M,4M,16M")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=None, help="where the runs go; default: a temporary folder")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for size in options.sizes.split(","):
            planned = measure(load_recipe(settings=settings(size, 10)))
            steps = max(20, round(options.seconds / planned.step_seconds))
            actual = real(size, steps, (options.out or Path(name)) / size)
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
            print(json.dumps(rows[-1]))
    machine = describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {key: machine[key] for key in ("cpu", "cores", "os", "python", "torch")},
        "load_at_the_end": round(os.getloadavg()[0], 2),
        "rows": rows,
    }
    write_json(Path(__file__).parent / "results" / "plan_accuracy.json", result)


if __name__ == "__main__":
    main()
