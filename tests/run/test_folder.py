import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.errors import InputError
from seedbed.recipe import load_recipe
from seedbed.run.folder import RunFolder

RECIPE = load_recipe(settings=["train.steps=10"])

HOLD = """
import sys
from pathlib import Path
from seedbed.run.folder import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_keeps_its_recipe(tmp_path: Path) -> None:
    folder = RunFolder.for_recipe(tmp_path / "run", RECIPE)
    folder.write_recipe(RECIPE)
    assert RunFolder.existing(tmp_path / "run").recipe() == RECIPE
    written = folder.recipe_path.stat().st_mtime_ns
    folder.write_recipe(RECIPE)
    assert folder.recipe_path.stat().st_mtime_ns == written


def test_a_folder_that_is_not_ours_is_refused_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="is not empty and is not a run folder"):
        RunFolder.for_recipe(foreign, RECIPE)
    assert [path.name for path in foreign.iterdir()] == ["cat.jpg"]
    with pytest.raises(InputError, match="is a file, and --out needs a folder"):
        RunFolder.for_recipe(foreign / "cat.jpg", RECIPE)
    with pytest.raises(InputError, match="cannot be made"):
        RunFolder.for_recipe(foreign / "cat.jpg" / "run", RECIPE)
    with pytest.raises(InputError, match="not a run folder"):
        RunFolder.existing(foreign)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="is read-only"):
        RunFolder.for_recipe(tmp_path / "run", RECIPE)


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    RunFolder.for_recipe(tmp_path, RECIPE).write_recipe(RECIPE)
    with pytest.raises(InputError, match="holds a run of recipe 'first-light', not 'other': choose another --out"):
        RunFolder.for_recipe(tmp_path, RECIPE.model_copy(update={"name": "other"}))


@pytest.mark.parametrize("left", ["lock", "lock.holder", "request.json", ".request.json.12.partial", "stages"])
def test_a_run_killed_before_it_wrote_its_recipe_can_be_repeated(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir() if left == "stages" else (tmp_path / left).write_text('{"name": "first-light"}')
    assert RunFolder.for_recipe(tmp_path, RECIPE).stages_path.is_dir()


def test_a_run_whose_recipe_was_lost_is_known_by_what_was_asked_for(tmp_path: Path) -> None:
    folder = RunFolder.for_recipe(tmp_path, RECIPE)
    folder.request_path.write_text('{"name": "first-light"}')
    folder.events_path.touch()
    folder.recipe_path.write_text("name = ")
    with pytest.raises(InputError, match=r"recipe\.toml: not a valid recipe .*: delete it and run `seedbed run --out"):
        RunFolder.for_recipe(tmp_path, RECIPE)
    folder.recipe_path.unlink()
    RunFolder.for_recipe(tmp_path, RECIPE)
    with pytest.raises(InputError, match="holds a run of recipe 'first-light', not 'other'"):
        RunFolder.for_recipe(tmp_path, RECIPE.model_copy(update={"name": "other"}))


def test_two_processes_cannot_hold_one_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        in_use = pytest.raises(InputError, match=rf"is in use by process {holder.pid} since .*: wait for it, stop it")
        with in_use, RunFolder(tmp_path).lock():
            pass
        holder.kill()
    with RunFolder(tmp_path).lock():  # the dead process's lock is free
        pass
    assert not (tmp_path / "lock.holder").exists()


def test_a_stage_that_is_not_finished_is_one_line(tmp_path: Path) -> None:
    folder = RunFolder.for_recipe(tmp_path, RECIPE)
    folder.write_index({"train": "train-0123"})
    for name in ("train", "evaluate"):
        with pytest.raises(InputError, match=f"the stage '{name}' is not finished: run `seedbed run --out"):
            folder.stage_path(name)
