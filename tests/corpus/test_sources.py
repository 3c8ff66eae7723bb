"""Sources: names, order, what is skipped, limits and fingerprints."""

import os
from pathlib import Path

import pytest

from seedbed.corpus.records import Document, Quarantined
from seedbed.corpus.sources import name_sources, read_source, source_fingerprint
from seedbed.errors import InputError
from seedbed.recipe.schema import CorpusConfig, SourceConfig


def source(path: Path | str, **fields: object) -> SourceConfig:
    return SourceConfig.model_validate({"path": str(path), **fields})


def fill(folder: Path) -> None:
    for name in ("b/two.md", "a.txt", "b.txt", ".hidden.txt", ".git/config", ".git/objects/x", "C#/p%.cs"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")


def test_a_folder_is_read_in_order_and_nothing_in_it_is_passed_over_in_silence(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder-link").symlink_to(tmp_path / "b")
    os.mkfifo(tmp_path / "pipe")
    records = list(read_source(source(tmp_path, name="s")))
    assert [(r.id, getattr(r, "rule", "")) for r in records] == [
        ("s/.git", "hidden"),
        ("s/.hidden.txt", "hidden"),
        ("s/C%23/p%25.cs", ""),
        ("s/a.txt", ""),
        ("s/b/two.md", ""),
        ("s/b.txt", ""),
        ("s/broken", "unreadable"),
        ("s/folder-link", "link"),
        ("s/pipe", "unreadable"),
    ]
    hidden = records[0]
    assert isinstance(hidden, Quarantined) and "2 files" in hidden.reason


def test_a_run_inside_its_own_corpus_is_not_read(tmp_path: Path) -> None:
    fill(tmp_path)
    run = tmp_path / "runs" / "mine"
    (run / "stages").mkdir(parents=True)
    (run / "lock").touch()
    before = source_fingerprint(source(tmp_path))
    (run / "recipe.toml").write_text("seed = 1")
    (run / "stages" / "documents.txt").write_text("a copy of the text")
    assert source_fingerprint(source(tmp_path)) == before
    assert [r.id for r in read_source(source(tmp_path, name="s")) if "runs" in r.id] == ["s/runs/mine"]


def test_names_that_are_no_utf8_still_give_an_id(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("text")
    except OSError:
        pytest.skip("this file system takes no such name")
    record = next(read_source(source(tmp_path, name="s")))
    assert isinstance(record, Document)
    assert record.id == "s/caf\\xe9.txt"
    assert record.origin == f"{tmp_path}/caf\\xe9.txt"


def test_a_single_file_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("text")
    record = next(read_source(source(path)))
    assert isinstance(record, Document)
    assert (record.id, record.source, record.origin) == ("book", "book", str(path))


def test_names_are_unique_and_fit_for_files() -> None:
    corpus = CorpusConfig.model_validate(
        {
            "sources": ["/x/text.jsonl.gz", "/y/Text", {"path": "/z", "name": "a/b c"}, "builtin:sotu", "/train.txt"],
            "validation": ["/v/text.txt", "/v/train.txt"],
        }
    )
    validation, sources = name_sources(corpus)
    assert [s.name for s in validation] == ["text", "train-2"]
    assert [s.name for s in sources] == ["text-2", "Text-3", "a-b-c", "sotu", "train"]


def test_max_bytes_is_kept(tmp_path: Path) -> None:
    for i in range(10):
        (tmp_path / f"{i}.txt").write_text("x" * 100)
    assert len(list(read_source(source(tmp_path, max_bytes=450)))) == 4
    assert len(list(read_source(source(tmp_path, max_bytes=1)))) == 1


def test_a_path_that_does_not_exist_or_holds_nothing_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(read_source(source(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="holds no file"):
        list(read_source(source(tmp_path)))
    with pytest.raises(InputError, match="did you mean builtin:sotu"):
        list(read_source(source("builtin:soto")))


def test_recipe_wins_for_domain_and_the_record_for_licence(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "domain": "web", "license": "MIT"}\n{"text": "y"}\n')
    records = [r for r in read_source(source(path, domain="mine", licence="CC0-1.0")) if isinstance(r, Document)]
    assert [(r.domain, r.licence) for r in records] == [("mine", "MIT"), ("mine", "CC0-1.0")]


def test_fingerprint_changes_with_a_file_and_only_then(tmp_path: Path) -> None:
    fill(tmp_path)
    before = source_fingerprint(source(tmp_path))
    assert source_fingerprint(source(tmp_path)) == before
    (tmp_path / "a.txt").write_text("other text of another length")
    assert source_fingerprint(source(tmp_path)) != before
