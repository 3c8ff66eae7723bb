"""Near-duplicates through the stages: merged into what is kept, explained, and the same in two crawls as in one."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from seedbed.corpus.dedup.signature import MinHasher, jaccard
from seedbed.errors import InputError
from seedbed.recipe.schema import Recipe

WORDS = [
    f"{a}{b}" for a in "bcdfglmnprst" for b in ("ank", "ell", "ift", "old", "une", "arrow", "ister", "oment", "atter")
]


def article(rng: random.Random, words: int = 120) -> list[str]:
    return [rng.choice(WORDS) for _ in range(words)]


def version(words: list[str], rng: random.Random, changes: int, more: int = 0) -> list[str]:
    """The article with some words replaced and some appended."""
    changed = list(words)
    for _ in range(changes):
        changed[rng.randrange(len(changed))] = rng.choice(WORDS)
    return changed + article(rng, more)


def as_text(words: list[str]) -> str:
    return "\n".join(" ".join(words[at : at + 12]).capitalize() + "." for at in range(0, len(words), 12)) + "\n"


@pytest.fixture
def crawls(tmp_path: Path) -> tuple[Path, Path]:
    """Two crawls of 40 articles in several versions, some of them in both."""
    rng = random.Random(11)
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    for number in range(40):
        words = article(rng)
        for copy in range(rng.randrange(1, 5)):
            changed = version(words, rng, *rng.choice([(0, 0), (0, 0), (1, 2), (2, 0), (9, 1)]))
            folder = folders[rng.randrange(2)]
            (folder / f"{number:02d}-{copy}.txt").write_text(as_text(changed))
    return folders


def kept_names(done: Any) -> set[str]:
    return {key.partition("/")[2] for key, row in done.decisions.items() if row["verdict"] == "kept"}


NEAR = {"near": True, "min_jaccard": 0.75}


def test_what_is_merged_is_similar_to_what_it_is_merged_into(crawls: tuple[Path, Path], curate: Any) -> None:
    done = curate([str(folder) for folder in crawls], dedup=NEAR)
    hasher = MinHasher()
    shingles = {
        key: hasher.shingles((folder / key.partition("/")[2]).read_text())
        for folder in crawls
        for key in done.decisions
        if key.startswith(f"{folder.name}/")
    }
    merged = {key: row for key, row in done.decisions.items() if row["verdict"] == "merged"}
    assert {row["rule"] for row in merged.values()} == {"near_dedup", "exact_dedup"}
    for key, row in merged.items():
        target = done.decisions[row["merged_into"]]
        assert target["verdict"] == "kept"
        similarity = jaccard(shingles[key], shingles[target["id"]])
        assert similarity >= 0.75
        assert row["rule"] == "exact_dedup" or f"Jaccard {similarity:.3f}" in row["reason"]
    summary = done.curate.summary
    assert summary["merged"] == len(merged)
    assert summary["similar"]["components"] > 10 and not summary["similar"]["giants"]
    assert len({name.partition("-")[0] for name in kept_names(done)}) == 40  # no article is lost


def test_the_longest_or_the_first_stays(tmp_path: Path, curate: Any) -> None:
    rng = random.Random(2)
    (tmp_path / "texts").mkdir()
    words = article(rng)
    for name, changed in (
        ("a", words),
        ("b", version(words, rng, 1, 3)),
        ("other", article(rng)),
        ("third", article(rng)),
    ):
        (tmp_path / "texts" / f"{name}.txt").write_text(as_text(changed))
    assert kept_names(curate([str(tmp_path / "texts")], dedup=NEAR)) == {"b.txt", "other.txt", "third.txt"}
    first = curate([str(tmp_path / "texts")], dedup=NEAR | {"keep": "first"})
    assert kept_names(first) == {"a.txt", "other.txt", "third.txt"}
    preferring = NEAR | {"keep": "best score", "keep_score": "basic.characters"}
    assert kept_names(curate([str(tmp_path / "texts")], dedup=preferring)) == {"b.txt", "other.txt", "third.txt"}


def test_two_crawls_keep_the_same_as_one(crawls: tuple[Path, Path], curate: Any) -> None:
    """The second crawl is compared with what the first run kept; only texts that may be similar are read again."""
    together = curate([str(folder) for folder in crawls], dedup=NEAR | {"keep": "first"})
    old = curate([str(crawls[0])], dedup=NEAR | {"keep": "first"})
    new = curate([str(crawls[1])], dedup=NEAR | {"keep": "first", "against": [str(old.folder.path)]})
    assert kept_names(old) | kept_names(new) == kept_names(together)
    assert not kept_names(old) & kept_names(new)
    into_old = {
        row["merged_into"] for row in new.decisions.values() if row["merged_into"].startswith(f"{old.folder.path}: ")
    }
    assert into_old and {name.partition(": a/")[2] for name in into_old} <= kept_names(old)
    compared = new.compare.summary
    assert 0 < compared["known_texts_read"] < compared["known"] == len(kept_names(old))


def test_an_index_made_otherwise_is_refused(crawls: tuple[Path, Path], curate: Any, tmp_path: Path) -> None:
    old = curate([str(crawls[0])])
    with pytest.raises(InputError, match=r"no signatures .*run it again with these"):
        curate([str(crawls[1])], dedup=NEAR | {"against": [str(old.folder.path)]})
    exact = curate([str(crawls[1])], dedup={"against": [str(old.folder.path)]})
    assert exact.compare.summary["known"] == len(kept_names(old))
    with pytest.raises(InputError, match="holds no finished stage 'collect': give the folder"):
        curate([str(crawls[1])], dedup={"against": [str(tmp_path)]})


def test_training_text_similar_to_validation_text_goes(crawls: tuple[Path, Path], curate: Any, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.mkdir()
    rng = random.Random(4)
    words = article(rng)
    (held / "one.txt").write_text(as_text(words))
    (held / "two.txt").write_text(
        as_text(version(words, rng, 1))
    )  # validation is measured whole, even where it repeats itself
    (crawls[0] / "near.txt").write_text(as_text(version(words, rng, 1, 20)))
    done = curate([str(crawls[0])], validation=[str(held)], dedup=NEAR)
    assert [row["rule"] for row in done.decisions.values() if row["id"].endswith("near.txt")] == ["near_validation"]
    assert sum(row["split"] == "held" and row["verdict"] == "kept" for row in done.decisions.values()) == 2


@pytest.mark.parametrize(
    "fields", [{"keep": "best score"}, {"keep": "source"}, {"keep_score": "basic.words"}, {"min_jaccard": 0.4}]
)
def test_half_a_policy_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="dedup"):
        Recipe.model_validate(
            {"name": "x", "corpus": {"sources": ["x"]}, "curate": {"dedup": fields}, "train": {"steps": 1}}
        )


def test_what_a_site_repeats_and_passages_that_came_before_are_cut(tmp_path: Path, curate: Any) -> None:
    rng = random.Random(6)
    passage = " ".join(article(rng, 60))
    rows = [
        {
            "url": f"https://site.org/{n}",
            "text": f"Home | News | Contact\n{as_text(article(rng))}All rights reserved.\n",
        }
        for n in range(12)
    ]
    rows += [{"url": "", "text": f"{as_text(article(rng))}\n{passage}\n\nEnding{n} here.\n"} for n in range(3)]
    rows += [{"url": "", "text": passage}]
    (tmp_path / "pages.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    done = curate([str(tmp_path / "pages.jsonl")], dedup={"boilerplate": True, "substrings": True})
    documents, decisions = done.documents, done.decisions
    assert not any("Home" in row["text"] or "rights" in row["text"] for row in documents.values())
    assert sum(passage in row["text"] for row in documents.values()) == 1
    assert sum("\n\nEnding" in row["text"] for row in documents.values()) == 3
    assert [row["rule"] for row in decisions.values() if row["verdict"] == "removed"] == ["all_cut"]
    assert {key: row["bytes_out"] for key, row in decisions.items() if row["verdict"] == "kept"} == {
        key: len(row["text"].encode()) for key, row in documents.items()
    }
    assert done.curate.summary["bytes_kept"] == sum(len(row["text"].encode()) for row in documents.values())


def test_a_later_crawl_loses_passages_and_lines_that_an_earlier_run_kept(tmp_path: Path, curate: Any) -> None:
    rng = random.Random(8)
    passage, removed = " ".join(article(rng, 60)), " ".join(article(rng, 60))

    def crawl(name: str, pages: range, texts: list[str]) -> str:
        rows = [
            {
                "url": f"https://site.org/{n}",
                "text": f"Home | News | Contact\n{as_text(article(rng))}All rights reserved.\n",
            }
            for n in pages
        ]
        rows += [{"url": "", "text": text} for text in texts]
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows))
        return str(tmp_path / name)

    cutting = {"boilerplate": True, "substrings": True}
    first = crawl("first.jsonl", range(8), [f"{as_text(article(rng))}\n{passage}\n", f"{removed} {'0 # ' * 400}"])
    later = crawl("later.jsonl", range(8, 14), [f"Before it.\n{passage}\nBehind it {as_text(article(rng))}", removed])
    old = curate([first], dedup=cutting)
    assert sum(row["verdict"] == "removed" for row in old.decisions.values()) == 1
    assert sum("Home" in row["text"] for row in old.documents.values()) == 8  # eight pages are too few to tell
    alone = curate([later], dedup=cutting).documents.values()
    assert sum("Home" in row["text"] or passage in row["text"] for row in alone) == 7
    new = curate([later], dedup=cutting | {"against": [str(old.folder.path)]})
    texts = [row["text"] for row in new.documents.values()]
    assert not any("Home" in text or "rights" in text or passage in text for text in texts)
    assert sum(text.startswith("Before it.\nBehind it ") for text in texts) == 1
    assert removed in texts  # the earlier run did not keep it
