"""What the stage `evaluate` writes, its commands, and a user's own text scored as held-out text is."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.cli import main
from seedbed.evaluate.baselines import gzip_bits, xz_bits
from seedbed.evaluate.bits import score_split
from seedbed.evaluate.held_out import select, texts_of
from seedbed.evaluate.own_text import evaluate_file
from seedbed.evaluate.samples import default_prompts
from seedbed.evaluate.stage import EVALUATE
from seedbed.evaluate.table import METHODS, evaluation_text
from seedbed.files import read_json
from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder
from seedbed.run.stages import StageOutput, load_output, run_stage
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.store import load_model

COUNTS = ("bytes", "characters", "documents", "tokens")


@pytest.fixture
def evaluation(finished_run: RunFolder) -> dict[str, Any]:
    return read_json(finished_run.stage_path("evaluate") / "evaluation.json")


def test_scores_are_those_of_the_parts(finished_run: RunFolder, evaluation: dict[str, Any]) -> None:
    trained, shards = finished_run.stage_path("train"), finished_run.stage_path("tokenize") / "validation"
    tokenizer = Tokenizer.load(trained / "tokenizer.json")
    limit = finished_run.recipe().evaluate.max_bytes_per_domain
    scores = score_split(load_model(trained), shards, limit, tokenizer=tokenizer)
    table = evaluation["bits_per_byte"]
    assert list(table) == ["all", *scores]
    for domain, score in scores.items():
        entry = table[domain]
        assert [entry[name] for name in ("bytes", "documents", "tokens")] == [
            score[name] for name in ("bytes", "documents", "tokens")
        ]
        assert entry["model"] == pytest.approx(score["model"], abs=1e-4)
        assert entry["transformer"] == pytest.approx(score["transformer"], abs=1e-4)
        text = b"".join(select(shards, limit, tokenizer)[domain].texts)
        assert entry["gzip"] == pytest.approx(gzip_bits(text) / len(text), abs=1e-4)
        assert entry["xz"] == pytest.approx(xz_bits(text) / len(text), abs=1e-4)
        assert 0 < entry["ngram"] < 8
        assert entry["model_bits_per_character"] == pytest.approx(
            entry["model"] * entry["bytes"] / entry["characters"], abs=1e-3
        )
    for name in COUNTS:
        assert table["all"][name] == sum(table[domain][name] for domain in scores)
    assert evaluation["splits"] == {"validation": table}
    assert (evaluation["context"], evaluation["slide"]) == (16, 8)


def test_samples(finished_run: RunFolder) -> None:
    samples = read_json(finished_run.stage_path("evaluate") / "samples.json")
    recipe = finished_run.recipe()
    tokenizer = Tokenizer.load(finished_run.stage_path("train") / "tokenizer.json")
    shards = finished_run.stage_path("tokenize") / "validation"
    streams = list(select(shards, recipe.evaluate.max_bytes_per_domain, tokenizer).values())
    assert [sample["prompt"] for sample in samples] == list(default_prompts(streams, tokenizer))
    first = tokenizer.decode(streams[0].tokens[:200])
    assert samples[0]["prompt"] and first.lstrip().startswith(samples[0]["prompt"])
    for number, sample in enumerate(samples):
        assert (sample["seed"], sample["temperature"]) == (recipe.seed + number, recipe.evaluate.temperature)
        assert sample["tokens"] <= recipe.evaluate.sample_tokens


def again(run: RunFolder, recipe: Recipe, tokenize: Path | None = None) -> Path:
    """The stage run anew on the run's inputs."""
    outputs: dict[str, StageOutput] = {}
    for name in EVALUATE.inputs:
        output = load_output(run.stage_path(name))
        assert output is not None
        outputs[name] = output
    if tokenize is not None:
        outputs["tokenize"] = StageOutput(tokenize, "other", "other", {})
    folder = RunFolder.for_recipe(run.path.parent / "again", recipe)
    return run_stage(EVALUATE, folder, recipe, outputs, EventLog(None), lambda: None, {}).path


def test_is_the_same_again(finished_run: RunFolder) -> None:
    path = again(finished_run, finished_run.recipe())
    for name in ("evaluation.json", "samples.json"):
        assert (path / name).read_bytes() == (finished_run.stage_path("evaluate") / name).read_bytes()


def test_splits_add_up(finished_run: RunFolder, write_shards: Callable[..., Path], texts: list[str]) -> None:
    """Two validation files, one domain in both; the tokenizer of the run, which is not the fixture's."""
    import shutil

    from seedbed.tokens.shards import ShardWriter

    tokenizer = Tokenizer.load(finished_run.stage_path("train") / "tokenizer.json")
    shards = finished_run.path.parent / "shards"
    shutil.copytree(finished_run.stage_path("tokenize") / "train", shards / "train")
    for split, documents in {"a": [("code", texts[0][:900])], "b": [("code", texts[1][:700]), ("x", texts[3])]}.items():
        writer = ShardWriter(shards / split, tokenizer.vocab_size, tokenizer.eos_id, tokenizer.sha256)
        for domain, text in documents:
            writer.add(tokenizer.encode(text), domain, "s", domain, len(text.encode()))
        writer.finish()
    (shards / "stage.json").write_text('{"files": {}}')
    found = read_json(again(finished_run, finished_run.recipe(), shards) / "evaluation.json")
    assert list(found["splits"]) == ["a", "b"]
    both, a, b = found["bits_per_byte"], found["splits"]["a"], found["splits"]["b"]
    assert list(both) == ["all", "code", "x"]
    assert both["code"]["bytes"] == a["code"]["bytes"] + b["code"]["bytes"] == 1600
    for method in ("model", "gzip", "ngram"):
        spent = a["code"][method] * 900 + b["code"][method] * 700
        assert both["code"][method] == pytest.approx(spent / 1600, abs=1e-4)
    assert both["x"]["characters"] == len(texts[3]) < both["x"]["bytes"]
    table = evaluation_text(found)
    assert [line.split()[0] for line in table.splitlines() if line.startswith(("a ", "b ", "domain "))] == [
        "domain", "a", "b"
    ]  # fmt: skip


def test_texts_come_from_curate_where_decoding_is_not_exact(finished_run: RunFolder) -> None:
    shards = finished_run.stage_path("tokenize") / "validation"
    tokenizer = Tokenizer.load(finished_run.stage_path("train") / "tokenizer.json")
    exact = select(shards, 10**6, tokenizer)
    for domain, stream in select(shards, 10**6).items():
        assert stream.texts == []
        assert texts_of(stream, finished_run.stage_path("curate")) == exact[domain].texts


def test_the_table(evaluation: dict[str, Any]) -> None:
    header, row, nothing, *_ = evaluation_text(evaluation).splitlines()
    assert header.split() == ["domain", "text", "documents", "characters", *METHODS.values()]
    assert row.startswith("prose ") and row.count("*") == 1
    assert nothing == ""  # of one domain the sum says the same
    for entry in evaluation["bits_per_byte"].values():
        entry["transformer"] = entry["model"]
    assert "transformer" not in evaluation_text(evaluation)


def test_own_text_scores_as_held_out_text(finished_run: RunFolder, tmp_path: Path) -> None:
    """The held-out documents themselves, given as JSONL with a broken line."""
    shards = finished_run.stage_path("tokenize") / "validation"
    ((domain, stream),) = select(shards, 10**6).items()
    texts = texts_of(stream, finished_run.stage_path("curate"))
    path = tmp_path / "own.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text.decode(), "domain": "mine"}) + "\n" for text in texts) + "{broken\n"
    )
    found = evaluate_file(finished_run, path)
    assert found["skipped"] == 1
    assert list(found["bits_per_byte"]) == ["all", "mine"]
    entry = found["bits_per_byte"]["all"]
    expected = score_split(load_model(finished_run.stage_path("train")), shards, 10**6)[domain]
    assert {name: entry[name] for name in expected} == pytest.approx(expected, abs=1e-4)


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["seedbed", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command(
    finished_run: RunFolder,
    evaluation: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = str(finished_run.path)
    assert call(["evaluate", run, "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out) == evaluation
    assert call(["evaluate", run], monkeypatch) == 0
    assert "bits per byte" in capsys.readouterr().out
    (tmp_path / "own.txt").write_text("The people of this land shall give bread to their king.\r\n" * 3)
    assert call(["evaluate", run, "--on", str(tmp_path / "own.txt"), "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["bits_per_byte"]["all"]["bytes"] == 167


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "no text"),
        (b"\x00\x01\x02", "binary"),
        (b"abc \xff\xfe def", "invalid UTF-8"),
        (b"\n\n", "no text"),
    ],
)
def test_own_text_that_cannot_be_scored(
    finished_run: RunFolder,
    tmp_path: Path,
    content: bytes | None,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "own.txt"
    if content is not None:
        path.write_bytes(content)
    assert call(["evaluate", str(finished_run.path), "--on", str(path)], monkeypatch) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and str(path) in line and reason in line
