"""Tokenizer training and encoding in MB/s beside `tokenizers`, rustbpe and, where installed, tiktoken.

python bench/tokenizer.py [--data DIR] [--bytes N] [--vocab N]

Text: wikipedia, books and Python in the proportions 16:8:7 (default 30 MB). Each figure: MB of UTF-8 over wall
seconds, and over processor seconds ("per core"), the best of three rounds. The same ids are checked over all of the
text. Result: bench/results/tokenizer.json.
"""

import argparse
import json
import lzma
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import rustbpe
import tokenizers

from seedbed.files import write_json
from seedbed.run.machine import describe
from seedbed.tokens.hf_format import byte_characters
from seedbed.tokens.loader import Loader
from seedbed.tokens.patterns import PATTERNS
from seedbed.tokens.shards import ShardWriter
from seedbed.tokens.tokenizer import Tokenizer

SHARES = (("wikipedia_en_2015_part0", 16), ("books_standardebooks", 8), ("code_python_permissive", 7))
PATTERN = "gpt4"
ROUNDS = 3


def read_mix(folder: Path, num_bytes: int) -> list[str]:
    texts = []
    for name, share in SHARES:
        left = num_bytes * share // sum(share for _, share in SHARES)
        with lzma.open(folder / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
            for line in file:
                text = json.loads(line)["text"]
                size = len(text.encode())
                if size > left:
                    break
                texts.append(text)
                left -= size
    return texts


def timed(work: Callable[[], Any], megabytes: float) -> tuple[dict[str, float], Any]:
    best = {"mb_per_s": 0.0, "mb_per_s_and_core": 0.0}
    result = None
    for _ in range(ROUNDS):
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        rates = {"mb_per_s": round(megabytes / wall, 1), "mb_per_s_and_core": round(megabytes / processor, 1)}
        best = max(best, rates, key=lambda found: found["mb_per_s"])
    return best, result


def train_hugging_face(texts: list[str], vocab_size: int) -> tokenizers.Tokenizer:
    from tokenizers import Regex, models, pre_tokenizers, trainers

    built = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERNS[PATTERN]), "isolated")
    built.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=list(byte_characters()),
        show_progress=False,
    )
    built.train_from_iterator(texts, trainer)
    return built


def train_rustbpe(texts: list[str], vocab_size: int) -> rustbpe.Tokenizer:
    """rustbpe as it comes, which also holds every text at once."""
    plain = rustbpe.Tokenizer()
    plain.train_from_iterator(iter(texts), vocab_size - 1, pattern=PATTERNS[PATTERN])
    return plain


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def bench_loader(encoded: list[np.ndarray], vocab_size: int, folder: Path) -> float:
    """Milliseconds of one batch of 16 rows of 129 tokens."""
    writer = ShardWriter(folder, vocab_size, vocab_size - 1, "")
    for number, tokens in enumerate(encoded):
        writer.add(tokens, str(number), "", "", 0)
    writer.finish()
    loader = Loader(folder, context=128, batch_rows=16, seed=1)
    best = float("inf")
    for block in range(10):
        start = time.perf_counter()
        for step in range(200):
            loader.batch(200 * block + step)
        best = min(best, (time.perf_counter() - start) / 200 * 1000)
    return round(best, 4)


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpus"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default, help="folder of the three .jsonl.xz files")
    parser.add_argument("--bytes", type=int, default=30_000_000)
    parser.add_argument("--vocab", type=int, default=4096)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    texts = read_mix(options.data, options.bytes)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6

    training: dict[str, Any] = {}
    encoding: dict[str, Any] = {}
    training["seedbed"], ours = timed(lambda: Tokenizer.train(iter(texts), options.vocab, PATTERN), megabytes)
    training["tokenizers"], _ = timed(lambda: train_hugging_face(texts, options.vocab), megabytes)
    training["rustbpe"], plain = timed(lambda: train_rustbpe(texts, options.vocab), megabytes)
    encoding["rustbpe"], _ = timed(lambda: plain.batch_encode(texts), megabytes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        ours.save(path)
        # Loaded anew each round, so that no word has been met before.
        encoding["seedbed"], encoded = timed(lambda: Tokenizer.load(path).encode_batch(texts), megabytes)
        reference = tokenizers.Tokenizer.from_file(str(path))
        reference.encode_special_tokens = True
        loader_ms = bench_loader(encoded, options.vocab, Path(folder) / "train")
    encoding["tokenizers"], theirs = timed(lambda: reference.encode_batch_fast(texts), megabytes)
    same = all(ids.tolist() == encoding.ids for ids, encoding in zip(encoded, theirs, strict=True))
    if version("tiktoken"):
        import tiktoken

        ranks = {ours.decode_bytes([number]): number for number in range(ours.vocab_size - 1)}
        other = tiktoken.Encoding("ours", pat_str=PATTERNS[PATTERN], mergeable_ranks=ranks, special_tokens={})
        encoding["tiktoken"], _ = timed(lambda: [other.encode_ordinary(text) for text in texts], megabytes)

    machine = describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "load_before": round(load_before, 2),
        "packages": {name: version(name) for name in ("tokenizers", "gigatoken", "rustbpe", "tiktoken")},
        "text_mb": round(megabytes, 1),
        "vocab_size": options.vocab,
        "pattern": PATTERN,
        "training": training,
        "encoding": encoding,
        "ids_equal_tokenizers": same,
        "bytes_per_token": round(megabytes * 1e6 / sum(map(len, encoded)), 3),
        "loader_ms_16x129": loader_ms,
    }
    write_json(Path(__file__).parent / "results" / "tokenizer.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
