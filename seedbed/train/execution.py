"""How a step's arithmetic runs on a device: what `measure` chooses, and the order in which memory is saved when it runs out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from seedbed.model.config import TransformerConfig
from seedbed.train.recompute import Recompute

if TYPE_CHECKING:  # a GPU machine may have torch and NumPy alone (bench/gpu_train.py)
    from seedbed.recipe.schema import TrainConfig

# Logits of a micro-batch up to this size are held whole, which saves a product; of larger ones a quarter of it at a time.
# Assumed small beside what such a device holds otherwise; not tuned.
MOST_LOGIT_BYTES = {"cpu": 2**30, "cuda": 2**33}
# A micro-batch below this many tokens no longer fills a large GPU's products (an assumption: 128 rows of tiles for 132 units).
FULL_MICRO_BATCH_TOKENS = 16_384


@dataclass(frozen=True)
class Execution:
    """None of it changes what is computed beyond rounding."""

    device: str
    precision: str  # float32, bfloat16 or float8
    compile: bool
    threads: int
    micro_batch_rows: int
    recompute: Recompute = "none"
    loss_chunk_tokens: int | None = None  # None: by `loss_chunk`

    @property
    def peak_dtype(self) -> str:
        """Whose matrix-product rate MFU refers to: float8's is bfloat16's, so that what float8 gains shows."""
        return "bfloat16" if self.precision == "float8" else self.precision


def execution_of(train: TrainConfig, device: str) -> Execution:
    """What a resolved recipe says."""
    assert train.threads and train.micro_batch_rows and train.recompute != "auto"
    return Execution(
        device,
        train.precision,
        train.compile == "on",
        train.threads,
        train.micro_batch_rows,
        train.recompute,
        train.loss_chunk_tokens,
    )


def loss_chunk(config: TransformerConfig, execution: Execution) -> int:
    """Tokens whose logits the loss holds at once; 0: all of a micro-batch."""
    if execution.loss_chunk_tokens is not None:
        return execution.loss_chunk_tokens
    device = torch.device(execution.device).type
    most = MOST_LOGIT_BYTES[device]
    # compiled for a GPU, the float32 logits are never written, and what is kept of them is what the product gave
    narrow = device == "cuda" and execution.compile and config.causal and execution.precision != "float32"
    bytes_per_token = (2 if narrow else 4) * config.vocab_size
    if execution.micro_batch_rows * config.context * bytes_per_token <= most:
        return 0
    return max(1, most // 4 // bytes_per_token)


def lighter(execution: Execution, context: int, may_recompute: bool) -> Execution | None:
    """The next thing to try when memory ran out; None when nothing is left. The global batch stays.

    Halve the micro-batch while what is left fills the device; then recompute between products; then halve to one row; then
    recompute whole layers.
    """
    rows = execution.micro_batch_rows
    halved = replace(execution, micro_batch_rows=rows // 2)
    if rows % 2 == 0 and (rows // 2) * context >= FULL_MICRO_BATCH_TOKENS:
        return halved
    if may_recompute and execution.recompute == "none":
        return replace(execution, recompute="selective")
    if rows % 2 == 0:
        return halved
    if may_recompute and execution.recompute == "selective":
        return replace(execution, recompute="full")
    return None
