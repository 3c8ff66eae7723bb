"""The share of a text's 8-token sequences that the training shards hold, against a plain search."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.evaluate import copies
from seedbed.evaluate.copies import copied_shares
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.tokenizer import Tokenizer


def plainly(text: list[int], training: list[int]) -> float | None:
    known = {tuple(training[i : i + 8]) for i in range(len(training) - 7)}
    asked = [tuple(text[i : i + 8]) for i in range(len(text) - 7)]
    return sum(gram in known for gram in asked) / len(asked) if asked else None


@pytest.fixture
def train_folder(write_shards: Callable[..., Path], texts: list[str]) -> Path:
    return write_shards([("code", text) for text in texts[:2]], "train", max_shard_tokens=3000)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 40)), max_size=4), st.sampled_from([50, 997, 1_000_000]))
def test_equals_a_plain_search(train_folder: Path, pieces: list[tuple[int, int]], chunk: int) -> None:
    shards = ShardReader(train_folder)
    training = shards.read(0, shards.num_tokens).tolist()
    text = [token for start, length in pieces for token in training[start : start + length]]
    before = copies.CHUNK_TOKENS
    try:
        copies.CHUNK_TOKENS = chunk
        shares, searched = copied_shares([np.array(text, np.int64), np.arange(30)], train_folder)
    finally:
        copies.CHUNK_TOKENS = before
    assert searched == shards.num_tokens
    assert shares == [pytest.approx(plainly(text, training)), plainly(list(range(30)), training)]


def test_a_copy_is_seen_and_new_text_is_not(train_folder: Path, tokenizer: Tokenizer, texts: list[str]) -> None:
    copy = tokenizer.encode(texts[0][200:900])
    new = tokenizer.encode("Quark soup, moonlit and sold by weight, was never on this menu before, said Zenobia.")
    shares, _ = copied_shares([copy[2:-2], new, new[:7]], train_folder)
    assert shares[0] == 1.0 and shares[1] == 0.0 and shares[2] is None
