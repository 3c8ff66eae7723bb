"""`seedbed why` and `seedbed yields`: the right document, its scores against the thresholds, or one line of help."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.cli.why import why
from seedbed.cli.yields import yields
from seedbed.corpus.differences import Change, changes
from seedbed.corpus.inspect import match_id
from seedbed.errors import InputError

IDS = ["books/a.txt", "books/a.txt#1", "books/emma/1.txt", "web#7", "web#77"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("books/a.txt", "books/a.txt"), ("books/e", "books/emma/1.txt"), ("EMMA", "books/emma/1.txt"), ("web#7", "web#7")],
)
def test_a_document_is_found_by_id_beginning_or_part(wanted: str, found: str) -> None:
    assert match_id(IDS, wanted) == found


def test_an_unclear_or_unknown_document_is_answered_with_names() -> None:
    with pytest.raises(InputError, match=r"3 documents.*books/emma"):
        match_id(IDS, "books")
    with pytest.raises(InputError, match=r"did you mean books/emma/1\.txt"):
        match_id(IDS, "boks/emm/1.txt")


def test_a_record_is_found_by_a_field_of_its_own(
    tmp_path: Path, make_text: Any, curate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wiki.jsonl"
    path.write_text("".join(json.dumps({"text": make_text(i), "title": f"Ä title {i}"}) + "\n" for i in range(3)))
    why(Path(curate([str(path)]).folder.path), "Ä title 2")
    assert capsys.readouterr().out.startswith("wiki#3  Ä title 2")


@pytest.fixture
def run(tmp_path: Path, make_text: Any, curate: Any) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.txt").write_text(make_text(i))
    (folder / "short.txt").write_text("A short text, which a rule removes.")
    (folder / "bad.txt").write_bytes(b"\xff\xfe\xfd")
    done = curate([str(folder)])
    return Path(done.folder.path)


def test_why_shows_the_verdict_the_scores_and_the_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    why(run, "short")
    shown = capsys.readouterr().out
    assert "removed by basic.min_characters" in shown
    assert "FAILS" in shown and "min_words" in shown
    assert "A short text, which a rule removes." in shown


def test_why_tells_of_quarantine(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    why(run, "bad.txt", json=True)
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verdict"], answer["rule"], answer["scores"]) == ("quarantined", "invalid_encoding", [])


def test_why_in_json_holds_every_rule(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    why(run, "texts/1.txt", json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "kept"
    assert all(entry["passed"] for entry in answer["scores"])
    assert answer["excerpt"].startswith("Text number 1.")


def test_yields_show_the_sums(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yields(run)
    shown = capsys.readouterr().out
    assert "collect.invalid_encoding" in shown and "basic.min_characters" in shown
    yields(run, json=True)
    entries = json.loads(capsys.readouterr().out)["yields"]
    assert sum(entry["documents"] for entry in entries) == 6


def test_a_folder_that_is_no_run_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        yields(tmp_path)


def test_why_of_a_near_duplicate_shows_its_partner_and_what_differs(
    tmp_path: Path, curate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(1)
    lines = [" ".join("".join(draw.choices("abcdefgh", k=5)) for _ in range(12)) + "." for _ in range(20)]
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "kept.txt").write_text("\n".join([*lines, "The last line is here alone."]))
    (folder / "near.txt").write_text("\n".join([*lines[:5], "Another line in its place.", *lines[6:]]))
    (folder / "other.txt").write_text("\n".join(lines[::-1][:3]) * 3)
    path = curate([str(folder)], dedup={"near": True}).folder.path
    why(path, "near.txt")
    shown = capsys.readouterr().out
    assert "merged by near_dedup" in shown and "beside web/kept.txt: Jaccard similarity 0." in shown
    assert f"- {lines[5]}"[:50] in shown and "+ Another line in its place." in shown
    assert "- The last line is here alone." in shown
    why(path, "kept.txt")
    assert "merged into it: web/near.txt" in capsys.readouterr().out
    why(path, "near.txt", json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["partner"]["id"] == "web/kept.txt" and 0.7 < answer["partner"]["similarity"] < 1


def test_why_shows_what_was_scrubbed_and_cut(tmp_path: Path, curate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    text = "The harbour is quiet in winter and the river runs past the stone meadow to the sea.\n" * 2
    (folder / "a.txt").write_text(
        text + "Write to someone.else@brightharbour.org for the lantern.\nSign-in\n12\n" + text
    )
    (folder / "b.txt").write_text(text * 3 + "Another end.")
    steps = ["refinedweb_lines", "scrub"]
    why(curate([str(folder)], steps=steps).folder.path, "a.txt")
    shown = capsys.readouterr().out
    assert "[someone.else@brightharbour.org]" in shown and "->" in shown
    assert "cut: " in shown


@given(st.lists(st.sampled_from(["one {}", "two {}. ", "{} " + "four " * 60 + "end. And {}."]), max_size=12), st.data())
def test_differences_are_none_for_equal_texts_and_name_each_piece_that_goes(lines: list[str], data: Any) -> None:
    lines = [line.format(number, number) for number, line in enumerate(lines)]
    text = "\n".join(lines)
    assert changes(text, text + " \n ") == []
    at = data.draw(st.integers(0, len(lines)))
    longer = "\n".join([*lines[:at], "NEW", *lines[at:]])
    assert changes(text, longer) == [Change("", "NEW")] and changes(longer, text) == [Change("NEW", "")]
