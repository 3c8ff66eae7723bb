"""Runs under torchrun: any layout gives one process's losses, and a stop signal saves what every rank holds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seedbed.errors import InputError
from seedbed.recipe import load_recipe
from seedbed.run.workers import settle_layout
from seedbed.train.measure import check_machine

STEPS = 40


@pytest.fixture
def command(small_corpus: Path, small_settings: Callable[..., list[str]]) -> Callable[..., list[str]]:
    def make(out: Path, ranks: int, layout: str, port: int) -> list[str]:
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--master-port", str(port)]
        arguments = ["-m", "seedbed", "train", "--corpus", str(small_corpus), "--out", str(out), "--parallel", layout]
        for setting in (*small_settings(), f"train.steps={STEPS}", "train.checkpoint_seconds=1000", "model.layers=2"):
            arguments += ["--set", setting]
        return [sys.executable, *(launcher if ranks > 1 else []), *arguments]

    return make


def losses(out: Path) -> np.ndarray:
    return np.load(next((out / "stages").glob("train-*")) / "losses.npy")


def test_a_layout_for_other_ranks_is_refused_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"fsdp=2 needs 2 devices and there are 1: start 2 ranks \(torchrun"):
        settle_layout(load_recipe(None, ["train.parallel=fsdp=2"]))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert settle_layout(load_recipe(None, ["train.device=cpu"])).train.parallel == "dp=2"
    with pytest.raises(InputError, match=r"tp=2 does not divide model\.heads 3"):
        settle_layout(load_recipe(None, ["train.parallel=tp=2", "model.heads=3", "model.width=96", "model.kv_heads=3"]))
    with pytest.raises(InputError, match=r"tp cuts heads, .*: use fsdp"):
        settle_layout(load_recipe(None, ["train.parallel=tp=2", "model.architecture=olmo2"]))
    with pytest.raises(InputError, match="float8 is not made for fsdp=2: use bfloat16"):
        settle_layout(load_recipe(None, ["train.parallel=fsdp=2", "train.precision=float8"]))
    with pytest.raises(InputError, match=r"leave out cp or model\.windows"):
        encoder = ["train.objective=masked", "model.architecture=bert", "model.windows=SL"]
        settle_layout(load_recipe(None, ["train.parallel=cp=2", *encoder]))
    with pytest.raises(
        InputError, match=r"train\.batch_warmup: 128 tokens make 1 rows, and dp=2 needs rows that 2 devices"
    ):
        settle_layout(load_recipe(None, ["train.device=cpu", "train.batch_warmup=[[5, 128]]"]))


def test_minutes_of_a_model_that_is_cut_are_refused_before_anything_is_done() -> None:
    with pytest.raises(InputError, match=r"train\.minutes: .*tp=2 cuts the model: give train\.steps"):
        check_machine(load_recipe(None, ["train.parallel=tp=2", "train.device=cpu"], minutes=2))


@pytest.mark.slow
def test_cut_models_train_through_the_whole_path(command: Callable[..., list[str]], tmp_path: Path) -> None:
    for name, ranks, layout, port in (("one", 1, "auto", 0), ("fsdp", 2, "fsdp=2", 29531), ("pp", 2, "pp=2", 29533)):
        done = subprocess.run(
            command(tmp_path / name, ranks, layout, port), capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stderr[:3000]
    one = losses(tmp_path / "one")
    for name in ("fsdp", "pp"):
        np.testing.assert_allclose(losses(tmp_path / name)[0], one[0], rtol=1e-5)
        # Adam lets rounding grow where gradients begin as nothing (see tests/train/parallel)
        np.testing.assert_allclose(losses(tmp_path / name), one, rtol=1e-2)


@pytest.mark.slow
def test_a_stop_signal_saves_on_all_ranks_and_training_goes_on_from_there(
    command: Callable[..., list[str]], tmp_path: Path
) -> None:
    whole, stopped = command(tmp_path / "whole", 2, "fsdp=2", 29535), command(tmp_path / "stopped", 2, "fsdp=2", 29537)
    assert subprocess.run(whole, capture_output=True, timeout=280).returncode == 0
    process = subprocess.Popen(stopped, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    events = tmp_path / "stopped" / "events.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and '"kind": "step"' not in (events.read_text() if events.is_file() else ""):
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)  # torchrun hands it to its ranks
    process.communicate(timeout=200)
    assert process.returncode != 0
    saved = sorted((tmp_path / "stopped" / "stages").glob("train-*.partial/checkpoints/step-*"))
    assert len(saved) == 1
    assert 0 < int(saved[0].name.removeprefix("step-")) < STEPS
    assert {path.name for path in saved[0].glob("*.safetensors")} >= {
        "rank-00000.safetensors",
        "rank-00001.safetensors",
    }
    assert subprocess.run(stopped, capture_output=True, timeout=280).returncode == 0
    kinds = [json.loads(line)["kind"] for line in events.read_text().splitlines()]
    assert "resume" in kinds
    np.testing.assert_array_equal(losses(tmp_path / "stopped"), losses(tmp_path / "whole"))
