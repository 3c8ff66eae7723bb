"""The stage `tokenize`: kept documents -> shards, one folder a split.

Training documents come in order of a hash of (seed, "order", id): a random order that no file boundary shows through,
in which adding a document moves no other. Where a mixture weighs sources or domains they come grouped by these, a group
after the other and each in that order. The other splits come in order of id. Memory stays under about MEMORY_BYTES a
split, whatever the corpus.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import xxhash

from seedbed.errors import InputError
from seedbed.files import require_free_bytes
from seedbed.recipe.objective import window_tokens
from seedbed.recipe.schema import Recipe
from seedbed.run.stages import Stage, StageContext
from seedbed.tokens.document_sorter import DocumentSorter, Entry
from seedbed.tokens.kept_documents import SplitSize, read_rows, split_sizes
from seedbed.tokens.linked import link_shards, links_key
from seedbed.tokens.packing import write_best_fit
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.shards import ShardWriter, token_dtype
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.tokens.train_tokenizer import TOKENIZER_FILE

MEMORY_BYTES = 256_000_000
SIDECAR_BYTES_PER_DOCUMENT = 200  # an estimate on the safe side for the disk check
TRAIN = "train"


def run(context: StageContext) -> dict[str, Any]:
    tokenizer = Tokenizer.load(context.inputs["tokenizer"].path / TOKENIZER_FILE)
    if context.recipe.tokens.shards:
        summary = link_shards(context, tokenizer)
    else:
        summary = encode_documents(context, tokenizer)
    summary[TRAIN] |= pack(context, summary[TRAIN]["folder"])
    return {"vocab_size": tokenizer.vocab_size, "dtype": str(token_dtype(tokenizer.vocab_size).name), "splits": summary}


def encode_documents(context: StageContext, tokenizer: Tokenizer) -> dict[str, Any]:
    """Shards of what `curate` kept; gives each split's counts."""
    folder = context.inputs["curate"].path
    sizes = split_sizes(folder)
    if TRAIN not in sizes:
        raise InputError(
            "corpus: no training document was kept: see the yields of `curate`, loosen its thresholds or add text"
        )
    folders = split_folders(list(sizes))
    sorters = {name: DocumentSorter(context.path / f"{folders[name]}.runs", MEMORY_BYTES) for name in sizes}
    key = order_key(context.recipe.seed)
    by = context.recipe.mixture.by if context.recipe.mixture.weights else None
    total = sum(size.bytes for size in sizes.values())
    done = num_tokens = 0
    checked = False
    for rows in read_rows(folder, ["id", "source", "domain", "split", "text"]):
        encoded = tokenizer.encode_batch([row["text"] for row in rows])
        for row, tokens in zip(rows, encoded, strict=True):
            num_bytes = len(row["text"].encode())
            name = row["split"]
            place = key(row["id"]) if name == TRAIN else row["id"].encode()
            if by and name == TRAIN:
                place = group_name(row[by]).encode() + b"\0" + place
            if not checked:
                require_space(context, sizes, encoded, rows, tokenizer.vocab_size)
                checked = True
            sorters[name].add(Entry(place, row["id"], row["source"], row["domain"], num_bytes, tokens))
            done += num_bytes
            num_tokens += len(tokens)
        context.progress(done, total, "bytes", tokens=num_tokens)
    return {
        name: write_split(context, tokenizer, folders[name], sorters[name], by if name == TRAIN else None)
        for name in sorted(sizes)
    }


def write_split(
    context: StageContext, tokenizer: Tokenizer, name: str, sorter: DocumentSorter, by: str | None
) -> dict[str, Any]:
    """Write a split's shards; `by`: source or domain, whose documents become a group each."""
    writer = ShardWriter(context.path / name, tokenizer.vocab_size, tokenizer.eos_id, tokenizer.sha256)
    group = None
    for number, entry in enumerate(sorter.drain()):
        if by and group_name(getattr(entry, by)) != group:
            group = group_name(getattr(entry, by))
            writer.begin_group(group)
        writer.add(entry.tokens, entry.id, entry.source, entry.domain, entry.num_bytes)
        if number % 1024 == 0:
            context.check_stop()
    manifest = writer.finish()
    counts = {field: manifest[field] for field in ("num_tokens", "num_documents", "num_bytes")}
    return {"folder": name, **counts, "bytes_per_token": round(manifest["num_bytes"] / manifest["num_tokens"], 4)}


def group_name(value: str) -> str:
    """What a mixture calls the documents of a source or domain."""
    return value or "unnamed"


def pack(context: StageContext, name: str) -> dict[str, Any]:
    """Lay out the rows of training where the recipe packs documents."""
    recipe = context.recipe
    if recipe.tokens.packing != "best-fit":
        return {}
    return {"packing": write_best_fit(ShardReader(context.path / name), window_tokens(recipe))}


def order_key(seed: int) -> Callable[[str], bytes]:
    """id -> its sort key in the training order; the id itself settles a collision of hashes."""
    purpose = xxhash.xxh3_64_intdigest(f"{seed}/order".encode())
    return lambda id: xxhash.xxh3_64_digest(id.encode(), seed=purpose) + id.encode()


def split_folders(names: list[str]) -> dict[str, str]:
    """The folder of each split: its name with everything but letters, digits, dot, dash and underscore replaced."""
    folders = {name: re.sub(r"[^\w.-]", "-", name).strip(".") or "unnamed" for name in names}
    if len({folder.casefold() for folder in folders.values()}) < len(folders):
        raise InputError(
            f"corpus.validation: two splits would share a folder ({', '.join(sorted(names))}): give them distinct names"
        )
    return folders


def require_space(
    context: StageContext,
    sizes: dict[str, SplitSize],
    encoded: list[np.ndarray],
    rows: list[dict[str, Any]],
    vocab_size: int,
) -> None:
    """Refuse to start on a disk that the shards, and the runs of a sort beyond memory, would fill.

    The rate of tokens per byte is the first batch's, with a fifth to spare.
    """
    read = max(1, sum(len(row["text"].encode()) for row in rows))
    tokens_per_byte = 1.2 * sum(map(len, encoded)) / read
    documents = sum(size.documents for size in sizes.values())
    tokens = tokens_per_byte * sum(size.bytes for size in sizes.values()) + documents
    runs = 4 * tokens if 4 * tokens > MEMORY_BYTES else 0
    needed = tokens * token_dtype(vocab_size).itemsize + runs + documents * SIDECAR_BYTES_PER_DOCUMENT
    require_free_bytes(context.path, int(needed), "the stage tokenize")


def tokenize_config(recipe: Recipe) -> Any:
    """What the shards and what lies beside them depend on."""
    config: dict[str, Any] = {"seed": recipe.seed}
    if recipe.tokens.shards:
        config["shards"] = links_key(recipe)
    elif recipe.mixture.weights:
        config["by"] = recipe.mixture.by
    if recipe.tokens.packing == "best-fit":
        config["packing"] = window_tokens(recipe)
    return config


TOKENIZE = Stage("tokenize", version=1, inputs=("curate", "tokenizer"), config=tokenize_config, run=run)
