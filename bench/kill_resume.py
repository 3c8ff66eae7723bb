"""Kill a run with SIGKILL at random moments over all its stages, let it finish, and compare it with an unbroken one.

    python bench/kill_resume.py --out runs/kill-resume

Each kill comes after a random share of the unbroken run's time; the same command is then started again and killed again,
and when it comes to its end first, a fresh folder follows. Weights, losses, document ids and the digest of every batch that
was trained on must be the same bit for bit: no batch lost, none repeated. `seedbed verify RUN --resume` does the same for
the training of any run.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from seedbed.files import sha256_file, write_json
from seedbed.run.folder import RunFolder
from seedbed.run.machine import describe

SETTINGS = (
    "model.size=200k", "model.ngram_rows=1024", "model.context=64", "tokenizer.vocab_size=1024", "train.steps=120",
    "train.batch_tokens=1024", "train.compile=off", "train.precision=float32", "train.checkpoint_seconds=0.1", "train.threads=1",
    "evaluate.max_bytes_per_domain=5000", "evaluate.sample_tokens=4", "evaluate.prompts=[]",
)  # fmt: skip
RESULT = Path(__file__).parent / "results" / "kill_resume.json"


def command(out: Path, settings: list[str]) -> list[str]:
    chosen = [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
    corpus = ["--set", 'corpus.sources=[{path="builtin:kjv",max_bytes=300000}]', "--set", "name=kill-resume"]
    return [sys.executable, "-m", "seedbed", "run", "--out", str(out), *corpus, *chosen]


def finish(out: Path, settings: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command(out, settings), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - started


def kill_once(out: Path, settings: list[str], seconds: float) -> tuple[str, float]:
    """Start the run, kill it after `seconds`; give the last stage begun in the folder ("done" when the run ended)."""
    child = subprocess.Popen(
        command(out, settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    started = time.monotonic()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    lived = time.monotonic() - started
    if child.returncode == 0:
        return "done", lived
    if child.returncode != -signal.SIGKILL:
        raise SystemExit(f"the run ended with status {child.returncode} by itself: run it by hand in {out}")
    events = RunFolder(out).events()
    started_here = [event["stage"] for event in events if event["kind"] in ("stage_start", "stage_cached")]
    return (started_here[-1] if started_here else "before the first stage"), lived


def content(out: Path) -> dict[str, Any]:
    folder = RunFolder(out)
    train, tokens = folder.stage_path("train"), folder.stage_path("tokenize")
    splits = sorted(path.name for path in tokens.iterdir() if path.is_dir())
    return {
        "weights": sha256_file(train / "model.safetensors"),
        "losses": sha256_file(train / "losses.npy"),
        "batches": sha256_file(train / "batches.npy"),
        "documents": {split: pq.read_table(tokens / split / "documents.parquet")["id"].to_pylist() for split in splits},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/kill-resume"))
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    unbroken = finish(options.out / "unbroken", options.settings)
    print(f"unbroken: {unbroken:.1f} s", flush=True)

    draw = random.Random(options.seed)
    killed_in: Counter[str] = Counter()
    number = 0
    while sum(killed_in.values()) < options.kills:
        # a fresh folder when one run was finished: several runs are killed again and again until all kills are spent
        out = options.out / f"killed-{number}"
        # squared: the stages before training are short, and are to be hit as often
        stage, lived = kill_once(out, options.settings, 0.3 + unbroken * draw.random() ** 2)
        if stage == "done":
            number += 1
            continue
        killed_in[stage] += 1
        print(f"kill {sum(killed_in.values())}: after {lived:.1f} s in {stage}", flush=True)
    expected = content(options.out / "unbroken")
    same = True
    resumed_from: list[int] = []
    for out in sorted(options.out.glob("killed-*")):
        finish(out, options.settings)
        found = content(out)
        for name in expected:
            if found[name] != expected[name]:
                same = False
                print(f"{out}: {name} differ from the unbroken run's")
        resumed_from += [event["step"] for event in RunFolder(out).events() if event["kind"] == "resume"]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(),
        "command": " ".join(["python bench/kill_resume.py", *sys.argv[1:]]),
        "kills": sum(killed_in.values()),
        "killed_in": dict(killed_in),
        "runs": number + 1,
        "trainings_resumed": len(resumed_from),
        "resumed_from_steps": sorted(resumed_from),
        "unbroken_seconds": round(unbroken, 1),
        "bit_identical": same,
    }
    write_json(RESULT, result)
    print(json.dumps(result, indent=1))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
