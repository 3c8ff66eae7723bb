import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.tokens import bpe_training
from seedbed.tokens.patterns import PATTERNS
from seedbed.tokens.tokenizer import Tokenizer


def split(text: str, pattern: str) -> list[bytes]:
    """Pre-tokens by the regex engine of `tokenizers`."""
    splitter = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERNS[pattern]), "isolated")
    return [piece.encode() for piece, _ in splitter.pre_tokenize_str(text)]


def slow_training(texts: list[str], num_tokens: int, pattern: str) -> list[bytes]:
    """Byte-pair encoding as its definition reads: count all pairs, merge the most frequent, smallest ids first."""
    words = Counter(word for text in texts for word in split(text, pattern))
    tokens = [bytes([byte]) for byte in range(256)]
    spelled = {word: list(word) for word in words}
    while len(tokens) < num_tokens:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, ids in spelled.items():
            for pair in pairwise(ids):
                pairs[pair] += words[word]
        if not pairs:
            break
        pair = min(pairs, key=lambda pair: (-pairs[pair], pair))
        for word, ids in spelled.items():
            merged, i = [], 0
            while i < len(ids):
                found = tuple(ids[i : i + 2]) == pair
                merged.append(len(tokens) if found else ids[i])
                i += 2 if found else 1
            spelled[word] = merged
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
    return tokens


@pytest.mark.parametrize("pattern", PATTERNS)
def test_training_is_byte_pair_encoding(pattern: str, texts: list[str]) -> None:
    sample = [texts[1][:3000], texts[4]]
    tokens, merges = bpe_training.train(iter(sample), 400, PATTERNS[pattern])
    assert tokens == slow_training(sample, 400, pattern)
    assert tokens[256:] == [left + right for left, right in merges]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.sampled_from("ab '1\n"), max_size=30), max_size=4))
def test_training_on_anything_is_byte_pair_encoding(sample: list[str]) -> None:
    tokens, merges = bpe_training.train(iter(sample), 280, PATTERNS["gpt4"])
    expected = slow_training(sample, 280, "gpt4")
    assert len(set(tokens)) == len(tokens)
    assert tokens == list(dict.fromkeys(expected))[: len(tokens)]
    assert len(merges) == len(tokens) - 256


def test_long_documents_train_as_if_they_were_read_whole(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bpe_training.train(iter(texts), 600, PATTERNS["gpt4"])
    monkeypatch.setattr(bpe_training, "PIECE_CHARACTERS", 500)
    assert len(list(bpe_training.cut(texts[0]))) > 10
    assert bpe_training.train(iter(texts), 600, PATTERNS["gpt4"]) == whole


@given(st.text(), st.integers(2, 20))
def test_pieces_join_to_the_text(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe_training, "PIECE_CHARACTERS", size)
        pieces = list(bpe_training.cut(text))
    assert "".join(pieces) == text
    assert all(len(piece) <= size for piece in pieces)


@pytest.mark.parametrize("run", [" ", "\n", "a", "1", ". ", "\t\n "])
def test_a_million_characters_of_one_kind_train(run: str) -> None:
    tokens, _ = bpe_training.train(iter([run * (3_000_000 // len(run)) + "end"]), 300, PATTERNS["gpt4"])
    assert run.encode() * 2 in tokens or run in (". ", "\t\n ")
    assert max(map(len, tokens)) <= bpe_training.MAX_TOKEN_BYTES


def test_no_merge_crosses_documents() -> None:
    tokens, _ = bpe_training.train(iter(["xy", "zx"] * 100), 300, PATTERNS["gpt4"])
    assert tokens[256:] == [b"xy", b"zx"]


def test_a_corpus_too_small_gives_a_smaller_vocabulary() -> None:
    assert Tokenizer.train(iter(["abab"]), 1000, "gpt4").vocab_size == 256 + 2 + 1
    assert Tokenizer.train(iter([]), 1000, "gpt4").vocab_size == 257


def test_training_is_the_same_in_every_process_and_on_any_number_of_threads(texts: list[str], tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from seedbed.tokens.tokenizer import Tokenizer; "
        "texts = [Path(p).read_text(encoding='utf-8') for p in sys.argv[1:]] * 3; "
        "print(Tokenizer.train(iter(texts), 2000, 'gpt4').sha256)"
    )
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_text(text, encoding="utf-8", newline="")
    hashes = set()
    for threads, seed in (("1", "1"), ("2", "2"), ("7", "3")):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, *map(str, paths)]
        hashes.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(hashes) == 1
