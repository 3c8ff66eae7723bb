"""Small models with random weights and small shards: enough for every number of an evaluation to be checked."""

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from seedbed.model.config import ARCHITECTURES, TransformerConfig
from seedbed.model.language_model import LanguageModel
from seedbed.model.ngram import count
from seedbed.model.transformer import build_model
from seedbed.tokens.shards import ShardWriter
from seedbed.tokens.tokenizer import Tokenizer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors of a few hundred numbers: a second thread would only wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_model(vocab_size: int, context: int, prior_order: int = 0, architecture: str = "seedbed") -> LanguageModel:
    """Every weight is drawn, so that every part of the model has a say in its prediction."""
    base = TransformerConfig(
        vocab_size, 2, 32, 2, 2, 64, context, prior_order=prior_order, ngram_rows=97 if architecture == "seedbed" else 0
    )
    transformer = build_model(ARCHITECTURES[architecture](base), seed=3)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    expert = None
    if prior_order:
        tokens = np.random.default_rng(5).zipf(1.4, 2_000) % vocab_size
        expert, _, _ = count(tokens, np.arange(len(tokens)) // 50, vocab_size, prior_order)
    return LanguageModel(transformer, expert)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., LanguageModel]:
    """make_model(vocab_size, context, prior_order=0, architecture="seedbed")."""
    return random_model


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """About 60 KB of real text: modules of the standard library, and one line in several scripts."""
    modules = [json.decoder.__file__, textwrap.__file__, json.encoder.__file__]  # type: ignore[attr-defined]
    return [Path(name).read_text(encoding="utf-8") for name in modules] + ["Grüße, мир, 漢字 und 👩‍👩‍👧!\n" * 20]


@pytest.fixture(scope="session")
def tokenizer(texts: list[str]) -> Tokenizer:
    return Tokenizer.train(iter(texts), 600, "gpt4")


@pytest.fixture
def write_shards(tmp_path: Path, tokenizer: Tokenizer) -> Callable[..., Path]:
    """write_shards([(domain, text), ...], name) -> a folder of shards, ids `DOMAIN/NUMBER`."""

    def write(documents: list[tuple[str, str]], name: str = "validation", max_shard_tokens: int = 10**8) -> Path:
        folder = tmp_path / name
        writer = ShardWriter(folder, tokenizer.vocab_size, tokenizer.eos_id, tokenizer.sha256, max_shard_tokens)
        for number, (domain, text) in enumerate(documents):
            writer.add(tokenizer.encode(text), f"{domain}/{number}", "test", domain, len(text.encode()))
        writer.finish()
        return folder

    return write
