import json.decoder
import json.encoder
import logging
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.stages import StageContext, StageOutput
from seedbed.tokens.shards import ShardWriter
from seedbed.tokens.tokenizer import Tokenizer

MANY_SCRIPTS = """\
Grüße aus Köln: naïve café, Ångström, e\u0301 — “quotes”… 12,345.67 € ½ Ⅷ
Привет, мир! Ελληνικά. עברית العربية ٣٤٥ हिन्दी १२३ 한국어 漢字かな交じり文。 ไทย 👩‍👩‍👧‍👦 🇩🇪
don't DON'T we'LL I'm\tCamelCaseHTTPParser snake_case 0x1F\r\n\r\n
   indented\n\n\n// a/b/c --- === $$x^2$$ \u00a0\u3000\u200b
"""
COLUMNS = ("id", "text", "source", "origin", "licence", "date", "language", "domain", "bytes_in", "split", "metadata")


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """About 120 KB of real text: modules of the standard library, whole, and one text in many scripts."""
    modules = [json.decoder, json.encoder, logging, textwrap]
    return [Path(str(module.__file__)).read_text(encoding="utf-8") for module in modules] + [MANY_SCRIPTS]


@pytest.fixture(scope="session")
def tokenizer(texts: list[str]) -> Tokenizer:
    return Tokenizer.train(iter(texts), 1000, "gpt4")


def write_corpus(folder: Path, documents: list[dict[str, Any]], rows_per_file: int = 1000) -> Path:
    """The Parquet files of a `curate` stage."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(documents), rows_per_file)):
        rows = []
        for document in documents[start : start + rows_per_file]:
            row = {"source": "test", "domain": "prose", "split": "train", **document}
            row["bytes_in"] = len(row["text"].encode())
            rows.append({name: row.get(name, "") for name in COLUMNS})
        schema = pa.schema([(name, pa.int64() if name == "bytes_in" else pa.string()) for name in COLUMNS])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"documents-{number:05d}.parquet")
    return folder


@pytest.fixture
def make_corpus() -> Callable[..., Path]:
    return write_corpus


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., StageContext]:
    """A stage's context in a fresh folder, with the recipe's fields given as nested dictionaries."""

    def make(name: str, inputs: dict[str, Path], **fields: Any) -> StageContext:
        values = {"name": "t", "corpus": {"sources": ["unused"]}, "train": {"steps": 1}, **fields}
        path = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        path.mkdir()
        outputs = {key: StageOutput(folder, key, key, {}) for key, folder in inputs.items()}
        return StageContext(name, Recipe.model_validate(values), path, outputs, EventLog(None))

    return make


@pytest.fixture
def make_shards(tmp_path: Path) -> Callable[..., Path]:
    """Shards of documents given as lists of ids; the end-of-text id is the last of the vocabulary."""

    def make(
        documents: list[list[int]], vocab_size: int = 1000, max_shard_tokens: int = 10**8, name: str = "train"
    ) -> Path:
        folder = tmp_path / name
        writer = ShardWriter(folder, vocab_size, vocab_size - 1, "0" * 64, max_shard_tokens)
        for number, tokens in enumerate(documents):
            writer.add(tokens, f"test/{number}", "test", "prose", len(tokens))  # type: ignore[arg-type]
        writer.finish()
        return folder

    return make
