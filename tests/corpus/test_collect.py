"""Collect in shards: the same records whatever the split, nothing lost or counted twice, and a kill that costs little."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed.corpus import collect
from seedbed.corpus.collect import COLLECT, collect_shard
from seedbed.corpus.decisions import read_batches
from seedbed.corpus.parquet_pages import BrokenPages, largest_page
from seedbed.corpus.records import Document, Quarantined
from seedbed.corpus.sources import read_source
from seedbed.corpus.store import read_documents
from seedbed.corpus.tasks import plan_collect
from seedbed.recipe.schema import CorpusConfig, Recipe, SourceConfig
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder
from seedbed.run.stages import StageOutput, run_stage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Text, lines, a Parquet file of ten row groups, a WET file of forty members, and something hidden."""
    root = tmp_path / "data"
    root.mkdir()
    for n in range(6):
        (root / f"{n}.txt").write_text(f"text {n} " * 50)
    (root / ".hidden").write_text("x")
    (root / "a.jsonl").write_text("".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(50)) + "broken\n")
    pq.write_table(pa.table({"text": [f"row {n} " * 9 for n in range(200)]}), root / "b.parquet", row_group_size=20)
    record = "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://x/{}\r\nContent-Length: {}\r\n\r\n{}\r\n\r\n"
    texts = [f"conversion {n} " * 9 for n in range(40)]
    members = [gzip.compress(record.format(n, len(text), text).encode()) for n, text in enumerate(texts)]
    (root / "c.warc.wet.gz").write_bytes(b"".join(members))
    return root


def run(corpus: CorpusConfig, out: Path, shard_bytes: int) -> tuple[list[Any], list[Any], list[dict[str, Any]]]:
    """(documents, quarantined, results) of all shards, each task through JSON as an executor would hand it on."""
    out.mkdir()
    tasks = json.loads(json.dumps(plan_collect(corpus, shard_bytes)))
    results = [collect_shard(task, out) for task in tasks]
    documents = [row for batch in read_documents(out) for row in batch.to_pylist()]
    parts = sorted(out.glob("quarantine-*.parquet"))
    quarantined = [row for part in parts for batch in read_batches(part) for row in batch.to_pylist()]
    assert not list(out.glob(".*"))
    return documents, quarantined, results


def test_any_split_gives_the_same_records_in_the_same_order(folder: Path, tmp_path: Path) -> None:
    corpus = CorpusConfig(sources=(SourceConfig(path=str(folder), name="s"),))
    expected = list(read_source(corpus.sources[0]))
    for number, shard_bytes in enumerate((1 << 30, 1500, 300)):
        documents, quarantined, results = run(corpus, tmp_path / str(number), shard_bytes)
        assert [row["id"] for row in documents] == [r.id for r in expected if isinstance(r, Document)]
        assert [row["text"] for row in documents] == [r.text for r in expected if isinstance(r, Document)]
        assert {row["id"] for row in quarantined} == {r.id for r in expected if isinstance(r, Quarantined)}
        assert sum(result["documents"] + result["quarantined"] for result in results) == len(expected)
        read = sum(result["bytes"] + result["bytes_quarantined"] for result in results)
        assert read == sum(r.bytes_in for r in expected)


def test_tasks_follow_from_the_inputs_alone_and_validation_comes_first(folder: Path) -> None:
    values = {"sources": [str(folder), "builtin:kjv"], "validation": [str(folder / "0.txt")]}
    tasks = plan_collect(CorpusConfig.model_validate(values))
    assert tasks == plan_collect(CorpusConfig.model_validate(values))
    assert [task["split"] for task in tasks] == ["0", "", ""]
    assert [task["name"] for task in tasks] == ["00000", "00001", "00002"]
    limited = {"sources": [{"path": str(folder), "max_bytes": 1000}]}
    assert len(plan_collect(CorpusConfig.model_validate(limited), 300)) == 1


def test_a_kill_costs_only_the_shards_in_hand(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage is stopped within its third task; the next run repeats that one and makes the rest."""
    monkeypatch.setattr("seedbed.corpus.tasks.GROUP_BYTES", 1)
    values = {"name": "test", "corpus": {"sources": [str(folder)]}, "train": {"steps": 1}}
    recipe = Recipe.model_validate(values)

    def start(name: str) -> StageOutput:
        return run_stage(
            COLLECT, RunFolder.for_recipe(tmp_path / name, recipe), recipe, {}, EventLog(None), lambda: None, state={}
        )

    whole = start("whole")
    done: list[str] = []
    real = collect.read_pieces

    def counted(source: Any, pieces: Any, *rest: Any) -> Any:
        done.append(pieces[0].relative)
        if len(done) == 3:
            raise KeyboardInterrupt
        return real(source, pieces, *rest)

    monkeypatch.setattr(collect, "read_pieces", counted)
    with pytest.raises(KeyboardInterrupt):
        start("killed")
    first = list(done)
    output = start("killed")
    assert done[3] == first[2] and not set(first[:2]) & set(done[3:])
    assert output.digest == whole.digest
    assert output.summary == whole.summary


def test_a_parquet_file_of_giant_cells_loses_them_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = ["small"] * 10 + ["x" * 300_000] + ["after"] * 10
    pq.write_table(pa.table({"text": texts}), path, row_group_size=7, use_dictionary=False, compression="none")
    records = list(read_source(SourceConfig(path=str(path), name="s"), limit=100_000))
    assert [record.id for record in records] == [f"s#{n}" for n in range(1, 22)]
    (giant,) = (record for record in records if isinstance(record, Quarantined))
    assert (giant.id, giant.rule, giant.bytes_in) == ("s#11", "too_large", 300_000)


def test_a_row_group_with_a_page_too_large_is_passed_over_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seedbed.corpus.parquet.SMALL_GROUP_BYTES", 1000)
    path = tmp_path / "a.parquet"
    texts = ["one"] * 5 + ["x" * 90_000] * 5 + ["three"] * 5
    pq.write_table(pa.table({"text": texts}), path, row_group_size=5, use_dictionary=False, data_page_size=1 << 20)
    records = list(read_source(SourceConfig(path=str(path), name="s"), limit=100_000))
    assert [record.id for record in records] == [*(f"s#{n}" for n in range(1, 7)), *(f"s#{n}" for n in range(11, 16))]
    assert isinstance(records[5], Quarantined) and "rows 6 to 10" in records[5].reason


def test_page_headers_tell_the_largest_page(tmp_path: Path) -> None:
    for options in ({"data_page_version": "1.0"}, {"data_page_version": "2.0"}, {"use_dictionary": False}):
        path = tmp_path / "a.parquet"
        texts = [f"row {n} {'x' * (n % 50)}" for n in range(20_000)]
        pq.write_table(pa.table({"text": texts}), path, data_page_size=10_000, **options)
        chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
        with path.open("rb") as file:
            assert 10_000 <= largest_page(file, chunk) <= chunk.total_uncompressed_size
            file.seek(0)
            damaged = tmp_path / "b"
            data = bytearray(file.read())
        data[chunk.data_page_offset : chunk.data_page_offset + 40] = b"\xff" * 40
        damaged.write_bytes(bytes(data))
        with damaged.open("rb") as file, pytest.raises(BrokenPages):
            largest_page(file, chunk)
