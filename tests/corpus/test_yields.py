"""The waterfall adds up, published yields stand beside it, and what falls far outside is said in a sentence."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.cli.yields import yields
from seedbed.corpus.decisions import VERDICTS
from seedbed.corpus.published import outside, published_yields
from seedbed.corpus.yields import DEDUP, TEXT, Amount, Tokens, count_tokens, sum_yields, totals, waterfall, waterfalls
from seedbed.corpus.yields_text import group_table, make_yields, yields_json, yields_text
from seedbed.files import write_json
from seedbed.recipe.curation import STEPS, CurateConfig, DedupConfig

CHAIN = ("url", "language", "gopher_quality")
CONFIG = CurateConfig(steps=CHAIN)
RULES = {
    "kept": [""],
    "removed": ["language.allowed", "gopher_quality.min_words", "gopher_quality.max_words", "empty", "in_validation"],
    "merged": ["exact_dedup", "near_dedup"],
    "quarantined": ["broken_json"],
}


def entry(verdict: str, rule: str, documents: int, source: str = "web", language: str = "en") -> dict[str, Any]:
    size = 0 if verdict == "quarantined" else 800 * documents
    cut = 10 if source == "a" else 0  # repeated lines of kept documents
    return {
        "source": source, "language": language, "verdict": verdict, "rule": rule, "documents": documents,
        "bytes_in": 1000 * documents, "bytes_text": size, "bytes_out": size - cut if verdict == "kept" else 0,
    }  # fmt: skip


@st.composite
def entries(draw: st.DrawFn) -> list[dict[str, Any]]:
    keys = st.sampled_from([(verdict, rule) for verdict, rules in RULES.items() for rule in rules])
    found = draw(
        st.dictionaries(st.tuples(keys, st.sampled_from("ab"), st.sampled_from(["", "en"])), st.integers(1, 500))
    )
    return [entry(*key, count, source, language) for (key, source, language), count in found.items()]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(entries())
def test_every_document_and_byte_is_taken_once_or_kept(found: list[dict[str, Any]]) -> None:
    steps = waterfall(found, CHAIN)
    kept, _, bytes_kept = totals(found, "kept")
    assert steps[-1].left == Amount(kept, bytes_kept)
    for before, after in pairwise(steps):
        assert before.left == after.reached
    for by in ("source", "language"):
        groups = waterfalls(found, CHAIN, by)
        assert sum((steps[-1].left for steps in groups.values()), Amount()) == Amount(kept, bytes_kept)
        assert all([step.name for step in group] == [step.name for step in steps] for group in groups.values())


def test_steps_come_in_the_recipes_order_between_reading_and_deduplication() -> None:
    found = [entry(verdict, rule, 3) for verdict, rules in RULES.items() for rule in rules]
    steps = waterfall(found, CHAIN)
    assert [step.name for step in steps] == ["collect", TEXT, "empty", *CHAIN, "validation", DEDUP]
    assert steps[5].rules == {"max_words": Amount(3, 2400), "min_words": Amount(3, 2400)}
    assert steps[1].taken == Amount(0, 200 * 8 * 3)


def test_sums_are_the_same_however_the_table_is_cut() -> None:
    rows = [
        {"source": f"s{i % 3}", "language": "en", "verdict": VERDICTS[i % 4], "rule": f"r{i % 5}",
         "bytes_in": i, "bytes_text": i // 2, "bytes_out": i // 2 if i % 4 == 0 else 0}
        for i in range(200)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows)
    assert sum_yields(table.to_batches(7)) == sum_yields(table.to_batches(200))


def test_every_published_yield_has_its_source_and_knows_the_recipes_steps() -> None:
    assert len(published_yields()) >= 10
    for published in published_yields():
        assert set(published.steps) <= {*STEPS, DEDUP}
        assert 0 < published.kept < 1 and published.source and published.date[:2] == "20"


@pytest.mark.parametrize(
    ("kept", "published", "side"),
    [(0.2, 0.48, -1), (0.3, 0.48, 0), (0.9, 0.48, 1), (0.6, 0.9, -1), (0.72, 0.9, 0), (0.98, 0.9, 1), (0.048, 0.1, -1)],
)
def test_far_outside_is_half_the_kept_or_a_third_or_three_times_the_removed(
    kept: float, published: float, side: int
) -> None:
    assert outside(kept, published) == side


def test_a_step_that_removes_far_more_than_published_is_an_alarm() -> None:
    found = make_yields([entry("kept", "", 150), entry("removed", "language.allowed", 850)], CONFIG, Tokens())
    assert [alarm.kind for alarm in found.alarms] == ["keeps little"]  # 85% is no source lost
    assert "language kept 15.0% of the documents" in found.alarms[0].sentence
    few = make_yields([entry("kept", "", 5), entry("removed", "language.allowed", 50)], CONFIG, Tokens())
    assert few.alarms == []


def test_deduplication_is_compared_where_near_duplicates_were_looked_for() -> None:
    found = [entry("kept", "", 995), entry("merged", "exact_dedup", 5)]
    near = CurateConfig(steps=CHAIN, dedup=DedupConfig(near=True))
    assert "dedup" not in {alarm.about for alarm in make_yields(found, CONFIG, Tokens()).alarms}
    assert "dedup" in {alarm.about for alarm in make_yields(found, near, Tokens()).alarms}


def test_alarms_for_sources() -> None:
    found = [
        entry("kept", "", 1000, "whole"), entry("kept", "", 5, "wiped"), entry("removed", "code.x", 995, "wiped"),
        entry("kept", "", 40, "copies"), entry("merged", "near_dedup", 60, "copies"),
        entry("kept", "", 150, "torn"), entry("quarantined", "broken_json", 50, "torn"),
    ]  # fmt: skip
    sentences = {
        alarm.kind: alarm.sentence for alarm in make_yields(found, CurateConfig(steps=("code",)), Tokens()).alarms
    }
    assert sentences["source lost"] == "wiped lost 99.5% of its documents, most of them to code."
    assert sentences["source untouched"].startswith("whole lost none of its 1,000 documents while the other sources")
    assert sentences["merged"] == "deduplication merged 60.0% of what came to it from copies."
    assert sentences["quarantined"] == "25.0% of torn could not be read, most of it broken_json."


def test_tokens_are_counted_once_tokenized_and_marked_as_estimates_before(tmp_path: Path) -> None:
    found = [entry("kept", "", 100, "c"), entry("removed", "empty", 1, "c")]
    assert "~20.3k" in yields_text(make_yields(found, CONFIG, count_tokens(None)))  # 80,000 bytes at 3.94
    (tmp_path / "train").mkdir()
    write_json(tmp_path / "train" / "manifest.json", {"num_tokens": 40_000, "num_bytes": 80_000})
    table = pa.table({"source": ["c"] * 2, "num_tokens": pa.array([30_000, 10_000], pa.int64())})
    pa.parquet.write_table(table, tmp_path / "train" / "documents.parquet")
    tokens = count_tokens(tmp_path)
    assert tokens == Tokens(2.0, {"c": 40_000})
    shown = yields_json(make_yields(found, CONFIG, tokens), "source")
    assert (shown["kept"]["tokens"], shown["tokens_measured"]) == (40_000, True)


def test_by_language_and_source_show_what_each_step_left() -> None:
    found = [entry("kept", "", 6), entry("removed", "language.allowed", 4), entry("removed", "empty", 10, "b", "de")]
    made = make_yields(found, CONFIG, Tokens())
    assert group_table(made, "source").splitlines()[3].split() == [
        "web",
        "10",
        "100.0%",
        "60.0%",
        "6",
        "4,800",
        "B",
        "~1,218",
    ]
    assert group_table(made, "language").splitlines()[4].split()[:4] == ["de", "10", "0.0%", "0.0%"]


def test_the_page_escapes_what_the_corpus_says(tmp_path: Path, curate: Any, make_text: Any) -> None:
    folder = tmp_path / "<script>alert(1)<"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(make_text(number))
    (folder / "short.txt").write_text("too short")
    yields(curate([str(folder)]).folder.path, html=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in page and "default-src &#x27;none" not in page
    figures = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    assert figures["waterfall"]["data"][0]["meta"]["documents"] == [4, 0, -1, 3]
