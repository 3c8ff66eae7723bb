"""The presets at a size that two cores train in a minute, on real text: the whole path, and a loss that falls."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seedbed.files import read_json
from seedbed.run.folder import RunFolder

TEXT = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus" / "web_usgov_publicdomain.jsonl.xz"
SMALL = [
    "train.steps=80", "train.batch_tokens=1024", "train.compile=off", "train.precision=float32", "train.threads=1",
    "train.matrix_lr=none", "train.embedding_lr=none", "train.head_lr=none", "tokenizer.vocab_size=1024",
    "model.prior_order=0",  # the n-gram expert knows from the start what the transformer is to learn here
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not TEXT.is_file(), reason="needs ../shared/data/corpus/web_usgov_publicdomain.jsonl.xz")
@pytest.mark.parametrize("preset", ["first-light", "gpt2-124m", "bert-small", "moe-small"])
def test_a_preset_at_reduced_size_learns_from_real_text(preset: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "seedbed", "run", preset, "--size", "200k", "--out", str(tmp_path / "run")]
    settings = [*SMALL, f'corpus.sources=[{{path="{TEXT}", max_bytes=1000000}}]']
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    folder = RunFolder(tmp_path / "run")
    losses = np.load(folder.stage_path("train") / "losses.npy")
    assert len(losses) == 80
    assert losses[-10:].mean() < losses[:10].mean() - 0.5
    assert read_json(folder.stage_path("evaluate") / "evaluation.json")
