"""`seedbed verify RUN --resume` finds a run that resumes exactly, and one that loses a batch."""

import json
import signal
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from seedbed.errors import InputError
from seedbed.files import sha256_file
from seedbed.recipe import load_recipe
from seedbed.run.folder import RunFolder
from seedbed.run.resume_check import (
    INPUTS,
    Attempt,
    Kill,
    Proof,
    ResumeCheck,
    batches_of,
    check_resume,
    kill,
    start_ranks,
    wait_for,
)
from seedbed.run.resume_text import resume_text
from seedbed.train.checkpoints import list_checkpoints, sound_manifest


def test_the_report_says_what_was_killed_and_compared() -> None:
    result = ResumeCheck(
        100,
        [Attempt("chain-1", 1, 0, 3.2, 30), Attempt("chain-1", 1, 29, None, None)],
        chains=1, weights=6_000, rows=1_600, documents=74, ranks=2, loss_difference=1e-5, weight_difference=1e-3,
    )  # fmt: skip
    assert (result.kills, result.to_json()["resumes_exactly"]) == (1, True)
    text = resume_text(result)
    assert "resumes exactly: 1 kill, 1 training of 100 steps" in text and "over 1 and 2 ranks: the same batches" in text
    result.problems.append("chain-1: losses.npy is not that of the unbroken training")
    assert json.loads(json.dumps(result.to_json()))["resumes_exactly"] is False
    assert "1 DIFFERENCES" in resume_text(result)


@pytest.mark.parametrize(
    ("layout", "ranks", "says"),
    [
        ("tp=3", 3, "tp=3 does not divide model.heads 1"),
        ("fsdp=4", 2, "fsdp=4 needs 4 devices and there are 2"),
        ("auto", 3, "dp x fsdp = 3 does not divide the 4 rows"),
        ("fsdp", 2, "'fsdp' is not a degree|give a whole number"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_before_anything_is_trained(
    finished_run: RunFolder, layout: str, ranks: int, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        check_resume(finished_run, kills=1, steps=2, ranks=ranks, layout=layout)
    assert not list(finished_run.path.parent.glob("*.resume-*"))


def test_several_ranks_train_where_one_is_done_before_its_kill(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    attempts: list[tuple[str, int]] = []

    def end_at_once(self: Proof, folder: RunFolder, ranks: int, *rest: object) -> bool:
        attempts.append((folder.path.name, ranks))
        folder.write_index({"train": "train-0"})
        return True

    np.save(tmp_path / "batches.npy", np.zeros(3))
    monkeypatch.setattr(Proof, "attempt", end_at_once)
    monkeypatch.setattr(Proof, "compare_nearly", lambda self, found: None)
    monkeypatch.setattr("seedbed.run.resume_check.trained", lambda folder: tmp_path)
    proof = Proof(tmp_path, load_recipe(settings=["train.steps=3"]), {}, 3, Random(1), print, ResumeCheck(3))
    proof.expected = tmp_path
    proof.on_other_ranks(2, "dp=2")
    assert attempts == [("ranks", 1), ("ranks-2", 2)]


@pytest.mark.slow
def test_a_run_resumes_exactly(finished_run: RunFolder, capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from seedbed.cli import main

    before = {path: path.stat().st_mtime_ns for path in finished_run.path.rglob("*")}
    arguments = ["--resume", "--kills", "3", "--steps", "60", "--ranks", "2", "--json"]
    monkeypatch.setattr(sys, "argv", ["seedbed", "verify", str(finished_run.path), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["resumes_exactly"] and found["kills"] >= 3
    assert found["rows"] == 60 * 4 and found["loss_difference"] < 0.01
    assert {attempt["ranks"] for attempt in found["attempts"]} == {1, 2}
    assert {path: path.stat().st_mtime_ns for path in finished_run.path.rglob("*")} == before
    assert not list(finished_run.path.parent.glob("*.resume-*"))


@pytest.mark.slow
def test_a_batch_that_is_lost_is_found(finished_run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kill leaves checkpoints that claim one step more than they trained."""
    attempt = Proof.attempt

    def attempt_and_forge(self: Proof, folder: RunFolder, ranks: int, *rest: object) -> bool:
        ended = attempt(self, folder, ranks, *rest)  # type: ignore[arg-type]
        for checkpoints in folder.stages_path.glob("train-*.partial/checkpoints"):
            for path in list_checkpoints(checkpoints):
                claim_a_step_more(path)
        return ended

    monkeypatch.setattr(Proof, "attempt", attempt_and_forge)
    monkeypatch.setattr(Proof, "moment", lambda self: Kill("checkpoint", 0.0))
    result = check_resume(finished_run, kills=1, steps=200, ranks=1)
    assert {problem.split()[1] for problem in result.problems} >= {"losses.npy", "batches.npy", "model.safetensors"}
    assert Path(result.kept).is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 1])
def test_all_ranks_save_and_leave_when_one_is_told(finished_run: RunFolder, tmp_path: Path, told: int) -> None:
    inputs = {name: finished_run.stage_path(name) for name in INPUTS}
    proof = Proof(tmp_path, finished_run.recipe(), inputs, 400, Random(1), print, ResumeCheck(400))
    folder = proof.folder("stopped")
    folder.write_recipe(proof.recipe)
    children = start_ranks(folder.path, 2)
    try:
        wait_for(children, folder, 0, "step")
        children[told].send_signal(signal.SIGTERM)
        assert [child.wait(120) for child in children] == [130, 130]
    finally:
        kill(children)
    (checkpoint,) = list_checkpoints(next(folder.stages_path.glob("train-*.partial")) / "checkpoints")[-1:]
    assert sound_manifest(checkpoint).ranks == 2
    assert "stopped by SIGTERM" in (folder.path / f"stderr-{told}.txt").read_text()
    assert proof.attempt(folder, 2)
    assert [event["step"] for event in folder.events() if event["kind"] == "resume"] == [sound_step(checkpoint)]
    digests, _, _ = batches_of(proof.recipe, inputs)
    assert np.array_equal(np.load(folder.stage_path("train") / "batches.npy"), digests)


def sound_step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def claim_a_step_more(checkpoint: Path) -> None:
    progress = json.loads((checkpoint / "progress.json").read_text())
    progress["step"] += 1
    (checkpoint / "progress.json").write_text(json.dumps(progress))
    files = sorted(file for file in checkpoint.iterdir() if file.name != "SHA256SUMS")
    (checkpoint / "SHA256SUMS").write_text("".join(f"{sha256_file(file)}  {file.name}\n" for file in files))
