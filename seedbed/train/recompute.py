"""Activation checkpointing: memory for arithmetic, without a change to what is computed.

none       every activation of a layer is kept for the backward pass
selective  a layer keeps the results of its matrix products and of attention, and recomputes what lies between them
full       a layer keeps its input alone, and is run again in the backward pass
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

Recompute = Literal["none", "selective", "full"]
aten = torch.ops.aten
# What costs more to run again than to keep (Chen et al. 2016; the list follows from this model's operations).
KEPT = {
    aten.mm.default,
    aten.bmm.default,
    aten.baddbmm.default,
    aten.addmm.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_mm.default,
}


def keep_products(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in KEPT else CheckpointPolicy.PREFER_RECOMPUTE


def recompute_layers(layers: Iterable[nn.Module], kind: Recompute) -> None:
    """Make every layer recompute in its backward pass what it does not keep. State names stay as they are."""
    if kind == "none":
        return
    contexts: dict[str, Any] = {}
    if kind == "selective":
        contexts["context_fn"] = partial(create_selective_checkpoint_contexts, keep_products)
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False, **contexts)
