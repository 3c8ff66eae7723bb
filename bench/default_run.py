"""The default run in a fresh folder, then every command whose output the docs quote of it.

    python bench/default_run.py --out runs/default

Prints what README.md, docs/evaluation.md, docs/generation.md and docs/verify.md quote and keeps it in
bench/results/first-light.txt; the run's time, steps and bits per byte go with machine and date to bench/results/first-light.json.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.errors import InputError
from seedbed.files import read_json, write_json
from seedbed.run.folder import RunFolder
from seedbed.run.machine import describe

RESULT = Path(__file__).parent / "results" / "first-light.json"
PROMPT = "The people of the United States"
QUOTED = (
    ("evaluate",),
    ("generate", PROMPT, "--tokens", "80", "--seed", "3"),
    ("generate", PROMPT, "--tokens", "90"),
    ("verify", "--samples", "5"),
    ("yields",),
)


def seedbed(*arguments: str) -> str:
    """What a command printed, progress first."""
    done = subprocess.run([sys.executable, "-m", "seedbed", *arguments], capture_output=True, text=True, check=True)
    return done.stderr + done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--result", type=Path, default=RESULT, help="and the same name with .txt for what was printed")
    asked, settings = parser.parse_known_args()  # the rest goes to `seedbed run`: with it the run is no default run
    if asked.out.exists():
        raise InputError(f"--out: {asked.out} is there already: a default run is timed from its beginning")
    commands = [["run", "--out", str(asked.out), *settings]]
    commands += [[verb, str(asked.out), *rest] for verb, *rest in QUOTED]
    blocks = []
    for command in commands:
        words = " ".join(f'"{word}"' if " " in word else word for word in command)
        blocks.append(f"$ seedbed {words}\n{seedbed(*command)}")
        print(blocks[-1], flush=True)
    write_json(asked.result, measured(RunFolder.existing(asked.out)))
    asked.result.with_suffix(".txt").write_text("\n".join(blocks), encoding="utf-8")


def measured(folder: RunFolder) -> dict[str, Any]:
    evaluated, receipt = folder.stage_path("evaluate"), read_json(folder.receipt_path)
    scores = read_json(evaluated / "evaluation.json")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(),
        "seconds": receipt["cost"]["seconds"]["value"],
        "stages": {item["stage"]: item["seconds"] for item in receipt["stages"]},
        "training": receipt["training"],
        "bits_per_byte": scores["bits_per_byte"],
        "copied": {
            "held_out": scores["copied"]["held_out"],
            "samples": [sample["copied"] for sample in read_json(evaluated / "samples.json")],
        },
    }


if __name__ == "__main__":
    main()
