"""Items in texts: found wherever they stand and however they are set, a paraphrase not, and nobody accused by a hash."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.decontaminate import hashes
from seedbed.corpus.decontaminate.hashes import run_hashes
from seedbed.corpus.decontaminate.index import Index, IndexConfig, build_index, fingerprint, open_index
from seedbed.corpus.decontaminate.search import search
from seedbed.corpus.decontaminate.words import places_of, words_of

QUESTION = (
    "Question: A gardener plants rows of tulips along the northern wall, and each row holds fifteen bulbs less than the row "
    "before it. How many bulbs stand in the ninth row?\nAnswer:"
)
ITEMS = [
    {"query": QUESTION, "choices": ["forty two bulbs and one trowel", "none"], "gold": 0},
    {
        "query": "Which metal melts in a warm hand?",
        "choices": ["gallium", "iron"],
        "gold": 0,
    },  # nine words with the answer
    {"query": "Name a colour.", "choices": ["red"], "gold": 0},  # too short to be told from chance
]
FILLER = "The harbour was quiet that winter, and the lantern above the orchard gate burned copper and violet until morning came. "


@pytest.fixture
def make_index(tmp_path: Path) -> Callable[..., Index]:
    count = 0

    def make(records: list[dict[str, object]] | None = None, **settings: object) -> Index:
        nonlocal count
        count += 1
        path = tmp_path / f"sets{count}" / "garden.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps(record) + "\n" for record in records or ITEMS), encoding="utf-8")
        values = {"ngram": 13, "short_words": 8, "max_items": 20, **settings}
        folder = tmp_path / f"index{count}"
        folder.mkdir()
        build_index(IndexConfig((str(path),), **values), folder)  # type: ignore[arg-type]
        return Index(folder)

    return make


def test_an_item_is_found_at_every_position_and_its_place_is_exact(make_index: Callable[..., Index]) -> None:
    index = make_index()
    planted = "rows of tulips along the northern wall, and each row holds fifteen bulbs less than the row before it"
    for position in range(0, len(FILLER), 7):
        text = FILLER[:position] + " -- " + planted + " -- " + FILLER[position:]
        [passage] = search(text, index).passages
        assert passage.item == "garden:1" and not passage.answered
        assert text[passage.start : passage.end] == planted


def test_case_punctuation_lines_and_markup_make_no_difference(make_index: Callable[..., Index]) -> None:
    index = make_index()
    text = "ROWS of *tulips*\n  along the\tnorthern wall; and (each) row holds <b>fifteen</b> bulbs less."
    text = text.replace("<b>", "“").replace("</b>", "”")
    found = search(FILLER + text, index)
    assert found.items == 1 and found.hits == len(words_of(text)) - 12


def test_twelve_words_are_too_few_and_thirteen_enough(make_index: Callable[..., Index]) -> None:
    index = make_index()
    words = words_of(QUESTION)[1:]  # without "Question:"
    for start in range(len(words) - 14):
        assert search(FILLER + " ".join(words[start : start + 12]) + " zebra", index).hits == 0
        assert search(FILLER + " ".join(words[start : start + 13]) + " zebra", index).hits == 1


def test_a_paraphrase_is_not_found(make_index: Callable[..., Index]) -> None:
    text = "Along the northern wall a gardener sets tulips in rows; every row has fifteen bulbs fewer than the one before. "
    assert search(FILLER + text + FILLER, make_index()).hits == 0


def test_the_answer_is_told_from_the_question(make_index: Callable[..., Index]) -> None:
    index = make_index()
    asked = "each row holds fifteen bulbs less than the row before it. How many bulbs stand in the ninth row?"
    assert search(FILLER + asked, index).answers == 0
    found = search(FILLER + asked + " forty two bulbs and one trowel", index)
    assert found.answers == 1 and [p.answered for p in found.passages] == [True]


def test_a_short_item_needs_all_its_words_and_a_shorter_one_is_not_looked_for(make_index: Callable[..., Index]) -> None:
    index = make_index()
    assert index.summary["sets"] == {"garden": {"items": 3, "searchable": 2}}
    assert search(FILLER + "Which metal melts in a warm hand? Gallium! " + FILLER, index).items == 1
    assert search(FILLER + "Which metal melts in a warm hand? " + FILLER, index).items == 0
    assert search(FILLER + "Name a colour. Red. " + FILLER, index).items == 0


def test_an_ngram_of_many_items_decides_nothing_and_is_listed(make_index: Callable[..., Index]) -> None:
    template = "Read the following passage with great care and then choose the best of all answers below. "
    records: list[dict[str, object]] = [
        {
            "context": template
            + f"The town of {name} lies by a river that floods its lower meadows nearly every single spring."
        }
        for name in ("Arnel", "Bostow", "Carby", "Dunmere")
    ]
    strict, loose = make_index(records, max_items=3), make_index(records, max_items=4)
    assert search(template, strict).hits == 0 and search(template, loose).items == 4
    assert (
        search("The town of Carby lies by a river that floods its lower meadows", strict).passages[0].item == "garden:3"
    )
    assert strict.summary["common"] > 0 and strict.summary["most_common"][0]["items"] == 4


def test_counting_tables_and_formulas_decide_nothing(make_index: Callable[..., Index]) -> None:
    index = make_index([{"context": " ".join(map(str, range(40)))}, {"context": "x y z " * 20}])
    assert index.summary["ngrams"] == 0 and index.summary["plain"] > 0
    assert search("0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", index).hits == 0


def test_ngrams_of_an_ignored_text_decide_nothing(make_index: Callable[..., Index], tmp_path: Path) -> None:
    licence = tmp_path / "licence.txt"
    licence.write_text(QUESTION[:100], encoding="utf-8")
    index = make_index(ignore=(str(licence),))
    assert search(QUESTION[10:100], index).hits == 0
    assert search(QUESTION[60:170], index).hits > 0


def test_words_decide_where_hashes_are_equal(make_index: Callable[..., Index], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a multiplier of 1 the hash is a sum: every reordering of an item's words has the item's hash."""
    monkeypatch.setattr(hashes, "MULTIPLIER", 1)
    index = make_index()
    words = words_of(QUESTION)[1:14]
    assert search(" ".join(words), index).hits == 1
    draw = random.Random(1)
    for _ in range(50):
        shuffled = draw.sample(words, len(words))
        ids = np.array([index.ids[word] for word in shuffled], np.uint32)
        assert run_hashes(ids, [13])[13][0] in index.hashes
        assert search(" ".join(shuffled), index).hits == (shuffled == words)


def test_the_index_is_built_once_for_the_same_files_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(ITEMS[0]) + "\n", encoding="utf-8")
    config = IndexConfig((str(path),), 13, 8, 20)
    first = open_index(config)
    monkeypatch.setattr("seedbed.corpus.decontaminate.index.build_index", None)
    assert search(QUESTION, open_index(config)) == search(QUESTION, first)
    key = fingerprint(config)
    assert fingerprint(IndexConfig((str(path),), 12, 8, 20)) != key
    path.write_text(json.dumps(ITEMS[1]) + "\n", encoding="utf-8")
    assert fingerprint(config) != key


def plain_matches(text: str, items: list[list[str]], ngram: int) -> set[tuple[int, int]]:
    """(place in the text, item) of every shared n-gram, by comparing all with all."""
    words = words_of(text)
    return {
        (at, number)
        for at in range(len(words) - ngram + 1)
        for number, item in enumerate(items, 1)
        if any(item[i : i + ngram] == words[at : at + ngram] for i in range(len(item) - ngram + 1))
    }


sentences = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "İJ", "漢字", "x"]), max_size=30).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=4), sentences, st.integers(2, 6))
def test_the_index_finds_what_comparing_all_with_all_finds(
    tmp_path_factory: pytest.TempPathFactory, items: list[str], text: str, ngram: int
) -> None:
    folder = tmp_path_factory.mktemp("index")
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps({"context": item}) + "\n" for item in items), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:  # every n-gram decides, dull ones too
        patch.setattr(
            "seedbed.corpus.decontaminate.index.is_plain", lambda places, lengths, builder: np.zeros(len(places), bool)
        )
        build_index(IndexConfig((str(path),), ngram, ngram, 20), folder)
    found = search(text, Index(folder))
    expected = plain_matches(text, [words_of(item) for item in items], ngram)
    assert found.hits == len({at for at, _ in expected})
    assert found.items == len({number for _, number in expected})


@given(st.text() | sentences)
def test_every_word_has_a_place(text: str) -> None:
    words, places = words_of(text), places_of(text)
    assert len(words) == len(places)
    assert [text[start:end].lower() for start, end in places] == words


@given(st.lists(st.integers(0, 5), max_size=40), st.sets(st.integers(1, 17), min_size=1))
def test_equal_runs_have_equal_hashes_and_others_differ(ids: list[int], lengths: set[int]) -> None:
    array = np.array(ids, np.uint32)
    for length, found in run_hashes(array, lengths).items():
        runs = [tuple(ids[i : i + length]) for i in range(len(ids) - length + 1)]
        assert len(found) == len(runs) and len(set(found.tolist())) == len(set(runs))
