"""`seedbed generate`, on a run, on an unfinished run and on a bare model folder."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from seedbed.cli import main
from seedbed.run.folder import RunFolder


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["seedbed", "generate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_writes_on(
    finished_run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = str(finished_run.path)
    assert call([run, "the people", "--tokens", "20", "--json"], monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prompt"] == "the people" and 0 < found["tokens"] <= 20

    assert call([run, "the people", "--tokens", "20"], monkeypatch) == 0
    streamed = capsys.readouterr()
    assert streamed.out == f"the people{found['text']}\n"
    assert "tokens/s" in streamed.err

    assert call([run, "the people", "--tokens", "20", "--seed", "2", "--top-k", "0", "--json"], monkeypatch) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["text"] != found["text"] and other["top_k"] is None

    index = finished_run.index()
    finished_run.write_index({name: index[name] for name in index if name != "evaluate"})
    shutil.copytree(finished_run.stage_path("train"), tmp_path / "model")
    for folder in (run, str(tmp_path / "model")):
        assert call([folder, "the people", "--tokens", "20", "--json"], monkeypatch) == 0
        assert json.loads(capsys.readouterr().out)["text"] == found["text"]
    assert call([run, "--tokens", "5", "--temperature", "0"], monkeypatch) == 0
    likeliest = capsys.readouterr().out
    assert call([run, "--tokens", "5", "--temperature", "1e-300"], monkeypatch) == 0
    assert capsys.readouterr().out == likeliest
    assert call([run, "--seed", str(2**64)], monkeypatch) == 2


def test_wrong_input(
    finished_run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finished_run.write_index({"collect": finished_run.index()["collect"]})
    (tmp_path / "other").mkdir()
    for folder, reason in (
        (tmp_path / "none", "no such folder"),
        (tmp_path / "other", "neither a run's folder"),
        (finished_run.path, "the stage 'train' is not finished"),
    ):
        assert call([str(folder)], monkeypatch) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and str(folder) in line and reason in line


@pytest.mark.parametrize("alone", [False, True], ids=["in a run", "alone"])
def test_damaged_weights(
    finished_run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    """A cut file cannot be loaded; a flipped bit can, and only the run's record shows it."""
    folder = finished_run.stage_path("train")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    if alone:
        (folder / "stage.json").unlink()
        weights.write_bytes(whole[:-100])
    else:
        weights.write_bytes(whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])
    assert call([str(folder if alone else finished_run.path)], monkeypatch) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and str(weights if not alone else folder) in line and "damaged" in line


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "deleted"])
def test_a_damaged_file_of_a_run_is_named_with_what_to_do(
    finished_run: RunFolder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    damage: str,
) -> None:
    file = finished_run.stage_path("train") / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    else:
        file.unlink()
    assert call([str(finished_run.path)], monkeypatch) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and str(file) in line
    assert f"delete {file.parent} and run `seedbed run` on the run again" in line
