"""A run with evaluation sets: documents removed or cut, the report of what was found, and the command that prints it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.corpus.decontaminate.report import Place, contamination_report, contamination_text, read_contamination
from seedbed.errors import InputError
from seedbed.report.contamination import contamination_part

ITEM = "A ferry leaves the island at dawn and crosses to the mainland in ninety minutes against the tide"
SECOND = "The clockmaker kept twelve brass wheels in a drawer and sold every third one of them on market days"


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "sets" / "travel.jsonl"
    path.parent.mkdir()
    records = [
        {"query": ITEM, "choices": ["at half past seven", "never"], "gold": 0},
        {"query": SECOND},
        {"query": "Short."},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def texts(tmp_path: Path, make_text: Callable[..., str]) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(make_text(number), encoding="utf-8")
    leaked = make_text(7) + "write to jane@acme.org\n" + ITEM + " at half past seven.\n" + make_text(8)
    (folder / "leaked.txt").write_text(leaked, encoding="utf-8")
    return folder


def test_a_document_with_an_item_goes_and_the_report_says_where_it_stood(
    curate: Callable[..., Any], texts: Path, sets: Path
) -> None:
    run = curate([str(texts)], steps=["basic", "decontaminate"], decontaminate={"sets": str(sets)})
    row = run.decisions["texts/leaked.txt"]
    assert (row["verdict"], row["rule"]) == ("removed", "decontaminate.max_hits")
    assert row["score.decontaminate.items"] == row["score.decontaminate.answers"] == 1
    assert sum(row["verdict"] == "removed" for row in run.decisions.values()) == 1
    report = read_contamination(run.folder.path)
    assert report["sets"]["travel"] == {
        "items": 3, "searchable": 2, "found": 1, "found_share": 1 / 3, "answers": 1, "left": 0, "left_share": 0, "widespread": 0,
    }  # fmt: skip
    [item] = report["items"]
    [place] = item["places"]
    assert place["text"] == ITEM + " at half past seven" and place["document"] == "texts/leaked.txt"
    assert "travel:1 in texts/leaked.txt" in contamination_text(report)
    part = contamination_part(report)
    assert f"travel:1<small>{ITEM} at half past seven</small>" in part and "texts/leaked.txt" in part and "gone" in part
    assert "2 items of 1 sets were looked for" in part


def test_the_runs_page_says_when_nothing_was_found_and_takes_no_text_for_markup(
    curate: Callable[..., Any], texts: Path, sets: Path
) -> None:
    (texts / "leaked.txt").unlink()
    run = curate([str(texts)], steps=["basic", "decontaminate"], decontaminate={"sets": str(sets)})
    report = read_contamination(run.folder.path)
    assert contamination_part(report).endswith("None was found.</p>") and contamination_part(None) == ""
    place = {"document": "<b>x", "start": 0, "end": 1, "kept": True, "text": "<script>"}
    item = {
        "set": "<i>",
        "item": 1,
        "answer": False,
        "kept": True,
        "documents": 1,
        "widespread": False,
        "places": [place],
    }
    assert not set(["<script>", "<b>", "<i>"]) & set(
        re.findall("<[^/>]*>", contamination_part(report | {"items": [item]}))
    )


def test_words_can_be_cut_out_instead(curate: Callable[..., Any], texts: Path, sets: Path) -> None:
    section = {"sets": [str(sets)], "cut": True}
    run = curate([str(texts)], steps=["basic", "decontaminate", "scrub"], decontaminate=section)
    text = run.documents["texts/leaked.txt"]["text"]
    assert "ferry" not in text and "half past seven" not in text and "<EMAIL>" in text and "Text number 8" in text
    assert read_contamination(run.folder.path)["sets"]["travel"]["left"] == 0


def test_items_can_be_reported_alone_with_places_in_the_text_that_the_step_saw(
    curate: Callable[..., Any], texts: Path, sets: Path
) -> None:
    """Scrubbing stands before: what it replaced has moved everything after it."""
    section = {"sets": [str(sets)], "max_hits": "none"}
    run = curate([str(texts)], steps=["basic", "scrub", "decontaminate"], decontaminate=section)
    report = read_contamination(run.folder.path)
    assert report["sets"]["travel"]["left"] == 1
    place = report["items"][0]["places"][0]
    assert place["text"].startswith("A ferry leaves") and place["kept"]
    assert run.documents["texts/leaked.txt"]["text"][place["start"] : place["end"]] == place["text"]


def test_other_sets_are_another_score_and_other_thresholds_are_not(
    curate: Callable[..., Any], texts: Path, sets: Path
) -> None:
    from seedbed.corpus.chain import scoring_config
    from seedbed.recipe.curation import CurateConfig

    def key(**section: Any) -> Any:
        return scoring_config(
            CurateConfig.model_validate({"steps": ["decontaminate"], "decontaminate": {"sets": [str(sets)], **section}})
        )

    before = key()
    assert key(max_hits=3) == before and key(ngram=12) != before
    sets.write_text(json.dumps({"query": SECOND}) + "\n", encoding="utf-8")
    assert key() != before


def test_a_step_without_sets_is_refused(curate: Callable[..., Any], texts: Path) -> None:
    with pytest.raises(InputError, match=r"curate\.decontaminate\.sets"):
        curate([str(texts)], steps=["basic", "decontaminate"])


def test_an_item_of_many_documents_is_widespread() -> None:
    places = [Place("s:1", False, f"d/{n}", 0, 4, "text", True) for n in range(4)] + [
        Place("s:2", True, "d/0", 5, 9, "text", True)
    ]
    summary: dict[str, Any] = {
        "sets": {"s": {"items": 4, "searchable": 4}}, "ngram": 13, "short_words": 8, "common": 0, "ignored": 0, "plain": 0,
        "most_common": [],
    }  # fmt: skip
    entry = contamination_report(places, summary, 3)["sets"]["s"]
    assert (entry["found"], entry["answers"], entry["left"], entry["widespread"]) == (1, 1, 1, 1)
    assert contamination_report(places, summary, 4)["sets"]["s"]["found"] == 2
    assert contamination_text(contamination_report([], summary, 4)).startswith("nothing found")
