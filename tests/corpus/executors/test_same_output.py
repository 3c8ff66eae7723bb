"""One corpus, every executor: the stages come out the same byte for byte, also when they were killed on the way."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from seedbed.corpus.executors import Execution, close_executors

SHARDS = 4
FIELDS = {
    "steps": ["language", "basic", "c4", "scrub"],
    "c4": {"min_sentences": 1},
    "dedup": {"near": True, "substrings": True, "substring_words": 12, "boilerplate": True, "boilerplate_pages": 2},
}


@pytest.fixture
def crawl(tmp_path: Path, make_text: Any) -> Path:
    """A folder of texts and of lines, in several tasks: near-duplicates, personal data and a broken line among them."""
    folder = tmp_path / "crawl"
    folder.mkdir()
    for shard in range(SHARDS):
        rows = []
        for number in range(12):
            text = make_text(shard * 5 + number) + f"Write to person{number}@example.org today. \n"
            rows.append({"text": text, "url": f"https://site{number % 3}.example/{shard}/{number}"})
        lines = [json.dumps(row) for row in rows]
        lines.insert(3, "{broken")
        (folder / f"part{shard}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return folder


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.corpus.tasks.GROUP_BYTES", 1)  # every file a task


def stage_digests(done: Any) -> list[str]:
    return [done.collect.digest, done.compare.digest, done.curate.digest]


def test_processes_give_what_one_process_gives(crawl: Path, curate: Any) -> None:
    alone = curate([str(crawl)], execution=Execution(workers=1), **FIELDS)
    assert len(list(alone.collect.path.glob("documents-*.parquet"))) == SHARDS
    assert {row["verdict"] for row in alone.decisions.values()} >= {"kept", "merged", "quarantined"}
    both = curate([str(crawl)], execution=Execution(workers=2), **FIELDS)
    close_executors()
    assert stage_digests(both) == stage_digests(alone)


@pytest.mark.slow
def test_ray_gives_what_one_process_gives(crawl: Path, curate: Any) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    alone = curate([str(crawl)], execution=Execution(workers=1), **FIELDS)
    cluster = curate([str(crawl)], execution=Execution("ray", 2), **FIELDS)
    assert stage_digests(cluster) == stage_digests(alone)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_the_same(crawl: Path, tmp_path: Path) -> None:
    """SIGKILL to the whole process group at growing delays, then the same command: the folder is that of an unbroken run."""
    recipe = tmp_path / "recipe.toml"
    sources = json.dumps([str(crawl / f"part{shard}.jsonl.gz") for shard in range(SHARDS)])
    recipe.write_text(
        f'name = "killed"\n[corpus]\nsources = {sources}\n[curate]\nsteps = ["language", "basic", "c4", "scrub"]\n'
        "[curate.c4]\nmin_sentences = 1\n[curate.dedup]\nnear = true\nsubstrings = true\n"
    )

    def start(out: str) -> "subprocess.Popen[bytes]":
        command = [
            sys.executable,
            "-m",
            "seedbed",
            "curate",
            str(recipe),
            "--out",
            str(tmp_path / out),
            "--workers",
            "2",
        ]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)

    assert start("whole").wait() == 0
    delay = 0.5
    while True:
        process = start("killed")
        try:
            status = process.wait(delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(0.2)
            delay += 0.5
        else:
            assert status == 0
            break

    def content(out: str) -> dict[str, str]:
        stages = json.loads((tmp_path / out / "run.json").read_text())["stages"]
        records = {name: tmp_path / out / "stages" / path / "stage.json" for name, path in stages.items()}
        return {name: json.loads(path.read_text())["digest"] for name, path in records.items()}

    assert content("killed") == content("whole")
