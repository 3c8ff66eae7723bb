"""A checkpoint is the state at the call, whole or absent, and never loaded when any bit of it is another."""

import errno
import json
import pickle
import random
import shutil
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from seedbed.errors import InputError, SeedbedError
from seedbed.files import sha256_file
from seedbed.train.checkpoints import Checkpoints, Moments, list_checkpoints, merge_tensors, sound_manifest
from seedbed.train.checkpoints.format import SUMS_FILE, Damaged
from seedbed.train.checkpoints.tensor_file import DTYPE_NAMES, write_tensors
from seedbed.train.parallel import Ranks

Events = list[tuple[str, dict[str, Any]]]


def some_tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {
        "model/weight": torch.arange(6.0).reshape(2, 3) * value,
        "model/half": torch.full((3,), value, dtype=torch.bfloat16),
        "optimizer/step": torch.tensor(float(value)),
        "history/none": torch.zeros(0, 2),
    }


def blank(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, -7) for name, tensor in tensors.items()}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., tuple[Checkpoints, Events]]:
    """keep(how many, every steps) -> the checkpoints in `tmp_path / "run"`, and what they tell of."""
    (tmp_path / "run").mkdir()

    def make(keep: int = 2, every: int | None = None) -> tuple[Checkpoints, Events]:
        told: Events = []
        folder = tmp_path / "run" / "checkpoints"
        return Checkpoints(folder, {"model": "m"}, keep, every, Ranks(), lambda k, **f: told.append((k, f))), told

    return make


Keep = Callable[..., tuple[Checkpoints, Events]]


def saved(checkpoints: Checkpoints, *steps: int) -> Path:
    """Save these steps, each with tensors of its number; the folder of the last."""
    for step in steps:
        checkpoints.save(step, some_tensors(step), {"step": step}, wait=True)
    return checkpoints.path(steps[-1])


def notes(told: Events) -> list[str]:
    return [fields["message"] for kind, fields in told if kind == "note"]


def names(checkpoints: Checkpoints) -> list[int]:
    return [int(path.name[5:]) for path in list_checkpoints(checkpoints.folder)]


def test_weights_that_go_on_changing_are_saved_as_they_were(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, told = keep()
    changed = threading.Event()

    def slow(path: Path, tensors: dict[str, torch.Tensor]) -> Any:
        assert changed.wait(60)
        return write_tensors(path, tensors)

    monkeypatch.setattr("seedbed.train.checkpoints.keeper.write_tensors", slow)
    living, progress = some_tensors(2.0), {"losses": [1.0]}
    checkpoints.save(4, living, progress)
    for tensor in living.values():
        tensor.add_(1)
    progress["losses"].append(2.0)
    checkpoints.poll()
    assert told == [] and names(checkpoints) == []
    changed.set()
    checkpoints.save(5, living, progress)  # waits for the one before
    assert [(kind, fields["step"]) for kind, fields in told] == [("checkpoint", 4)]
    loaded = blank(living)
    assert checkpoints.load_newest(loaded, at_most=4) == {"losses": [1.0]}
    assert_equal(loaded, some_tensors(2.0))
    assert checkpoints.load_newest(loaded) == {"losses": [1.0, 2.0]}
    assert_equal(loaded, living)


def test_a_crash_between_writing_and_renaming_leaves_the_one_before(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, _ = keep()
    saved(checkpoints, 1)
    with monkeypatch.context() as patch:
        patch.setattr("seedbed.train.checkpoints.keeper.publish_folder", lambda partial, final: None)
        checkpoints.save(2, some_tensors(2), {"step": 2})
        checkpoints.finish()
    partial = checkpoints.folder / "step-000000002.partial"
    assert sound_manifest(partial).step == 2  # complete but for its name
    again, told = keep()
    loaded = blank(some_tensors())
    assert again.load_newest(loaded) == {"step": 1} and notes(told) == []
    assert_equal(loaded, some_tensors(1))
    saved(again, 3)
    assert not partial.exists() and names(again) == [1, 3]


def test_the_newest_are_kept_and_those_at_multiples(keep: Keep) -> None:
    checkpoints, _ = keep(2, 10)
    saved(checkpoints, 4, 10, 13, 17, 20, 22, 23, 24)
    assert names(checkpoints) == [10, 20, 23, 24]
    shutil.rmtree(checkpoints.folder)
    checkpoints, _ = keep(1)
    saved(checkpoints, 4, 10, 13)
    assert names(checkpoints) == [13]


def test_going_back_leaves_the_later_ones_behind(keep: Keep) -> None:
    checkpoints, _ = keep(3)
    saved(checkpoints, 10, 20, 30)
    loaded = blank(some_tensors())
    assert checkpoints.load_newest(loaded, at_most=25) == {"step": 20}
    saved(checkpoints, 22)
    assert names(checkpoints) == [10, 20, 22]


def test_a_disk_that_fills_up_leaves_the_checkpoints_before(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, told = keep()
    saved(checkpoints, 1, 2)
    before = {path: path.read_bytes() for path in checkpoints.folder.rglob("*") if path.is_file()}

    def full(path: Path, tensors: dict[str, torch.Tensor]) -> Any:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seedbed.train.checkpoints.keeper.write_tensors", full)
        checkpoints.save(3, some_tensors(3), {})
        checkpoints.finish()
        assert [line for line in notes(told) if "step 3" in line and "No space left" in line and "kept" in line]
        with pytest.raises(SeedbedError, match=r"the checkpoint of step 4 could not be written \(.*No space left"):
            checkpoints.save(4, some_tensors(4), {}, wait=True)
    assert {path: path.read_bytes() for path in checkpoints.folder.rglob("*") if path.is_file()} == before
    saved(checkpoints, 5)
    assert names(checkpoints) == [2, 5]


def test_too_little_disk_is_found_before_writing(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, _ = keep()
    saved(checkpoints, 1)
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 0))
    monkeypatch.setattr("seedbed.train.checkpoints.keeper.write_tensors", None)
    with pytest.raises(SeedbedError, match=r"a checkpoint needs .*B free"):
        checkpoints.save(2, some_tensors(2), {}, wait=True)
    assert names(checkpoints) == [1]
    with pytest.raises(SeedbedError, match=r"keeping checkpoints needs .*B free"):
        checkpoints.require_room(some_tensors())


def test_any_other_byte_and_any_cut_is_found(keep: Keep) -> None:
    checkpoints, _ = keep()
    path = saved(checkpoints, 1)
    draw = random.Random(1)
    sound_manifest(path)
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        spoilt = [data[:i] + bytes([data[i] ^ 1 << draw.randrange(8)]) + data[i + 1 :] for i in range(len(data))]
        spoilt += [data[:i] for i in range(0, len(data), 5)] + [data + b"\n", data + data]
        for content in spoilt:
            file.write_bytes(content)
            with pytest.raises(Damaged):
                sound_manifest(path)
        file.unlink()
        with pytest.raises(Damaged):
            sound_manifest(path)
        file.mkdir()
        with pytest.raises(Damaged):
            sound_manifest(path)
        file.rmdir()
        file.write_bytes(data)
    sound_manifest(path)


def test_the_one_before_a_damaged_one_serves_and_nothing_of_it_is_read(keep: Keep) -> None:
    checkpoints, told = keep()
    newest = saved(checkpoints, 1, 2)
    (newest / "progress.json").write_text('{"step": 9}')
    loaded = blank(some_tensors())
    assert checkpoints.load_newest(loaded) == {"step": 1}
    assert_equal(loaded, some_tensors(1))
    (line,) = notes(told)
    assert str(newest) in line and "the checksum of progress.json does not match" in line
    shutil.rmtree(checkpoints.path(1))
    loaded = blank(some_tensors())
    assert checkpoints.load_newest(loaded) is None
    assert_equal(loaded, blank(some_tensors()))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(["format", "step", "ranks", "identity", "tensors", "model/weight"]), value=json_values)
@example(key="identity", value=[[None, None]])
@example(key="identity", value={"model": ["m"]})
@example(key="step", value="1")
@example(key="model/weight", value=[None, [2, 3], []])
@settings(max_examples=40, deadline=None)
def test_a_forged_manifest_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    """The checksums fit, the content is anything."""
    folder = tmp_path_factory.getbasetemp() / "forged"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    told: Events = []
    checkpoints = Checkpoints(folder / "c", {"model": "m"}, 2, emit=lambda kind, **f: told.append((kind, f)))
    path = saved(checkpoints, 1)
    manifest = json.loads((path / "checkpoint.json").read_text())
    (manifest["tensors"] if "/" in key else manifest)[key] = value
    (path / "checkpoint.json").write_text(json.dumps(manifest))
    sums = "".join(f"{sha256_file(file)}  {file.name}\n" for file in sorted(path.iterdir()) if file.name != SUMS_FILE)
    (path / SUMS_FILE).write_text(sums)
    try:
        progress = checkpoints.load_newest(blank(some_tensors()))
        assert progress in (None, {"step": 1})
    except SeedbedError as error:
        assert "\n" not in str(error)
    assert all("\n" not in line for line in notes(told))


def test_a_checkpoint_of_another_model_is_refused(keep: Keep, tmp_path: Path) -> None:
    checkpoints, _ = keep()
    saved(checkpoints, 1)
    other = Checkpoints(checkpoints.folder, {"model": "another"}, 2)
    with pytest.raises(
        InputError,
        match=r"step-000000001 is of another training \(its model differs\): remove it, or choose another --out",
    ):
        other.load_newest(some_tensors())
    with pytest.raises(InputError, match="lacks the tensor model/more"):
        checkpoints.load_newest(some_tensors() | {"model/more": torch.zeros(1)})
    with pytest.raises(InputError, match=r"holds model/weight as F32 \[2, 3\], and this training has F32 \[3, 2\]"):
        checkpoints.load_newest(some_tensors() | {"model/weight": torch.zeros(3, 2)})


def test_nothing_is_unpickled(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, _ = keep()
    saved(checkpoints, 1)

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler", "dump", "dumps", "Pickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    saved(checkpoints, 2)
    loaded = blank(some_tensors())
    assert checkpoints.load_newest(loaded) == {"step": 2}


def test_files_are_those_of_safetensors(tmp_path: Path) -> None:
    tensors = {str(dtype): torch.arange(10).to(dtype).reshape(2, 5) for dtype in DTYPE_NAMES}
    tensors |= {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 3), "turned": torch.arange(6.0).reshape(2, 3).mT}
    record = write_tensors(tmp_path / "ours", tensors)
    assert (record.bytes, record.sha256) == ((tmp_path / "ours").stat().st_size, sha256_file(tmp_path / "ours"))
    loaded = load_file(tmp_path / "ours")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name].view(-1).view(torch.uint8), tensor.contiguous().view(-1).view(torch.uint8))


def test_a_merged_model_is_what_one_process_saves(keep: Keep, tmp_path: Path) -> None:
    checkpoints, _ = keep()
    path = saved(checkpoints, 3)
    merge_tensors(path, "model/", tmp_path / "merged.safetensors")
    expected = {n.removeprefix("model/"): t for n, t in some_tensors(3).items() if n.startswith("model/")}
    save_file(expected, tmp_path / "plain.safetensors")
    assert_equal(load_file(tmp_path / "merged.safetensors"), load_file(tmp_path / "plain.safetensors"))


def test_moments_follow_the_clock_and_the_multiples() -> None:
    now = [0.0]
    moments = Moments(Ranks(), 10, 4, clock=lambda: now[0])
    answers = []
    for step in range(1, 10):
        now[0] += 3
        answers.append(moments.ask(step, leave=step == 9))
    assert [step for step, (save, _) in enumerate(answers, 1) if save] == [4, 8]
    assert [leave for _, leave in answers] == [False] * 8 + [True]
    moments = Moments(Ranks(), 10, clock=lambda: now[0])
    now[0] += 11
    assert moments.ask(1, False) == (True, False) and moments.ask(2, False) == (False, False)
