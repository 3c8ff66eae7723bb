"""Collect and curate together: every record is accounted for, and the splits are what the recipe asks."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from seedbed.corpus.collect import collect_config
from seedbed.corpus.curate import curate_config
from seedbed.corpus.decisions import decision_batches
from seedbed.corpus.store import DOCUMENT_SCHEMA, DocumentWriter, document_parts, read_documents
from seedbed.corpus.yields import sum_yields
from seedbed.errors import InputError
from seedbed.files import read_json
from seedbed.recipe.schema import Recipe


@pytest.fixture
def folder(tmp_path: Path, make_text: Any) -> Path:
    """Every kind of record: 13 good texts, a copy, a short one, an empty one, a binary, two broken ones."""
    root = tmp_path / "texts"
    root.mkdir()
    for i in range(12):
        (root / f"good{i:02d}.txt").write_text(make_text(i))
    (root / "zcopy.txt").write_text("\ufeff" + make_text(3).replace("\n", "  \r\n"))
    (root / "short.txt").write_text("Too short.")
    (root / "empty.txt").write_text(" \n")
    (root / "image.bin").write_bytes(bytes(100))
    (root / "latin1.txt").write_bytes("café".encode("latin-1"))
    (root / "lines.jsonl").write_text(json.dumps({"text": make_text(90)}) + "\n{broken\n")
    return root


def test_every_record_has_one_decision_with_its_reason(folder: Path, curate: Any) -> None:
    done = curate([str(folder)])
    found = {
        key.removeprefix("texts/"): (row["verdict"], row["rule"]) for key, row in done.decisions.items() if row["rule"]
    }
    assert found == {
        "zcopy.txt": ("merged", "exact_dedup"),
        "short.txt": ("removed", "basic.min_characters"),
        "empty.txt": ("removed", "empty"),
        "image.bin": ("quarantined", "binary"),
        "latin1.txt": ("quarantined", "invalid_encoding"),
        "lines.jsonl#2": ("quarantined", "broken_json"),
    }
    assert done.decisions["texts/zcopy.txt"]["merged_into"] == "texts/good03.txt"
    assert all(row["reason"] for row in done.decisions.values() if row["verdict"] != "kept")
    assert all(
        (row["score.basic.characters"] is None) == (row["verdict"] == "quarantined") for row in done.decisions.values()
    )


def test_the_identity_holds_in_documents_and_bytes(folder: Path, curate: Any) -> None:
    done = curate([str(folder)])
    summary = done.curate.summary
    assert (
        summary["read"] == sum(summary[v] for v in ("kept", "removed", "merged", "quarantined")) == len(done.decisions)
    )
    assert summary["bytes_read"] == sum(row["bytes_in"] for row in done.decisions.values())
    assert summary["bytes_kept"] == sum(len(row["text"].encode()) for row in done.documents.values())
    entries = read_json(done.curate.path / "yields.json")
    assert entries == sum_yields(decision_batches(done.curate.path))
    assert sum(entry["documents"] for entry in entries) == summary["read"]


def test_kept_documents_are_normalised_and_split(folder: Path, curate: Any) -> None:
    done = curate([str(folder)])
    kept = {key for key, row in done.decisions.items() if row["verdict"] == "kept"}
    assert set(done.documents) == kept
    splits = [row["split"] for row in done.documents.values()]
    assert set(splits) == {"train", "validation"}
    assert all(row["split"] == done.decisions[key]["split"] for key, row in done.documents.items())
    assert not any(row["text"].endswith("\n") for row in done.documents.values())


def test_the_same_recipe_gives_the_same_bytes(folder: Path, curate: Any) -> None:
    first, second = curate([str(folder)]), curate([str(folder)])
    assert first.collect.digest == second.collect.digest
    assert first.curate.digest == second.curate.digest


def test_dedup_can_be_off_and_equal_texts_stay_on_one_side(folder: Path, curate: Any) -> None:
    for seed in range(5):
        done = curate([str(folder)], seed=seed, dedup={"exact": False}, corpus={"held_out_fraction": 0.4})
        assert done.documents["texts/good03.txt"]["split"] == done.documents["texts/zcopy.txt"]["split"]


def test_named_validation_files_are_kept_whole_and_win(
    folder: Path, tmp_path: Path, make_text: Any, curate: Any
) -> None:
    held = tmp_path / "held.txt"
    held.write_text(make_text(5))
    tiny = tmp_path / "tiny.txt"
    tiny.write_text("A short line that the rules would remove.")
    done = curate([str(folder)], validation=[str(held), str(tiny)])
    assert {row["split"] for row in done.documents.values()} == {"train", "held", "tiny"}
    equal = done.decisions["texts/good05.txt"]
    assert (equal["verdict"], equal["rule"]) == ("removed", "in_validation")
    assert "held" in equal["reason"]
    assert done.decisions["tiny"]["score.basic.characters"] == 41


def test_one_document_is_an_input_error(tmp_path: Path, make_text: Any, curate: Any) -> None:
    path = tmp_path / "only.txt"
    path.write_text(make_text(1))
    with pytest.raises(InputError, match=r"has one document, .*name a validation file"):
        curate([str(path)])
    other = tmp_path / "other.txt"
    other.write_text(make_text(2))
    done = curate([str(path)], validation=[str(other)])
    assert done.curate.summary["splits"].keys() == {"train", "other"}


def test_two_documents_are_enough(tmp_path: Path, make_text: Any, curate: Any) -> None:
    path = tmp_path / "two.jsonl"
    path.write_text("".join(json.dumps({"text": make_text(i)}) + "\n" for i in range(2)))
    done = curate([str(path)])
    assert {split: entry["documents"] for split, entry in done.curate.summary["splits"].items()} == {
        "train": 1,
        "validation": 1,
    }


def test_nothing_kept_names_the_rule_and_the_remedy(tmp_path: Path, curate: Any) -> None:
    path = tmp_path / "short.jsonl"
    path.write_text("".join(json.dumps({"text": f"short {i}"}) + "\n" for i in range(7)))
    with pytest.raises(
        InputError, match=r"no document .* basic.min_characters removed 7 of 7.* curate\.basic.min_characters"
    ):
        curate([str(path)])


def test_validation_without_text_is_an_input_error(folder: Path, tmp_path: Path, curate: Any) -> None:
    blank = tmp_path / "blank.txt"
    blank.write_text(" \n")
    with pytest.raises(InputError, match=r"corpus\.validation: blank holds no text"):
        curate([str(folder)], validation=[str(blank)])


def test_an_unreadable_corpus_is_an_input_error(tmp_path: Path, curate: Any) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(10))
    with pytest.raises(InputError, match=r"1 binary: binary, not text \(a NUL byte at byte 0\)"):
        curate([str(path)])


def test_licences_and_domains_are_told_by_source(curate: Any, folder: Path) -> None:
    done = curate([{"path": str(folder), "licence": "CC0-1.0", "domain": "mine"}, "builtin:kjv"])
    sources = done.collect.summary["sources"]
    assert {name: s["licence"] for name, s in sources.items()} == {"texts": "CC0-1.0", "kjv": "public domain"}
    assert set(done.curate.summary["domains"]) == {"mine", "scripture"}


def test_stage_keys_hold_what_the_output_depends_on(folder: Path) -> None:
    def recipe(**changes: Any) -> Recipe:
        return Recipe.model_validate(
            {
                "name": "t",
                "corpus": {"sources": [str(folder)], **changes.pop("corpus", {})},
                "train": {"steps": 1},
                **changes,
            }
        )

    base = recipe()
    assert collect_config(base) == collect_config(recipe(seed=2, curate={"basic": {"min_words": 1}}))
    assert curate_config(base) != curate_config(recipe(seed=2))
    assert curate_config(base) != curate_config(recipe(curate={"basic": {"min_words": 1}}))
    named = {"validation": ["x.txt"]}
    assert curate_config(recipe(corpus=named)) == curate_config(recipe(corpus=named, seed=2))
    before = collect_config(base)
    shutil.copy(folder / "good00.txt", folder / "new.txt")
    assert collect_config(base) != before


def test_parts_are_bounded_and_read_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.corpus.store.PART_BYTES", 1000)
    monkeypatch.setattr("seedbed.corpus.store.GROUP_BYTES", 300)
    row = {name: 1 if name == "bytes_in" else "" for name in DOCUMENT_SCHEMA.names}
    with DocumentWriter(tmp_path) as writer:
        for i in range(50):
            writer.add({**row, "id": str(i), "text": "x" * 100}, 100)
    assert len(document_parts(tmp_path)) == 5
    ids = [value for batch in read_documents(tmp_path, ["id"]) for value in batch.column(0).to_pylist()]
    assert ids == [str(i) for i in range(50)]


def test_the_language_found_fills_the_column(tmp_path: Path, curate: Any) -> None:
    english = "The ship left the harbour before dawn, and nobody on the quay could say where it was going. "
    german = "Das Schiff verließ den Hafen vor der Dämmerung, und niemand am Kai wusste, wohin es fuhr. "
    path = tmp_path / "two.jsonl"
    lines = [{"text": f"{text}{number} " * 8} for number in range(4) for text in (english, german)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    limits = {"max_duplicate_line_fraction": "none", "max_top_bigram_fraction": "none", "max_compression_ratio": "none"}
    done = curate([str(path)], steps=["language", "basic"], language={"allowed": ["de"]}, basic=limits)
    kept = [row for row in done.decisions.values() if row["verdict"] == "kept"]
    assert {row["language"] for row in kept} == {"de"} and len(kept) == 4
    assert {row["rule"] for row in done.decisions.values()} == {"", "language.allowed"}
    assert {row["language"] for row in done.documents.values()} == {"de"}
    assert {entry["language"] for entry in read_json(done.curate.path / "yields.json")} == {"de", "en"}
