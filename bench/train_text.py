"""Train on a benchmark text for a fixed time on this machine and print bits per byte (and per character) of its held-out text.

    python bench/train_text.py mix30 --seconds 300            16:8:7 encyclopedia, books, Python (prepare_mix30.py)
    python bench/train_text.py tinyshakespeare --seconds 95   first 90% to train on, last 10% held out

The time runs from the start of a fresh process that has the tokenized text to the end of training: imports, counting n-grams,
measuring, compiling and checkpoints included; the cache is empty at the start. Tokenizing and scoring are outside it.
Each run is written to bench/results/. `--set` passes on to the recipe: `--set model.prior_order=0` is the transformer alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared/data/corpus"
STARTUP_SECONDS = 4.0  # left out of the recipe's minutes for imports and the end of the stage


def write_recipe(task: str, folder: Path) -> Path:
    """The benchmark's text and recipe in `folder`."""
    data = folder / "data"
    if task == "mix30":
        if not data.exists():
            subprocess.run(
                [sys.executable, ROOT / "bench/prepare_mix30.py", "--data", SHARED, "--out", data], check=True
            )
        names = ("encyclopedia", "books", "python")
        sources = [data / f"train-{name}.jsonl" for name in names]
        held_out = [data / f"held-out-{name}.jsonl" for name in names]
    else:
        data.mkdir(exist_ok=True)
        text = (SHARED / "tinyshakespeare.txt").read_text(encoding="utf-8")
        cut = len(text) * 9 // 10
        (data / "train.txt").write_text(text[:cut], encoding="utf-8")
        (data / "held-out.txt").write_text(text[cut:], encoding="utf-8")
        sources, held_out = [data / "train.txt"], [data / "held-out.txt"]
    recipe = folder / f"{task}.toml"
    recipe.write_text(
        f'preset = "first-light"\nname = "{task}"\n[corpus]\n'
        f"sources = {json.dumps([str(p) for p in sources])}\nvalidation = {json.dumps([str(p) for p in held_out])}\n"
        "[train]\nvalidate_every_fraction = 1.0\n[evaluate]\nmax_bytes_per_domain = 10_000_000\n"
    )
    return recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("mix30", "tinyshakespeare"))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--work", type=Path, help="keep the text and runs here")
    parser.add_argument("--label", default="default")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SEEDBED_CACHE": tempfile.mkdtemp(dir=work)}
    run = Path(tempfile.mkdtemp(dir=work)) / "run"

    minutes = (arguments.seconds - STARTUP_SECONDS) / 60
    settings = [f"train.minutes={minutes}", *arguments.settings]

    def seedbed(verb: str) -> float:
        command = [sys.executable, "-m", "seedbed", verb, str(write_recipe(arguments.task, work)), "--out", str(run)]
        started = time.monotonic()
        flags = [item for setting in settings for item in ("--set", setting)]
        subprocess.run([*command, *flags], env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - started

    seedbed("tokenize")
    seconds = seedbed("train")
    seedbed("run")
    stages = json.loads((run / "run.json").read_text())["stages"]
    scores = json.loads((run / "stages" / stages["evaluate"] / "evaluation.json").read_text())["bits_per_byte"]
    measured = json.loads((run / "stages" / stages["measure"] / "measure.json").read_text())
    trained = json.loads((run / "stages" / stages["train"] / "stage.json").read_text())["summary"]
    machine = json.loads((run / "receipt.json").read_text())["machines"][0]
    result = {
        "task": arguments.task,
        "label": arguments.label,
        "settings": arguments.settings,
        "seconds_allowed": arguments.seconds,
        "seconds_taken": round(seconds, 1),
        "bits_per_byte": scores,
        "steps": trained["steps"],
        "tokens": trained["tokens"],
        "parameters": trained["parameters"],
        "measured": measured,
        "machine": machine,
        "date": time.strftime("%Y-%m-%d"),
    }
    name = f"{arguments.task}-{arguments.seconds:g}s-{arguments.label}.json"
    (ROOT / "bench/results").mkdir(exist_ok=True)
    (ROOT / "bench/results" / name).write_text(json.dumps(result, indent=1) + "\n")
    print(f"{arguments.task} {arguments.label}: {seconds:.1f} s (of {arguments.seconds:g}), {trained['steps']} steps")
    for domain, score in scores.items():
        shown = " ".join(f"{key} {value:.4f}" for key, value in score.items() if isinstance(value, float))
        print(f"  {domain}: {shown}")


if __name__ == "__main__":
    main()
