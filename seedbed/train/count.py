"""The `count` stage: the n-gram expert, and what it says of each training token, beside the shards."""

from typing import Any

import numpy as np

from seedbed.errors import SeedbedError
from seedbed.files import require_free_bytes
from seedbed.model.ngram import count
from seedbed.run.stages import StageContext
from seedbed.tokens.reader import ShardReader
from seedbed.train.store import save_expert

# A longer document is left out block by block: its own earlier pages are fair to know, as they are in held-out text.
BLOCK_TOKENS = 16_384
MAX_TOKENS = 100_000_000
BYTES_PER_TOKEN = 150


def run_count(context: StageContext) -> dict[str, Any]:
    order = context.recipe.model.prior_order
    assert order is not None
    if order == 0:
        return {"order": 0}
    shards = ShardReader(context.inputs["tokenize"].path / "train")
    if shards.num_tokens > MAX_TOKENS:
        raise SeedbedError(
            f"model.prior_order: counting {shards.num_tokens:,} tokens would need about "
            f"{shards.num_tokens * BYTES_PER_TOKEN / 1e9:.0f} GB of memory: set model.prior_order=0"
        )
    require_free_bytes(context.path, shards.num_tokens * (2 * order + 8 * order), "counting n-grams")
    tokens = shards.read(0, shards.num_tokens)
    ends = np.concatenate([first + ends for first, ends in zip(shards.first_token[:-1], shards.ends, strict=True)])
    blocks = block_numbers(ends.astype(np.int64), len(tokens))
    context.progress(0, order, "orders")
    expert, probabilities, masses = count(
        tokens, blocks, shards.manifest["vocab_size"], order, lambda done: context.progress(done, order, "orders")
    )
    prior = np.column_stack((np.log(probabilities), masses)).astype(np.float16)
    prior.tofile(context.path / "train.prior")
    save_expert(context.path / "ngram.safetensors", expert)
    return {
        "order": order,
        "tokens": len(tokens),
        "ngrams": {str(table.order): len(table.keys) for table in expert.tables},
        "leave_one_out_nats_per_token": round(float(-np.log(probabilities).mean()), 4),
    }


def block_numbers(ends: np.ndarray, num_tokens: int) -> np.ndarray:
    """Number of the block of each token [num_tokens]: its document, or its part of a long document. Ascending."""
    starts = np.concatenate(([0], ends[:-1]))
    sizes = ends - starts
    parts = np.maximum(1, -(-sizes // BLOCK_TOKENS))
    first = np.concatenate(([0], np.cumsum(parts)[:-1]))
    within = np.arange(num_tokens) - np.repeat(starts, sizes)
    return np.repeat(first, sizes) + within // BLOCK_TOKENS
