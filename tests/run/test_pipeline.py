"""The whole path: cut it anywhere, repeat it, change it; the result is the same and nothing is computed twice."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from seedbed.errors import Interrupted
from seedbed.files import read_json, sha256_file
from seedbed.recipe.schema import Recipe
from seedbed.run.folder import RunFolder
from seedbed.run.pipeline import STAGE_NAMES, run_pipeline

MakeRecipe = Callable[..., Recipe]
Event = dict[str, Any]
CHECKPOINT_OFTEN = {"train.checkpoint_seconds": 1e-9}


class Killed(BaseException):
    """Ends a run at once, as SIGKILL does, except that Python's `finally` blocks still run."""


@pytest.fixture(autouse=True)
def short_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.train.trials.MEASURED_SECONDS", 0.0)


def go(recipe: Recipe, out: Path, stop_at: int | None = None) -> list[str]:
    """Run the recipe and give the stages that ran; `stop_at`: the number of the event at which it dies."""
    seen: list[Event] = []

    def listener(event: Event) -> None:
        seen.append(event)
        if len(seen) - 1 == stop_at:
            raise Killed

    with contextlib.suppress(Killed):
        run_pipeline(recipe, out, listener)
    return [event["stage"] for event in seen if event["kind"] == "stage_start"]


def content(out: Path) -> dict[str, str]:
    """What two equal runs have in common: digests of all stages, weights and losses among them, and the documents."""
    folder = RunFolder(out)
    found = {name: read_json(folder.stage_path(name) / "stage.json")["digest"] for name in STAGE_NAMES}
    train = folder.stage_path("train")
    found |= {name: sha256_file(train / name) for name in ("model.safetensors", "losses.npy")}
    ids = pq.read_table(folder.stage_path("tokenize") / "train" / "documents.parquet")["id"].to_pylist()
    return found | {"documents": " ".join(ids)}


def test_a_second_run_starts_no_stage(small_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = small_recipe()
    assert go(recipe, tmp_path / "run") == list(STAGE_NAMES)
    before = content(tmp_path / "run")
    assert go(recipe, tmp_path / "run") == []
    assert content(tmp_path / "run") == before
    assert not list((tmp_path / "run" / "stages").glob("*/checkpoints"))


def test_two_folders_get_the_same_content(small_recipe: MakeRecipe, tmp_path: Path) -> None:
    go(small_recipe(), tmp_path / "one")
    go(small_recipe(), tmp_path / "other")
    assert content(tmp_path / "one") == content(tmp_path / "other")


@pytest.mark.parametrize("most", [0.5, 2.0])
def test_minutes_end_where_they_would_only_repeat_the_corpus(
    small_recipe: MakeRecipe, tmp_path: Path, most: float
) -> None:
    """An hour would be thousands of passes over forty short texts; what is measured here decides nothing."""
    notes: list[str] = []
    recipe = small_recipe({"train.steps": None, "train.minutes": 60.0, "train.max_epochs": most})
    folder = run_pipeline(
        recipe, tmp_path / "run", lambda event: notes.append(event.get("message", "")), last="measure"
    )
    steps = read_json(folder.stage_path("measure") / "measure.json")["steps"]
    tokens = read_json(folder.stage_path("tokenize") / "train" / "manifest.json")["num_tokens"]
    assert steps * 64 == pytest.approx(most * tokens, abs=2 * 64)
    assert any("passes over the corpus" in note for note in notes)


def test_minutes_that_are_over_before_training_are_said_to_be(small_recipe: MakeRecipe, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    recipe = small_recipe({"train.steps": None, "train.minutes": 1e-6})
    folder = run_pipeline(recipe, tmp_path / "run", events.append, last="measure")
    assert folder.stage_summary("measure")["steps"] == 1
    notes = [event["message"] for event in events if event["kind"] == "note"]
    assert any("what is left is 1 step of training. For more of it give more --minutes" in note for note in notes)


TOUCHES = [
    ({"evaluate.temperature": 0.5}, ["evaluate"]),
    ({"cost.dollars_per_kwh": 1.0}, []),
    ({"train.checkpoint_seconds": 7}, []),
    ({"train.matrix_lr": 0.01}, ["measure", "train", "evaluate"]),
    ({"model.width": 64}, ["measure", "train", "evaluate"]),
    ({"model.prior_order": 2}, ["count", "measure", "train", "evaluate"]),
    ({"curate.basic.min_words": 31}, ["curate"]),  # every document has more: the kept text is the same
    ({"tokenizer.vocab_size": 310}, ["tokenizer", "tokenize", "count", "measure", "train", "evaluate"]),
]


def test_a_changed_recipe_recomputes_only_what_it_touches(small_recipe: MakeRecipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    go(small_recipe(), out)
    before = content(out)
    for changes, touched in TOUCHES:
        assert go(small_recipe(changes), out) == touched, changes
    assert go(small_recipe(), out) == []  # the first recipe's stages are all still there
    assert content(out) == before


def test_a_changed_text_recomputes_from_its_reading_on(
    small_recipe: MakeRecipe, small_corpus: Path, tmp_path: Path
) -> None:
    go(small_recipe(), tmp_path / "run")
    (small_corpus / "new.txt").write_text("A new text about quite other things. " * 40)
    assert go(small_recipe(), tmp_path / "run")[:4] == ["collect", "score", "compare", "curate"]


def test_a_run_cut_at_any_event_ends_the_same(small_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = small_recipe(CHECKPOINT_OFTEN)
    events: list[Event] = []
    run_pipeline(recipe, tmp_path / "unbroken", events.append)
    expected = content(tmp_path / "unbroken")
    # the first event of each stage and kind, and one in the middle of training
    firsts = {(event["stage"], event["kind"]): i for i, event in reversed(list(enumerate(events)))}
    steps = [i for i, event in enumerate(events) if event["kind"] == "step"]
    moments = sorted({*firsts.values(), steps[len(steps) // 2]})
    for number, moment in enumerate(moments):
        out = tmp_path / f"cut-{number}"
        go(recipe, out, stop_at=moment)
        go(recipe, out)
        assert content(out) == expected, events[moment]


CHILD = """
import os, signal, sys
from pathlib import Path
import seedbed.train.trials
from seedbed.recipe.schema import Recipe
from seedbed.run.pipeline import run_pipeline
seedbed.train.trials.MEASURED_SECONDS = 0.0
wanted, stage, kind = int(sys.argv[3]), sys.argv[4], sys.argv[5]
seen = 0
def listener(event):
    global seen
    if (event["stage"], event["kind"]) == (stage, kind):
        seen += 1
        if seen == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
run_pipeline(Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), listener)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_run_killed_by_sigkill_ends_the_same(small_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = small_recipe(CHECKPOINT_OFTEN)
    go(recipe, tmp_path / "unbroken")
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    moments = [("1", "", "run_start"), ("1", "curate", "progress"), ("1", "tokenize", "stage_start")]
    moments += [("5", "train", "step"), ("3", "train", "step"), ("1", "train", "stage_end")]
    for number, stage, kind in moments:
        arguments = [sys.executable, "-c", CHILD, str(tmp_path / "recipe.json"), str(tmp_path / "killed")]
        child = subprocess.run([*arguments, number, stage, kind], capture_output=True, text=True)
        assert child.returncode == -signal.SIGKILL, child.stderr
    resumed: list[Event] = []
    run_pipeline(recipe, tmp_path / "killed", resumed.append)
    assert content(tmp_path / "killed") == content(tmp_path / "unbroken")
    steps = [e["step"] for e in RunFolder(tmp_path / "killed").events() if e["kind"] == "resume"]
    assert steps and steps == sorted(steps)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_training_at_a_checkpoint(
    small_recipe: MakeRecipe, tmp_path: Path, number: signal.Signals
) -> None:
    recipe = small_recipe()
    go(recipe, tmp_path / "unbroken")

    def listener(event: Event) -> None:
        if event["kind"] == "step" and event["step"] == 5:
            signal.raise_signal(number)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=rf"^stopped by {number.name}: run the same command again to go on$"):
        run_pipeline(recipe, tmp_path / "run", listener)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    ends = [event for event in RunFolder(tmp_path / "run").events() if event["kind"] == "run_end"]
    assert [end["status"] for end in ends] == ["interrupted"]
    resumed: list[Event] = []
    run_pipeline(recipe, tmp_path / "run", resumed.append)
    assert [event["step"] for event in resumed if event["kind"] == "resume"] == [5]
    assert content(tmp_path / "run") == content(tmp_path / "unbroken")


def test_the_recipe_that_a_run_leaves_gives_the_run_again(small_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = small_recipe({"train.steps": None, "train.tokens": 640})
    go(recipe, tmp_path / "run")
    complete = RunFolder(tmp_path / "run").recipe()
    assert (complete.train.steps, complete.train.tokens) == (10, None)
    go(complete, tmp_path / "again")
    weights = [RunFolder(tmp_path / name).stage_path("train") / "model.safetensors" for name in ("run", "again")]
    assert sha256_file(weights[0]) == sha256_file(weights[1])
