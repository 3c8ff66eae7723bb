"""Ladders: read with errors that name the field, run through the trainer, kept when made, and judged."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import seedbed.train.trials
from seedbed.errors import InputError
from seedbed.laws import read_points
from seedbed.laws.ladder import ladder_names, load_ladder, rungs
from seedbed.run.progress import PlainProgress

SMALL = """
[recipe]
preset = "first-light"
corpus = {{ sources = ["{corpus}"], held_out_fraction = 0.1 }}
tokenizer.vocab_size = 300
[recipe.model]
context = 16
ngram_rows = 0
prior_order = 0
[recipe.train]
batch_tokens = 64
precision = "float32"
compile = "off"
threads = 1
device = "cpu"
[[runs]]
size = {sizes}
tokens = {tokens}
[held_out]
size = "400k"
tokens = "1024"
"""


def write_ladder(folder: Path, corpus: Path, sizes: list[str], tokens: list[str]) -> Path:
    path = folder / "small.toml"
    path.write_text(SMALL.format(corpus=corpus, sizes=json.dumps(sizes), tokens=json.dumps(tokens)))
    return path


def test_the_documented_ladder_is_sound() -> None:
    assert "cpu-12m" in ladder_names()
    ladder = load_ladder("cpu-12m")
    every = rungs(ladder)
    assert len(every) == 15 and every[-1].role == "held out"
    assert ladder.recipe["model"]["prior_order"] == 0 and ladder.recipe["model"]["ngram_rows"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('size = ["20k"', 'sizes = ["20k"'), "sizes"),
        (("batch_tokens = 64", "batch_token = 64"), "batch_tokens"),
        (('["20k", "60k"]', '["20k", "19k"]'), "one shape"),
        (('tokens = "1024"', 'tokens = "many"'), "many"),
        (("[[runs]]", "[[run]]"), "run"),
    ],
)
def test_a_wrong_ladder_is_refused_before_anything_runs(
    tmp_path: Path, small_corpus: Path, change: tuple[str, str], message: str
) -> None:
    path = write_ladder(tmp_path, small_corpus, ["20k", "60k"], ["1024"])
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(InputError, match=message):
        load_ladder(str(path))


def run_small(path: Path, out: Path, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from seedbed.laws.ladder import run_ladder

    class Listener(PlainProgress):
        def __call__(self, event: dict[str, Any]) -> None:
            events.append(event)

        def close(self) -> None:
            pass

    return run_ladder(load_ladder(str(path)), out, Listener, lambda line: None)


def test_runs_go_through_the_trainer_once(tmp_path: Path, small_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seedbed.train.trials, "MEASURED_SECONDS", 0.0)
    path = write_ladder(tmp_path, small_corpus, ["20k"], ["1024"])
    events: list[dict[str, Any]] = []
    points = run_small(path, tmp_path / "out", events)
    assert [point["role"] for point in points] == ["fit", "held out"]
    assert all(point["tokens"] == 1024 and 0 < point["loss"] < 10 for point in points)
    assert points[0]["matrix_params"] == points[0]["params"] < points[0]["total_params"]
    read = read_points(tmp_path / "out" / "points.csv")
    assert read.inputs.params.tolist() == [point["params"] for point in points]
    assert read.loss.tolist() == [point["loss"] for point in points]

    events.clear()
    write_ladder(tmp_path, small_corpus, ["20k"], ["1024", "2048"])
    again = run_small(path, tmp_path / "out", events)
    assert len(again) == 3 and again[0] == points[0] and again[2] == points[1]
    assert sum(e["kind"] == "stage_start" and e.get("stage") == "train" for e in events) == 1


@pytest.mark.slow
def test_a_whole_ladder_ends_with_a_verdict(tmp_path: Path, small_corpus: Path) -> None:
    from typer import Typer

    from seedbed.cli.laws import laws

    path = write_ladder(tmp_path, small_corpus, ["20k", "60k", "200k"], ["1024", "2048", "4096"])
    app = Typer()
    app.add_typer(laws, name="laws")
    done = CliRunner().invoke(app, ["laws", "run", str(path), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "ladder.json").read_text())
    assert found["held_out"][0]["interval"][0] < found["held_out"][0]["predicted"] < found["held_out"][0]["interval"][1]
    assert set(found["held_out"][0]["forms"]) == {"chinchilla", "tied", "kaplan"}
    assert (tmp_path / "out" / "law.json").is_file()
