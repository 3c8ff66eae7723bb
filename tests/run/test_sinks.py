"""Sinks hand on what events say: read back from what they wrote. A sink that fails ends no run."""

import builtins
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import InputError
from seedbed.recipe.schema import Recipe
from seedbed.run.pipeline import run_pipeline
from seedbed.run.sinks import OPENERS, SinkListener, open_sinks, scalars_of

STEP = {
    "time": 1.0, "kind": "step", "stage": "train", "step": 3, "steps": 9, "loss": 2.5, "lr": 0.02, "gradient_norm": None,
    "loss_by_source": {"books": 2.0, "code": 3.0},
}  # fmt: skip


def test_the_numbers_of_each_kind_of_event_have_names() -> None:
    assert scalars_of(STEP) == {
        "train/loss": 2.5, "train/lr": 0.02, "train/loss/books": 2.0, "train/loss/code": 3.0
    }  # fmt: skip
    validation = {"kind": "validation", "step": 3, "bits_per_byte": {"all": 1.5}}
    assert scalars_of(validation) == {"bits_per_byte/all": 1.5}
    norms = {"kind": "norms", "step": 3, "groups": {"head": {"update": 0.25}}}
    assert scalars_of(norms) == {"norms/head/update": 0.25}
    assert scalars_of({"kind": "sample", "step": 3, "prompt": "", "text": ""}) == {}


def test_tensorboard_holds_what_was_told(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run_pipeline(
        small_recipe({"train.sinks": '["tensorboard"]', "train.validate_every_fraction": 0.25}),
        tmp_path / "run",
        lambda event: None,
    )
    read = EventAccumulator(str(folder.path / "tensorboard"))
    read.Reload()
    told = [event for event in folder.events() if event["kind"] == "step"]
    losses = read.Scalars("train/loss")
    assert [item.step for item in losses] == [event["step"] for event in told]
    assert [item.value for item in losses] == pytest.approx([event["loss"] for event in told], rel=1e-6)
    validation = next(event for event in folder.events() if event["kind"] == "validation")
    assert read.Scalars("bits_per_byte/all")[0].value == pytest.approx(validation["bits_per_byte"]["all"], rel=1e-6)
    assert {"train/lr", "norms/matrices/update"} <= set(read.Tags()["scalars"])


def test_tensorboard_forgets_steps_that_are_told_again(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (listener,) = open_sinks(tmp_path, small_recipe({"train.sinks": '["tensorboard"]'}))
    for step, loss in ((1, 5.0), (2, 4.0), (3, 9.0)):
        listener({**STEP, "step": step, "loss": loss})
    listener({"kind": "resume", "step": 2})
    listener({**STEP, "step": 3, "loss": 3.0})
    listener.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(item.step, item.value) for item in read.Scalars("train/loss")] == [(1, 5.0), (2, 4.0), (3, 3.0)]


def test_trackio_holds_what_was_told(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    (listener,) = open_sinks(tmp_path, small_recipe({"train.sinks": '["trackio"]'}))
    listener(STEP)
    listener.close()
    (database,) = (tmp_path / "trackio").rglob("*.db")
    with sqlite3.connect(database) as connection:
        assert "2.5" in "".join(map(str, connection.execute("select metrics from metrics").fetchall()))


def test_wandb_keeps_a_run_offline(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (listener,) = open_sinks(tmp_path, small_recipe({"train.sinks": '["wandb"]'}))
    listener(STEP)
    listener({"kind": "intervention", "step": 4, "message": "step 4: not trained on"})
    listener.close()
    (kept,) = (tmp_path / "wandb").rglob("*.wandb")
    content = kept.read_bytes()
    assert b"train/loss" in content and b"not trained on" in content


@pytest.mark.parametrize("name", sorted(OPENERS))
def test_a_sink_that_is_not_installed_is_one_line_that_names_the_extra(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plain = builtins.__import__

    def without(module: str, *rest: Any, **more: Any) -> Any:
        if module.partition(".")[0] == name or module == "torch.utils.tensorboard":
            raise ImportError(module)
        return plain(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"^train\.sinks: {name} is not installed: pip install 'seedbed\[{name}\]'$"):
        open_sinks(tmp_path, small_recipe({"train.sinks": f'["{name}"]'}))


def test_a_sink_that_fails_is_dropped_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        calls = 0

        def scalars(self, step: int, values: dict[str, float]) -> None:
            Broken.calls += 1
            raise OSError("no network\nat all")

        def text(self, step: int, name: str, text: str) -> None: ...
        def restart(self, step: int) -> None: ...
        def close(self) -> None: ...

    listener = SinkListener("broken", Broken())
    listener(STEP)
    listener(STEP)
    listener.close()
    assert Broken.calls == 1
    assert capsys.readouterr().err == "seedbed: sink broken failed (no network): the run goes on without it\n"
