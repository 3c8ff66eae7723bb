"""The receipt adds up over kills and resumes, and names what it hashes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import SeedbedError
from seedbed.run.folder import RunFolder
from seedbed.run.receipt import (
    build_receipt,
    code_sha256,
    goodput,
    interventions,
    stage_accounts,
    training_times,
    write_report,
)

MakeRun = Callable[..., RunFolder]


def test_a_whole_run(make_run: MakeRun) -> None:
    folder = make_run()
    receipt = build_receipt(folder, folder.recipe())
    assert json.loads(json.dumps(receipt)) == receipt
    assert receipt["finished"]
    assert receipt["training"]["steps"] == 600 and receipt["training"]["tokens"] == 600 * 1024
    assert "sources" not in receipt["training"]  # there was no mixture
    assert receipt["bits_per_byte"]["all"]["model"] == 1.79
    weights = folder.stage_path("train") / "model.safetensors"
    assert receipt["hashes"]["weights"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert receipt["hashes"]["recipe"] == hashlib.sha256(folder.recipe_path.read_bytes()).hexdigest()
    assert set(receipt["hashes"]) == {"recipe", "data", "tokens", "tokenizer", "weights", "code"}
    for figure in receipt["cost"].values():
        assert figure["kind"] in ("measured", "estimated") and figure["method"]


def test_stage_seconds_and_joules_add_up(make_run: MakeRun) -> None:
    folder = make_run()
    receipt = build_receipt(folder, folder.recipe())
    accounts = {item["stage"]: item for item in receipt["stages"]}
    assert accounts["curate"] == {"stage": "curate", "seconds": 2.0, "joules": 20.0}
    assert sum(item["joules"] for item in receipt["stages"]) == pytest.approx(receipt["cost"]["joules"]["value"])


def test_goodput_falls_when_a_run_was_killed(make_run: MakeRun) -> None:
    whole, killed = make_run(name="whole"), make_run(name="killed", resumed=True)
    receipts = [build_receipt(folder, folder.recipe()) for folder in (whole, killed)]
    assert receipts[0]["training"] == receipts[1]["training"]  # the model is the same
    assert receipts[1]["cost"]["flops"]["value"] == pytest.approx(receipts[0]["cost"]["flops"]["value"] + 50 * 2e10)
    told = [item["what"] for item in receipts[1]["interventions"]]
    assert told == ["started again after a process that ended without a word", "training continued from step 250"]
    assert receipts[0]["interventions"] == []


def test_flops_are_never_fewer_than_the_model_took(make_run: MakeRun) -> None:
    folder = make_run()
    lines = [line for line in folder.events_path.read_text().splitlines() if '"kind": "cost"' not in line]
    folder.events_path.write_text("\n".join(lines) + "\n")  # every snapshot lost to kills
    receipt = build_receipt(folder, folder.recipe())
    assert receipt["cost"]["flops"]["value"] == receipt["training"]["flops"] == 600 * 2e10


@pytest.mark.parametrize("until", ["collect", "tokenize", "train"])
def test_an_unfinished_run_has_the_receipt_of_what_there_is(make_run: MakeRun, until: str) -> None:
    folder = make_run(until=until)
    receipt = build_receipt(folder, folder.recipe())
    assert not receipt["finished"] and "bits_per_byte" not in receipt
    assert [item["stage"] for item in receipt["stages"]][-2:] == [until, "other"]


def test_a_run_that_has_just_begun(tmp_path: Path, make_run: MakeRun) -> None:
    recipe = make_run(until="collect").recipe()
    folder = RunFolder.for_recipe(tmp_path / "new", recipe)
    folder.write_recipe(recipe)
    receipt = build_receipt(folder, recipe)
    assert receipt["started"] is None and receipt["training"] == {} and receipt["goodput"]["fraction"] is None
    write_report(folder)
    assert folder.report_path.is_file()


def test_work_on_another_recipes_stage_is_not_this_ones() -> None:
    def cost(time: float, stage: str, joules: float) -> dict[str, object]:
        return {"time": time, "kind": "cost", "stage": stage, "session": "1", "joules": joules}

    events = [
        {"time": 0.0, "kind": "run_start", "stage": ""},
        cost(0.5, "", 1.0),
        {"time": 1.0, "kind": "stage_start", "stage": "train", "key": "old"},
        cost(5.0, "train", 101.0),
        {"time": 5.0, "kind": "run_start", "stage": ""},
        {"time": 6.0, "kind": "stage_start", "stage": "train", "key": "new"},
        cost(8.0, "train", 121.0),
        {"time": 9.0, "kind": "stage_end", "stage": "train", "key": "new"},
    ]
    assert stage_accounts(events, {"train": "new"}) == [
        {"stage": "train", "seconds": 3.0, "joules": 20.0},
        {"stage": "other", "seconds": None, "joules": 101.0},
    ]


def test_an_interrupted_run_and_notes_are_interventions() -> None:
    events = [
        {"time": 0.0, "kind": "run_start", "stage": ""},
        {"time": 1.0, "kind": "note", "stage": "train", "message": "skipped compile"},
        {"time": 2.0, "kind": "run_end", "stage": "", "status": "interrupted", "seconds": 2},
        {"time": 3.0, "kind": "run_start", "stage": ""},
        {"time": 4.0, "kind": "run_end", "stage": "", "status": "done", "seconds": 1},
    ]
    assert [item["what"] for item in interventions(events)] == ["skipped compile", "ended: interrupted"]


def test_the_code_hash_changes_with_any_file_or_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 2\n")
    before = code_sha256(tmp_path)
    (tmp_path / "notes.txt").write_text("not code")
    assert code_sha256(tmp_path) == before
    (tmp_path / "b.py").write_text("y = 3\n")
    changed = code_sha256(tmp_path)
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert len({before, changed, code_sha256(tmp_path)}) == 3


def test_report_and_receipt_are_written_and_leave_nothing_beside(make_run: MakeRun) -> None:
    folder = make_run()
    before = {path.name for path in folder.path.iterdir()}
    write_report(folder)
    assert {path.name for path in folder.path.iterdir()} - before == {"report.html", "receipt.json"}


def test_a_report_that_cannot_be_written_says_so_in_one_line(make_run: MakeRun) -> None:
    folder = make_run()
    folder.receipt_path.mkdir()
    (folder.receipt_path / "full").write_text("")
    with pytest.raises(SeedbedError, match="seedbed report") as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)


def test_seconds_of_training_are_summed_over_processes_and_repeated_ones_are_not_useful() -> None:
    def spent(useful: float, **kinds: float) -> dict[str, Any]:
        return {"kind": "time", "stage": "train", "useful_seconds": useful, "spent": kinds}

    events = [
        {"kind": "run_start"},
        {"kind": "stage_start", "stage": "train", "key": "other"},
        spent(99.0, step=99.0),
        {"kind": "stage_start", "stage": "train", "key": "this"},
        spent(5.0, step=5.0),
        spent(10.0, step=10.0, data=1.0),
        {"kind": "run_start"},  # killed; the checkpoint held 6 useful seconds
        {"kind": "stage_start", "stage": "train", "key": "this"},
        spent(14.0, step=8.0, look=2.0),
    ]
    assert training_times(events) == (14.0, {"step": 18.0, "data": 1.0, "look": 2.0})
    found = goodput(20.0, 28.0, training_times(events))
    assert found["fraction"] == 0.5
    assert found["seconds"] == {"step": 14.0, "repeated": 4.0, "data": 1.0, "look": 2.0, "elsewhere": 7.0}


def test_what_the_guard_did_is_in_the_receipt() -> None:
    events = [{"time": 1.0, "kind": "intervention", "stage": "train", "message": "step 5: loss spike: not trained on"}]
    assert [item["what"] for item in interventions(events)] == ["step 5: loss spike: not trained on"]
