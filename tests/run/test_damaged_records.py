"""Small files of a finished run that were damaged or deleted: whoever reads them says which, and what to do."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.cli import main
from seedbed.run.folder import RunFolder

READ_BY = {
    "curate/yields.json": ("yields", "report"),
    "tokenize/train/manifest.json": ("report",),
    "measure/measure.json": ("report",),
    "train/history.json": ("report",),
    "train/losses.npy": ("report",),
    "evaluate/evaluation.json": ("evaluate", "report"),
    "evaluate/samples.json": ("report",),
    "curate/documents-00000-00000.parquet": ("report",),
}


def flip(path: Path) -> None:
    """One bit, which JSON may well survive."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damages(name: str) -> tuple[Callable[[Path], None], ...]:
    """A report looks for examples in what text there is: it checks no corpus, which may be large, and none has to be there."""
    return (cut,) if name.endswith(".parquet") else (flip, cut, Path.unlink)


@pytest.mark.parametrize(("name", "damage"), [(name, damage) for name in READ_BY for damage in damages(name)])
def test_a_damaged_file_is_one_line_with_its_name_and_the_remedy(
    finished_run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: Callable[[Path], None],
) -> None:
    stage, _, file = name.partition("/")
    path = finished_run.stage_path(stage) / file
    damage(path)
    for verb in READ_BY[name]:
        monkeypatch.setattr(sys, "argv", ["seedbed", verb, str(finished_run.path)])
        with pytest.raises(SystemExit) as ended:
            main()
        lines = capsys.readouterr().err.splitlines()
        assert ended.value.code == 1 and len(lines) == 1, lines
        assert lines[0].startswith(f"seedbed: {path} ") and "run the same command again" in lines[0]
