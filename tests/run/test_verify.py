"""A sound run verifies; each kind of damage is named with its file; a traced token is found in its text by plain means."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed.errors import InputError
from seedbed.files import read_json, write_json
from seedbed.recipe.schema import Recipe
from seedbed.run.folder import RunFolder
from seedbed.run.verify import verify
from seedbed.run.verify_text import verification_json, verification_text


@pytest.fixture
def run(finished_run: RunFolder) -> RunFolder:
    return finished_run


def test_a_finished_run_is_sound(run: RunFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    read: list[Path] = []
    result = verify(run, samples=25, seed=3, on_file=read.append)
    assert result.problems == []
    assert result.stages == list(run.index())
    assert result.files == sum(len(read_json(run.stage_path(name) / "stage.json")["files"]) for name in run.index())
    assert result.records == 40
    assert len(result.traces) == 25
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before  # reads only
    assert json.loads(json.dumps(verification_json(result)))["sound"]
    text = verification_text(result)
    assert text.splitlines()[-1].startswith("sound: 10 stages")
    assert [found.to_json() for found in verify(run, 25, 3).traces] == [found.to_json() for found in result.traces]
    assert [found.to_json() for found in verify(run, 25, 4).traces] != [found.to_json() for found in result.traces]


def file_of(run: RunFolder, stage: str, name: str) -> Path:
    return run.stage_path(stage) / name


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("collect", "documents-00000-000.parquet"),
        ("curate", "decisions-00000.parquet"),
        ("tokenizer", "tokenizer.json"),
        ("tokenize", "train/00000.bin"),
        ("tokenize", "train/00000.idx"),
        ("tokenize", "train/manifest.json"),
        ("tokenize", "validation/documents.parquet"),
        ("count", "train.prior"),
        ("measure", "measure.json"),
        ("train", "model.safetensors"),
        ("train", "losses.npy"),
        ("evaluate", "evaluation.json"),
    ],
)
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone", "emptied"])
def test_damage_names_the_file(run: RunFolder, stage: str, name: str, damage: str) -> None:
    path = file_of(run, stage, name)
    data = path.read_bytes()
    if damage == "flipped":
        flip(path, len(data) // 2)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": data[:-3], "longer": data + b"x", "emptied": b""}[damage])
    problems = verify(run).problems
    assert sum(problem.startswith(f"{path} ") for problem in problems) == 1
    assert all("\n" not in problem for problem in problems)


def rewrite(run: RunFolder, stage: str, change: Callable[[Path], Any]) -> None:
    """Change a stage's files and make its own stage.json fit, as a forger would."""
    from seedbed.files import sha256_json
    from seedbed.run.pipeline import load_stage
    from seedbed.run.stages import describe_files

    path = run.stage_path(stage)
    change(path)
    record = read_json(path / "stage.json")
    record["files"] = describe_files(path)
    kept = {k: v["sha256"] for k, v in record["files"].items() if k not in load_stage(stage).volatile}
    record["digest"] = sha256_json(kept)
    write_json(path / "stage.json", record)


def change_rows(path: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def test_a_forged_stage_no_longer_fits_the_others(run: RunFolder) -> None:
    rewrite(run, "train", lambda path: flip(path / "model.safetensors"))
    problems = verify(run).problems
    assert any("made from another train" in problem for problem in problems)
    assert any(problem.startswith(f"{run.receipt_path}: weights") for problem in problems)


def test_a_decision_left_out(run: RunFolder) -> None:
    rewrite(run, "curate", lambda path: change_rows(path / "decisions-00000.parquet", lambda rows: rows.pop()))
    problems = verify(run).problems
    assert any("accounts for 39 records" in problem and "40 of" in problem for problem in problems)
    assert any("yields.json is not the sum" in problem for problem in problems)


def test_a_decision_twice(run: RunFolder) -> None:
    def twice(rows: list[dict[str, Any]]) -> None:
        rows[3] = rows[4]

    rewrite(run, "curate", lambda path: change_rows(path / "decisions-00000.parquet", twice))
    assert any("more than one decision" in problem for problem in verify(run).problems)


def test_a_text_that_is_not_what_was_trained_on(run: RunFolder) -> None:
    def other(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["text"] = row["text"].replace("king", "ring").replace("bread", "break")

    rewrite(run, "curate", lambda path: change_rows(path / "documents-00000-00000.parquet", other))
    problems = verify(run, samples=200).problems
    assert any("encodes to another token" in problem for problem in problems)


def test_a_document_in_the_wrong_split(run: RunFolder) -> None:
    def move(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["split"] == "validation":
                row["split"] = "train"
                return

    rewrite(run, "curate", lambda path: change_rows(path / "decisions-00000.parquet", move))
    problems = verify(run).problems
    assert any("does not hold the documents that were kept for train" in problem for problem in problems)


def test_a_file_too_many(run: RunFolder) -> None:
    (run.stage_path("tokenize") / "train" / "00001.bin").write_bytes(b"more")
    (run.stage_path("train") / "checkpoints").mkdir()
    (run.stage_path("train") / "checkpoints" / "left.bin").write_bytes(b"by a kill")
    (problem,) = verify(run).problems
    assert "00001.bin was not written by the stage tokenize" in problem


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"stage": "train"}', b"\xff\xfe"])
def test_a_spoilt_record(run: RunFolder, content: bytes) -> None:
    path = run.stage_path("train") / "stage.json"
    path.write_bytes(content)
    problems = verify(run).problems
    assert any(str(path.parent) in problem for problem in problems)


def test_a_run_up_to_its_shards(run: RunFolder) -> None:
    stages = run.index()
    run.write_index({name: stages[name] for name in ("collect", "curate", "tokenizer", "tokenize")})
    result = verify(run, samples=5)
    assert result.problems == [] and len(result.traces) == 5


def test_nothing_to_verify(tmp_path: Path, small_recipe: Callable[..., Recipe]) -> None:
    folder = RunFolder.for_recipe(tmp_path / "new", small_recipe())
    folder.write_recipe(small_recipe())
    with pytest.raises(InputError, match="no stage is finished"):
        verify(folder)


def test_the_command(run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from seedbed.cli import main

    monkeypatch.setattr(sys, "argv", ["seedbed", "verify", str(run.path), "--samples", "3", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert len(json.loads(capsys.readouterr().out)["traces"]) == 3
    flip(file_of(run, "train", "losses.npy"))
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert json.loads(printed.out)["sound"] is False
    assert "losses.npy is corrupted" in printed.err
