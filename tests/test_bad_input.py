"""Each mistake a user can make ends with one line that says what to do, the right status, and nothing lost."""

import errno
import json
import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.cli import main
from seedbed.files import sha256_file
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_settings: Callable[..., list[str]]
) -> Command:
    """command(corpus, out, {"train.steps": 3}, more arguments...) -> status and what came on stderr after the progress."""
    monkeypatch.setattr("seedbed.train.trials.MEASURED_SECONDS", 0.0)

    def run(corpus: Path | None, out: Path, changes: dict | None = None, *arguments: str) -> tuple[int, str]:
        given = ["seedbed", "run", "--out", str(out)] + (["--corpus", str(corpus)] if corpus else [])
        for setting in small_settings(changes):
            given += ["--set", setting]
        monkeypatch.setattr(sys, "argv", [*given, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        status = ended.value.code or 0
        lines = [line for line in shown.splitlines() if line.startswith("seedbed: ")]
        assert len(lines) == (status != 0), shown
        if status:
            assert shown.splitlines()[-1] == lines[0]
        return int(status), lines[0] if lines else ""

    return run


def test_no_such_file(command: Command, tmp_path: Path) -> None:
    status, line = command(tmp_path / "absent", tmp_path / "run")
    assert status == 2 and "absent does not exist" in line
    assert not (tmp_path / "run").exists()


def test_an_empty_corpus(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, line = command(tmp_path / "empty", tmp_path / "run")
    assert status == 2 and "empty" in line
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "one.txt").write_text("\n \n")
    status, line = command(tmp_path / "blank", tmp_path / "other")
    assert status == 2


def test_a_corpus_of_one_document(command: Command, small_corpus: Path, tmp_path: Path) -> None:
    one = tmp_path / "one.txt"
    one.write_text("\n".join(path.read_text() for path in sorted(small_corpus.iterdir())))
    status, line = command(one, tmp_path / "run")
    # either it is divided for validation or the line says how to name a validation file
    assert status == 0 or (status == 2 and "validation" in line), line


def test_binary_and_broken_files_among_text(command: Command, small_corpus: Path, tmp_path: Path) -> None:
    (small_corpus / "picture.txt").write_bytes(bytes(range(256)) * 20)
    (small_corpus / "latin.txt").write_bytes("Größe und Maß im Kaiserreich. ".encode("latin-1") * 20)
    (small_corpus / "records.jsonl").write_text('{"text": "no end\n[1]\n{"other": 1}\n' + '{"text": "fine"}\n')
    status, _ = command(small_corpus, tmp_path / "run")
    assert status == 0
    collected = RunFolder(tmp_path / "run").stage_summary("collect")
    assert collected["quarantined"] >= 4
    assert collected["read"] == collected["documents"] + collected["quarantined"]


def test_only_broken_records(command: Command, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"txt": "a field of another name"}\nnot json\n')
    status, line = command(tmp_path / "x.jsonl", tmp_path / "run")
    assert status == 2 and "text" in line


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("train.stepz=3", "did you mean train.steps?"),
        ("train.steps=0", "train.steps"),
        ("train.schedule=sine", "'trapezoid', 'linear'"),
        ("tokenizer.vocab_size=200", "tokenizer.vocab_size"),
        ("train.device=cuda", "train.device"),
    ],
)
def test_wrong_settings(command: Command, small_corpus: Path, tmp_path: Path, setting: str, says: str) -> None:
    import torch

    if setting == "train.device=cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    status, line = command(small_corpus, tmp_path / "run", None, "--set", setting)
    assert status == 2 and says in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train.precision": "float8"}, "train.precision: 'float8' needs a GPU"),
        ({"model.width": 2**16, "model.layers": 100}, "model.size: a step needs about"),
        ({"tokenizer.path": "absent.json"}, "tokenizer.path: absent.json does not exist"),
        ({"train.start_from": "absent@10"}, "train.start_from: absent kept no checkpoint of step 10"),
    ],
)
def test_what_can_never_be_trained_is_refused_before_the_corpus_is_read(
    command: Command, small_corpus: Path, tmp_path: Path, changes: dict, says: str
) -> None:
    import torch

    if "train.precision" in changes and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    status, line = command(small_corpus, tmp_path / "run", {"tokenizer.vocab_size": None, "train.steps": 20, **changes})
    assert status == 2 and says in line
    assert not any((tmp_path / "run" / "stages").iterdir())


def test_a_vocabulary_too_large_for_the_corpus(command: Command, small_corpus: Path, tmp_path: Path) -> None:
    status, line = command(small_corpus, tmp_path / "run", {"tokenizer.vocab_size": 900_000})
    assert status == 2 and "vocab_size" in line


def test_a_context_longer_than_the_corpus(command: Command, small_corpus: Path, tmp_path: Path) -> None:
    changes = {"model.context": 2**20, "train.batch_tokens": 2**20, "train.micro_batch_rows": 1}
    status, line = command(small_corpus, tmp_path / "run", changes)
    assert status == 2 and "model.context" in line


def test_too_little_disk(command: Command, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = namedtuple("Usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 0))
        status, line = command(small_corpus, tmp_path / "run")
        assert status == 1 and "B free" in line and "--out" in line
    assert command(small_corpus, tmp_path / "run")[0] == 0


def test_a_disk_too_full_for_the_log(
    command: Command, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: EventLog, kind: str, *rest: object, **fields: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "emit", full)
        status, line = command(small_corpus, tmp_path / "run")
        assert status == 1 and "the disk is full: free some space and run the same command again" in line
    assert command(small_corpus, tmp_path / "run")[0] == 0


def test_folders_that_cannot_be_used(
    command: Command, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, line = command(small_corpus, small_corpus)
    assert status == 2 and "not a run folder" in line
    status, line = command(small_corpus, small_corpus / "00.txt")
    assert status == 2 and "is a file" in line
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: Path(path) != tmp_path / "locked")
        status, line = command(small_corpus, tmp_path / "locked")
        assert status == 2 and "read-only" in line
    status, line = command(small_corpus, tmp_path / "run", {"name": "mine", "train.steps": 2})
    assert status == 0
    before = sha256_file(tmp_path / "run" / "recipe.toml")
    status, line = command(small_corpus, tmp_path / "run", {"name": "yours"})
    assert status == 2 and "'mine', not 'yours'" in line
    assert sha256_file(tmp_path / "run" / "recipe.toml") == before


def test_a_folder_in_use(command: Command, small_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with RunFolder(tmp_path / "run").lock():
        status, line = command(small_corpus, tmp_path / "run")
    assert status == 2 and "is in use by process" in line
    assert command(small_corpus, tmp_path / "run")[0] == 0


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def test_a_damaged_shard_is_not_trained_on(command: Command, small_corpus: Path, tmp_path: Path) -> None:
    assert command(small_corpus, tmp_path / "run")[0] == 0
    shards = RunFolder(tmp_path / "run").stage_path("tokenize") / "train"
    damage(shards / "00000.bin")
    status, line = command(small_corpus, tmp_path / "run", {"train.steps": 4})
    assert status == 1 and "00000.bin" in line
    shutil.rmtree(shards.parent)
    assert command(small_corpus, tmp_path / "run", {"train.steps": 4})[0] == 0


@pytest.mark.parametrize("name", ["request.json", "run.json", "recipe.toml"])
def test_a_damaged_record_of_the_run(command: Command, small_corpus: Path, tmp_path: Path, name: str) -> None:
    assert command(small_corpus, tmp_path / "run")[0] == 0
    path = tmp_path / "run" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + b"\xff")
    (tmp_path / "run" / "report.html").unlink()
    status, line = command(small_corpus, tmp_path / "run")
    assert status in (1, 2) and name in line
    path.unlink()
    assert command(small_corpus, tmp_path / "run")[0] == 0
    assert path.read_bytes() == whole or name == "recipe.toml"  # whose folder's lists may be in another order


def test_a_request_that_is_no_recipe(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps({"name": "x"}))
    monkeypatch.setattr(sys, "argv", ["seedbed", "run", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 1 and "request.json" in shown[0]
