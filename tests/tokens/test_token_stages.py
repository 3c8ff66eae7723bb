import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbed.errors import InputError, Interrupted, SeedbedError
from seedbed.recipe.schema import Recipe
from seedbed.run.stages import StageContext
from seedbed.tokens import tokenize_corpus, train_tokenizer
from seedbed.tokens.reader import ShardReader, verify_shards
from seedbed.tokens.tokenize_corpus import TOKENIZE
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.tokens.train_tokenizer import TOKENIZER

MakeCorpus = Callable[..., Path]
MakeContext = Callable[..., StageContext]


@pytest.fixture
def documents(texts: list[str]) -> list[dict[str, Any]]:
    """Some 400 paragraphs of real text, a tenth of them validation."""
    parts = [part for part in "\n\n".join(texts).split("\n\n") if part]
    splits = ["validation" if n % 10 == 7 else "train" for n in range(len(parts))]
    return [
        {"id": f"test/{n}", "text": part, "split": split, "domain": "code" if n % 3 else "prose"}
        for n, (part, split) in enumerate(zip(parts, splits, strict=True))
    ]


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"name": "t", "corpus": {"sources": ["x"]}, "train": {"steps": 1}, **fields})


def test_the_tokenizer_is_trained_on_the_training_split_alone(
    tmp_path: Path, make_corpus: MakeCorpus, make_context: MakeContext
) -> None:
    rows = [{"id": "a", "text": "abab " * 50}, {"id": "b", "text": "xyxy " * 500, "split": "validation"}]
    context = make_context("tokenizer", {"curate": make_corpus(tmp_path / "c", rows)})
    summary = TOKENIZER.run(context)
    tokenizer = Tokenizer.load(context.path / "tokenizer.json")
    assert summary["trained_on_bytes"] == 250
    assert (summary["vocab_size"], summary["sha256"]) == (tokenizer.vocab_size, tokenizer.sha256)
    assert len(tokenizer.encode("abab")) == 1
    assert len(tokenizer.encode("xyxy")) == 4


def test_derived_sizes_follow_the_corpus(
    tmp_path: Path, make_corpus: MakeCorpus, make_context: MakeContext, documents: list[dict[str, Any]]
) -> None:
    folder = make_corpus(tmp_path / "c", documents)
    summary = TOKENIZER.run(make_context("tokenizer", {"curate": folder}))
    assert summary["vocab_size"] == train_tokenizer.vocab_for_corpus(summary["trained_on_bytes"]) == 320
    small = make_corpus(tmp_path / "small", [{"id": "a", "text": "one document"}])
    assert TOKENIZER.run(make_context("tokenizer", {"curate": small}))["vocab_size"] < 320


def test_an_explicit_size_is_met_or_refused_with_the_largest_possible(
    tmp_path: Path, make_corpus: MakeCorpus, make_context: MakeContext
) -> None:
    folder = make_corpus(tmp_path / "c", [{"id": "a", "text": "the theme of the other"}])
    with pytest.raises(InputError, match="vocabulary too large for the corpus") as caught:
        TOKENIZER.run(make_context("tokenizer", {"curate": folder}, tokenizer={"vocab_size": 5000}))
    assert "tokenizer.vocab_size" in str(caught.value)
    possible = int(str(caught.value).split("at most ")[1].split(":")[0])
    context = make_context("tokenizer", {"curate": folder}, tokenizer={"vocab_size": possible})
    assert TOKENIZER.run(context)["vocab_size"] == possible


def test_a_corpus_without_training_text_is_refused(
    tmp_path: Path, make_corpus: MakeCorpus, make_context: MakeContext, tokenizer: Tokenizer
) -> None:
    folder = make_corpus(tmp_path / "c", [{"id": "a", "text": "held out", "split": "validation"}])
    tokenizer.save(tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match="no training text"):
        TOKENIZER.run(make_context("tokenizer", {"curate": folder}))
    with pytest.raises(InputError, match="no training document"):
        TOKENIZE.run(make_context("tokenize", {"curate": folder, "tokenizer": tmp_path}))


def test_training_reads_an_even_share_of_at_most_the_limit(
    tmp_path: Path, make_corpus: MakeCorpus, make_context: MakeContext, documents: list[dict[str, Any]]
) -> None:
    folder = make_corpus(tmp_path / "c", documents)
    limit = 20_000
    context = make_context("tokenizer", {"curate": folder}, tokenizer={"max_training_bytes": limit})
    total = sum(len(d["text"].encode()) for d in documents if d["split"] == "train")
    sample = train_tokenizer.TrainingSample(folder, limit, limit / total, context)
    picked = list(sample)
    assert 0.5 * limit < sample.bytes == sum(len(text.encode()) for text in picked) <= limit
    assert max(i for i, d in enumerate(documents) if d["text"] in picked) > 0.7 * len(documents)
    assert TOKENIZER.run(context)["trained_on_bytes"] == sample.bytes


def test_one_large_document_is_cut_at_the_limit(
    tmp_path: Path, make_corpus: MakeCorpus, make_context: MakeContext
) -> None:
    folder = make_corpus(tmp_path / "c", [{"id": "a", "text": "é" * 5000}])
    context = make_context("tokenizer", {"curate": folder}, tokenizer={"max_training_bytes": 101})
    assert TOKENIZER.run(context)["trained_on_bytes"] == 101


def test_an_import_is_checked_and_enters_the_key_by_content(
    tmp_path: Path, tokenizer: Tokenizer, make_corpus: MakeCorpus, make_context: MakeContext
) -> None:
    first, second = tmp_path / "x.json", tmp_path / "folder"
    second.mkdir()
    tokenizer.save(first)
    tokenizer.save(second / "tokenizer.json")
    configs = [TOKENIZER.config(recipe(tokenizer={"path": str(path)})) for path in (first, second)]
    assert configs[0] == configs[1] == {"import": tokenizer.sha256}
    folder = make_corpus(tmp_path / "c", [{"id": "a", "text": "unused"}])
    context = make_context("tokenizer", {"curate": folder}, tokenizer={"path": str(first)})
    assert TOKENIZER.run(context)["sha256"] == tokenizer.sha256
    assert (context.path / "tokenizer.json").read_bytes() == first.read_bytes()
    size = tokenizer.vocab_size
    for asked in (size - 1, size + 1):
        wrong = make_context("tokenizer", {"curate": folder}, tokenizer={"path": str(first), "vocab_size": asked})
        with pytest.raises(
            InputError, match=rf"vocab_size: {asked:,} was asked for and .*x\.json has {size:,} entries"
        ):
            TOKENIZER.run(wrong)
        assert TOKENIZER.config(wrong.recipe) != configs[0]
    with pytest.raises(InputError, match=r"tokenizer\.path: .*absent\.json does not exist"):
        TOKENIZER.config(recipe(tokenizer={"path": str(tmp_path / "absent.json")}))


def test_the_tokenizers_key_holds_what_it_depends_on() -> None:
    def key(**fields: Any) -> str:
        return json.dumps(TOKENIZER.config(recipe(**fields)), sort_keys=True)

    plain = key()
    assert key(seed=7) == key(model={"size": "1M"}) == plain  # 1M and 2M derive the same vocabulary
    different = [
        key(model={"size": "500M"}),
        key(tokenizer={"pattern": "o200k"}),
        key(tokenizer={"vocab_size": 4096}),
        key(tokenizer={"max_training_bytes": 5}),
    ]
    assert len({plain, *different}) == 5


@pytest.fixture
def tokenize(
    tmp_path: Path, tokenizer: Tokenizer, make_corpus: MakeCorpus, make_context: MakeContext
) -> Iterator[Callable[..., tuple[Path, dict[str, Any]]]]:
    tokenizer.save(tmp_path / "tokenizer.json")
    runs = 0

    def run(documents: list[dict[str, Any]], rows_per_file: int = 1000, seed: int = 1) -> tuple[Path, dict[str, Any]]:
        nonlocal runs
        runs += 1
        folder = make_corpus(tmp_path / f"corpus{runs}", documents, rows_per_file)
        context = make_context("tokenize", {"curate": folder, "tokenizer": tmp_path}, seed=seed)
        return context.path, TOKENIZE.run(context)

    yield run


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_kept_document_is_in_the_shards_once_and_whole(
    tokenize: Callable[..., tuple[Path, dict[str, Any]]], documents: list[dict[str, Any]], tokenizer: Tokenizer
) -> None:
    path, summary = tokenize(documents)
    for split in ("train", "validation"):
        expected = {d["id"]: d for d in documents if d["split"] == split}
        verify_shards(path / split)
        reader = ShardReader(path / split)
        records = [reader.record(n) for n in range(reader.num_documents)]
        assert {record.id for record in records} == set(expected)
        assert len(records) == len(expected)
        for record in records:
            tokens = reader.document_tokens(record.document)
            text = expected[record.id]["text"]
            assert tokens[-1] == tokenizer.eos_id
            assert tokenizer.decode_bytes(tokens) == text.encode()
            assert (record.num_tokens, record.num_bytes) == (len(tokens), len(text.encode()))
            assert record.domain == expected[record.id]["domain"]
        counts = summary["splits"][split]
        assert counts["num_bytes"] == sum(len(d["text"].encode()) for d in expected.values())
        assert counts["num_tokens"] == reader.num_tokens
        assert reader.manifest["tokenizer_sha256"] == tokenizer.sha256


def ids_in_order(folder: Path) -> list[str]:
    reader = ShardReader(folder)
    return [reader.record(n).id for n in range(reader.num_documents)]


def test_training_order_is_drawn_from_the_seed_and_validation_is_by_id(
    tokenize: Callable[..., tuple[Path, dict[str, Any]]], documents: list[dict[str, Any]]
) -> None:
    one, _ = tokenize(documents, seed=1)
    two, _ = tokenize(documents, seed=2)
    order = ids_in_order(one / "train")
    assert order != ids_in_order(two / "train")
    assert ids_in_order(one / "validation") == sorted(ids_in_order(two / "validation"))
    numbers = [int(name.split("/")[1]) for name in order]
    assert abs(np.corrcoef(numbers, np.arange(len(numbers)))[0, 1]) < 4 / np.sqrt(len(numbers))
    without, _ = tokenize([d for d in documents if d["id"] != order[3]], seed=1)
    assert ids_in_order(without / "train") == order[:3] + order[4:]


def test_shards_depend_neither_on_the_cut_into_files_nor_on_memory(
    tokenize: Callable[..., tuple[Path, dict[str, Any]]],
    documents: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_memory, _ = tokenize(documents)
    monkeypatch.setattr(tokenize_corpus, "MEMORY_BYTES", 30_000)
    with_runs, _ = tokenize(documents, rows_per_file=37)
    assert contents(in_memory) == contents(with_runs)


def test_split_names_become_safe_and_distinct_folders(
    tokenize: Callable[..., tuple[Path, dict[str, Any]]],
) -> None:
    rows = [
        {"id": str(n), "text": "some text", "split": split} for n, split in enumerate(["train", "a b/../c.txt", "über"])
    ]
    path, summary = tokenize(rows)
    assert sorted(item.name for item in path.iterdir()) == ["a-b-..-c.txt", "train", "über"]
    assert summary["splits"]["a b/../c.txt"]["folder"] == "a-b-..-c.txt"
    with pytest.raises(InputError, match=r"a/b, a:b"):
        tokenize([{**rows[0], "split": name} for name in ("train", "a/b", "a:b")])


def test_too_little_disk_is_said_before_anything_is_written(
    tokenize: Callable[..., tuple[Path, dict[str, Any]]],
    documents: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(SeedbedError, match=r"tokenize needs .*B and the disk has"):
        tokenize(documents)


def test_a_damaged_document_file_is_named(
    tmp_path: Path, make_corpus: MakeCorpus, make_context: MakeContext, documents: list[dict[str, Any]]
) -> None:
    folder = make_corpus(tmp_path / "c", documents)
    (folder / "documents-00000.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(SeedbedError, match=r"documents-00000\.parquet cannot be read") as caught:
        TOKENIZER.run(make_context("tokenizer", {"curate": folder}))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_both_stages_stop_when_asked(
    tmp_path: Path,
    make_corpus: MakeCorpus,
    make_context: MakeContext,
    documents: list[dict[str, Any]],
    tokenizer: Tokenizer,
    calls: int,
) -> None:
    folder = make_corpus(tmp_path / "c", documents, rows_per_file=100)
    tokenizer.save(tmp_path / "tokenizer.json")
    for stage, inputs in ((TOKENIZER, {"curate": folder}), (TOKENIZE, {"curate": folder, "tokenizer": tmp_path})):
        context = make_context(stage.name, inputs)
        left = iter(range(calls))

        def stop(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Interrupted("stopped")

        context.check_stop = stop
        with pytest.raises(Interrupted):
            stage.run(context)


@pytest.mark.parametrize("by", ["source", "domain"])
def test_a_mixture_s_sources_or_domains_lie_together_and_keep_their_order(
    tmp_path: Path,
    make_corpus: MakeCorpus,
    make_context: MakeContext,
    documents: list[dict[str, Any]],
    tokenizer: Tokenizer,
    by: str,
) -> None:
    for number, document in enumerate(documents):
        document["source"] = ("web", "books", "")[number % 3]
    folder = make_corpus(tmp_path / "c", documents)
    tokenizer.save(tmp_path / "tokenizer.json")
    inputs = {"curate": folder, "tokenizer": tmp_path}
    plain, mixed = (
        make_context("tokenize", inputs),
        make_context("tokenize", inputs, mixture={"by": by, "weights": {"x": 1}}),
    )
    TOKENIZE.run(plain)
    TOKENIZE.run(mixed)
    one, groups = ShardReader(plain.path / "train"), ShardReader(mixed.path / "train")
    assert [group.name for group in groups.groups] == {
        "source": ["books", "unnamed", "web"], "domain": ["code", "prose"]
    }[by]  # fmt: skip
    order = [getattr(one.record(n), by) or "unnamed" for n in range(one.num_documents)]
    at = 0
    for group in groups.groups:
        ids = [groups.record(n).id for n in range(group.first_document, group.first_document + group.num_documents)]
        assert ids == [one.record(n).id for n, name in enumerate(order) if name == group.name]
        at += len(ids)
    assert at == one.num_documents
    verify_shards(mixed.path / "train")
