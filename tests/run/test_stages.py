"""A stage runs when something it depends on is new, and its output is there whole or not at all."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import Interrupted, SeedbedError
from seedbed.recipe import load_recipe
from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder
from seedbed.run.stages import Stage, StageContext, StageOutput, load_output, run_stage

RECIPE = load_recipe(settings=["train.steps=10"])


class Bench:
    """Runs stages in one folder and remembers what was said."""

    def __init__(self, root: Path) -> None:
        self.folder = RunFolder.for_recipe(root / "run", RECIPE)
        self.said: list[dict[str, Any]] = []
        self.events = EventLog(None, (self.said.append,))
        self.stop: Callable[[], None] = lambda: None

    def run(self, stage: Stage, recipe: Recipe = RECIPE, **inputs: StageOutput) -> StageOutput:
        self.said.clear()
        return run_stage(stage, self.folder, recipe, inputs, self.events, self.stop, {})

    def ran(self) -> bool:
        return any(event["kind"] == "stage_start" for event in self.said)

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.folder.stages_path.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def writer(name: str, text: Callable[[StageContext], str], inputs: tuple[str, ...] = (), **fields: Any) -> Stage:
    def run(context: StageContext) -> dict[str, Any]:
        (context.path / "out").mkdir(exist_ok=True)
        (context.path / "out" / "text").write_text(text(context))
        return {"said": text(context)}

    values: dict[str, Any] = {"version": 1, "config": lambda recipe: {"seed": recipe.seed}, **fields}
    return Stage(name=name, inputs=inputs, run=run, **values)


def with_seed(seed: int) -> Recipe:
    return RECIPE.model_copy(update={"seed": seed})


def test_the_same_key_is_not_computed_twice(bench: Bench) -> None:
    stage = writer("one", lambda context: "x")
    first = bench.run(stage)
    assert bench.ran()
    again = bench.run(stage)
    assert not bench.ran() and again == first
    assert again.summary == {"said": "x"}


def test_the_key_follows_the_version_the_config_and_the_inputs(bench: Bench) -> None:
    stage = writer("one", lambda context: "x")
    source = bench.run(stage)
    keys = {stage.key(RECIPE, {}), stage.key(with_seed(2), {}), writer("one", lambda c: "x", version=2).key(RECIPE, {})}
    two = writer("two", lambda context: "y", inputs=("one",))
    other = StageOutput(source.path, source.key, "another digest", {})
    keys |= {two.key(RECIPE, {"one": source}), two.key(RECIPE, {"one": other})}
    assert len(keys) == 5
    renamed = RECIPE.model_copy(update={"name": "other"})
    assert stage.key(renamed, {}) == stage.key(RECIPE, {})


def test_an_input_that_came_out_the_same_stops_the_recomputation(bench: Bench) -> None:
    one = writer("one", lambda context: f"even: {context.recipe.seed % 2 == 0}")
    two = writer("two", lambda context: "y", inputs=("one",), config=lambda recipe: None)
    bench.run(two, one=bench.run(one, with_seed(2)))
    changed = bench.run(one, with_seed(4))
    assert bench.ran()
    bench.run(two, with_seed(4), one=changed)
    assert not bench.ran()
    bench.run(two, with_seed(5), one=bench.run(one, with_seed(5)))
    assert bench.ran()


def test_timings_are_no_part_of_the_content(bench: Bench) -> None:
    moments = iter("ab")
    stage = writer("one", lambda context: "", volatile=("out/text",))
    first = bench.run(Stage(**{**vars(stage), "run": lambda c: stage.run(c) | {"at": next(moments)}}))
    other = bench.run(Stage(**{**vars(stage), "version": 2, "run": lambda c: stage.run(c) | {"at": next(moments)}}))
    assert first.key != other.key and first.digest == other.digest


def test_a_stage_that_fails_leaves_no_output(bench: Bench) -> None:
    def fail(context: StageContext) -> dict[str, Any]:
        (context.path / "half").write_text("written")
        raise SeedbedError("no")

    stage = Stage("one", 1, (), lambda recipe: None, fail)
    with pytest.raises(SeedbedError, match="no"):
        bench.run(stage)
    assert all(name.endswith(".partial") for name in bench.folders())
    finished = bench.run(Stage("one", 1, (), lambda recipe: None, lambda context: {}))
    assert bench.ran() and not (finished.path / "half").exists()
    assert bench.folders() == [finished.path.name]


def test_a_resumable_stage_goes_on_in_its_folder_and_leaves_its_checkpoints_out(bench: Bench) -> None:
    def run(context: StageContext) -> dict[str, Any]:
        checkpoint = context.path / "checkpoints" / "one"
        if not checkpoint.exists():
            checkpoint.parent.mkdir()
            checkpoint.write_text("half way")
            (context.path / ".result.123.partial").write_text("torn")
            raise Interrupted("killed")
        (context.path / "result").write_text("whole")
        return {"resumed": checkpoint.read_text()}

    stage = Stage("one", 1, (), lambda recipe: None, run, resumable=True)
    with pytest.raises(Interrupted):
        bench.run(stage)
    finished = bench.run(stage)
    assert finished.summary == {"resumed": "half way"}
    assert sorted(path.name for path in finished.path.iterdir()) == ["result", "stage.json"]
    assert list(json.loads((finished.path / "stage.json").read_text())["files"]) == ["result"]


def test_a_folder_without_its_record_is_made_anew(bench: Bench) -> None:
    stage = writer("one", lambda context: "x")
    finished = bench.run(stage)
    (finished.path / "stage.json").unlink()
    assert load_output(finished.path) is None
    again = bench.run(stage)
    assert bench.ran() and again == finished


def test_a_damaged_record_is_one_line_whose_remedy_works(bench: Bench) -> None:
    stage = writer("one", lambda context: "x")
    record = bench.run(stage).path / "stage.json"
    record.write_text('{"stage": ')
    with pytest.raises(SeedbedError, match=r"stage\.json is not valid JSON .* delete it and run the same command"):
        bench.run(stage)
    record.unlink()
    bench.run(stage)


def test_a_full_disk_is_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    stage = Stage("one", 1, (), lambda recipe: None, full)
    with pytest.raises(SeedbedError, match="the disk is full: free some space"):
        bench.run(stage)
    monkeypatch.setattr("seedbed.run.stages.write_json", full)
    with pytest.raises(SeedbedError, match="the disk is full"):
        bench.run(writer("two", lambda context: "x"))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EFBIG, "no"), r"ulimit -f\): raise it and run"),
        (OSError(errno.EDQUOT, "no"), "quota"),
        (OSError("177040 requested and 49872 written"), "the disk is full"),  # as ndarray.tofile says it
    ],
)
def test_a_file_or_folder_that_may_not_grow_is_one_line(bench: Bench, error: OSError, says: str) -> None:
    def full(*arguments: Any) -> None:
        raise error

    with pytest.raises(SeedbedError, match=says):
        bench.run(Stage("one", 1, (), lambda recipe: None, full))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_no_memory_is_one_line(bench: Bench, error: Exception) -> None:
    def fail(context: StageContext) -> dict[str, Any]:
        raise error

    with pytest.raises(SeedbedError, match=r"^first: there is no memory left: .* run the same command again"):
        bench.run(Stage("first", 1, (), lambda recipe: None, fail))


def test_a_stop_is_heeded_before_a_stage_and_at_its_progress(bench: Bench) -> None:
    def stop() -> None:
        raise Interrupted("stopped by SIGTERM")

    def run(context: StageContext) -> dict[str, Any]:
        bench.stop = context.check_stop = stop
        context.progress(1, 2, "files")
        return {}

    stage = Stage("one", 1, (), lambda recipe: None, run)
    for _ in range(2):
        with pytest.raises(Interrupted):
            bench.run(stage)
    assert [event["kind"] for event in bench.said] == []


def test_the_record_names_every_file_with_its_checksum(bench: Bench) -> None:
    finished = bench.run(writer("one", lambda context: "abc"))
    record = json.loads((finished.path / "stage.json").read_text())
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert record["files"] == {"out/text": {"bytes": 3, "sha256": abc}}
    assert (record["key"], record["digest"]) == (finished.key, finished.digest)


@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_damaged_output_is_not_read(bench: Bench, how: str) -> None:
    one, two = writer("one", lambda context: "x"), writer("two", lambda context: "y", inputs=("one",))
    source = bench.run(one)
    text = source.path / "out" / "text"
    text.write_text("z") if how == "changed" else text.unlink()
    with pytest.raises(SeedbedError, match=rf"out/text is (damaged|missing).*: delete {source.path} and run the same"):
        bench.run(two, one=source)
    assert bench.folders() == [source.path.name, f"two-{two.key(RECIPE, {'one': source})[:12]}.partial"]
