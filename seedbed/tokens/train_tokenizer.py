"""The stage `tokenizer`: train a byte-level BPE on the training documents, or import the recipe's tokenizer.json."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

from seedbed.errors import InputError
from seedbed.files import sha256_file
from seedbed.recipe.objective import special_tokens
from seedbed.recipe.schema import Recipe
from seedbed.recipe.shape import parse_count
from seedbed.run.stages import Stage, StageContext
from seedbed.tokens.kept_documents import read_rows, split_sizes
from seedbed.tokens.tokenizer import BYTES_AND_END, Tokenizer
from seedbed.tokens.vocabulary import vocab_for_corpus, vocab_for_model

TOKENIZER_FILE = "tokenizer.json"


def stage_config(recipe: Recipe) -> dict[str, Any]:
    """What the tokenizer depends on: for an import the file's content; else the pattern and the size's rule.

    Both by the special tokens that the objective needs.
    """
    config = recipe.tokenizer
    needed = needed_tokens(recipe)
    special = {"special": [names[0] for names in needed]} if needed else {}
    stated = {"vocab_size": config.vocab_size} if config.vocab_size else {}
    if config.path is not None:
        return {"import": sha256_file(importable(Path(config.path))), **stated, **special}
    size = stated or {"model_vocab": vocab_for_model(layer_parameters(recipe))}
    return {**size, "pattern": config.pattern, "max_training_bytes": config.max_training_bytes, **special}


def needed_tokens(recipe: Recipe) -> list[tuple[str, ...]]:
    """The special tokens that the recipe's objective writes, each as its possible names."""
    train, context = recipe.train, recipe.model.context
    if train.objective == "causal":
        return []
    assert context
    return special_tokens(train.objective, context, train.span_fraction, train.span_tokens)


def layer_parameters(recipe: Recipe) -> int:
    """Parameters of the layers, from the resolved shape (12 layers width^2), else from the named size."""
    model = recipe.model
    if model.layers and model.width:
        return 12 * model.layers * model.width**2
    return parse_count(model.size)


def importable(path: Path) -> Path:
    """The tokenizer.json that `tokenizer.path` names: a file, or a folder that holds one. Raises InputError."""
    file = path / TOKENIZER_FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"tokenizer.path: {file} does not exist: give a Hugging Face tokenizer.json or the folder that holds it"
        )
    return file


def run(context: StageContext) -> dict[str, Any]:
    start = time.monotonic()
    config = context.recipe.tokenizer
    summary: dict[str, Any]
    if config.path is not None:
        tokenizer = Tokenizer.load(importable(Path(config.path)))
        for names in needed_tokens(context.recipe):
            tokenizer.special_id(names)
        if config.vocab_size not in (None, tokenizer.vocab_size):
            raise InputError(
                f"tokenizer.vocab_size: {config.vocab_size:,} was asked for and {config.path} has {tokenizer.vocab_size:,} "
                "entries: leave the field out (tokenizer.vocab_size=none), or give another tokenizer"
            )
        summary = {"imported": True, "trained_on_bytes": 0, "trained_on_documents": 0}
        if not tokenizer.exact:
            context.emit(
                "note",
                message="the imported tokenizer changes text before it encodes: decoding is not exact on every text",
            )
    else:
        tokenizer, summary = train(context)
    tokenizer.save(context.path / TOKENIZER_FILE)
    return {
        "vocab_size": tokenizer.vocab_size,
        "eos_id": tokenizer.eos_id,
        "sha256": tokenizer.sha256,
        "exact": tokenizer.exact,
        **summary,
        "seconds": round(time.monotonic() - start, 3),
    }


def train(context: StageContext) -> tuple[Tokenizer, dict[str, Any]]:
    config = context.recipe.tokenizer
    folder = context.inputs["curate"].path
    available = split_sizes(folder).get("train")
    if available is None or available.bytes == 0:
        raise InputError(
            "corpus: no training text was kept: see the yields of `curate`, loosen its thresholds or add text"
        )
    limit = min(available.bytes, config.max_training_bytes)
    vocab_size = config.vocab_size or min(
        vocab_for_model(layer_parameters(context.recipe)), vocab_for_corpus(available.bytes)
    )
    sample = TrainingSample(folder, limit, limit / available.bytes, context)
    special = [names[0] for names in needed_tokens(context.recipe)]
    if vocab_size < BYTES_AND_END + len(special):
        raise InputError(
            f"tokenizer.vocab_size: {vocab_size:,} is too small for 256 bytes and {1 + len(special)} special tokens: "
            f"set at least {BYTES_AND_END + len(special)}"
        )
    tokenizer = Tokenizer.train(iter(sample), vocab_size, config.pattern, special)
    if config.vocab_size is not None and tokenizer.vocab_size < config.vocab_size:
        raise InputError(
            f"tokenizer.vocab_size: {config.vocab_size:,} is a vocabulary too large for the corpus: "
            f"its {sample.bytes:,} bytes of training text give at most {tokenizer.vocab_size:,}: "
            "set that or less, leave the field out, or add text"
        )
    return tokenizer, {"imported": False, "trained_on_bytes": sample.bytes, "trained_on_documents": sample.documents}


class TrainingSample:
    """Training documents of at most `limit` bytes together: an even share, picked by the hash of their ids."""

    def __init__(self, folder: Path, limit: int, share: float, context: StageContext) -> None:
        self.folder, self.limit, self.share, self.context = folder, limit, share, context
        self.bytes = 0
        self.documents = 0

    def __iter__(self) -> Iterator[str]:
        yield from self._texts(self.share)
        if self.bytes == 0:  # a few large documents of which the hash picked none
            yield from self._texts(1.0)

    def _texts(self, share: float) -> Iterator[str]:
        threshold = share * 2.0**64
        for rows in read_rows(self.folder, ["id", "split", "text"]):
            self.context.progress(self.bytes, self.limit, "bytes")
            for row in rows:
                if row["split"] != "train" or (share < 1 and xxhash.xxh3_64_intdigest(row["id"].encode()) >= threshold):
                    continue
                data = row["text"].encode()[: self.limit - self.bytes]
                self.bytes += len(data)
                self.documents += 1
                yield data.decode(errors="ignore")
                if self.bytes >= self.limit:
                    return


TOKENIZER = Stage("tokenizer", version=1, inputs=("curate",), config=stage_config, run=run)
