"""An encoder and a model that fills gaps, from text to evaluation by the command, interrupted once on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from seedbed.files import read_json
from seedbed.run.folder import RunFolder
from seedbed.tokens.reader import ShardReader

COMMON = [
    'corpus.sources=["builtin:kjv"]', "tokenizer.vocab_size=1024", "model.layers=2", "model.width=128", "model.heads=4",
    "model.context=64", "train.steps=500", "train.batch_tokens=2048", "train.micro_batch_rows=32", "train.matrix_lr=2e-3",
    "train.embedding_lr=2e-3", "train.head_lr=2e-3", "train.warmup_fraction=0.1", "train.precision=float32",
    "train.compile=off", "train.threads=1", "train.device=cpu", "train.optimizer=adamw", "evaluate.sample_tokens=8",
    "evaluate.max_bytes_per_domain=30000",
]  # fmt: skip
RUNS = {
    "masked": ["bert-small"],
    "fim": ["llama", "--set", "train.objective=fim"],
    "span": ["llama", "--set", "train.objective=span"],
}


def command(name: str, out: Path) -> list[str]:
    settings = [part for setting in COMMON for part in ("--set", setting)]
    return [sys.executable, "-m", "seedbed", "run", *RUNS[name], *settings, "--out", str(out)]


def interrupt_in_training(arguments: list[str], out: Path) -> None:
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if (out / "recipe.toml").is_file() and any(
            event["kind"] == "step" for event in RunFolder.existing(out).events()
        ):
            os.kill(process.pid, signal.SIGTERM)
            break
        time.sleep(0.2)
    assert process.wait(timeout=120) != 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", RUNS)
def test_an_objective_learns_more_than_frequencies_and_goes_on_after_an_interruption(name: str, tmp_path: Path) -> None:
    arguments = command(name, tmp_path / "run")
    interrupt_in_training(arguments, tmp_path / "run")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    folder = RunFolder.existing(tmp_path / "run")
    assert any(event["kind"] == "resume" for event in folder.events())
    losses = np.load(folder.stage_path("train") / "losses.npy")
    assert len(losses) == 500 and np.isfinite(losses).all()
    shards = ShardReader(folder.stage_path("tokenize") / "train")
    counts = np.bincount(shards.read(0, shards.num_tokens)).astype(np.float64)
    shares = counts[counts > 0] / counts.sum()
    entropy = float(-(shares * np.log(shares)).sum())  # nats per token for a model that knows frequencies alone
    assert losses[:5].mean() > entropy and losses[-50:].mean() < entropy - 0.3
    evaluation = read_json(folder.stage_path("evaluate") / "evaluation.json")
    samples = read_json(folder.stage_path("evaluate") / "samples.json")
    if name == "masked":
        entry = evaluation["bits_per_masked_token"]["all"]
        assert entry["model"] < entry["unigram"] - 0.4 and entry["accuracy"] > 0.05
        assert "<|mask|>" in samples[0]["prompt"]
    else:
        assert evaluation["bits_per_byte"]["all"]["model"] < 3
        assert any("suffix" in sample for sample in samples)
