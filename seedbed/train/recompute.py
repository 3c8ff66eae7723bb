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
from torch._higher_order_ops.flex_attention import flex_attention
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

import seedbed.model.grouped  # noqa: F401  # which registers its operator

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
    torch.ops.seedbed.grouped_product.default,
    flex_attention,
}


def keep_products(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in KEPT else CheckpointPolicy.PREFER_RECOMPUTE


class Recomputed(nn.Module):
    """Comes before a layer's own class, whose forward pass it runs. A method, for whatever else stood in `forward`'s place would
    keep torch.compile out: `checkpoint` itself is closed to it unless it is called from a frame that is compiled.
    """

    contexts: dict[str, Any]

    def forward(self, *args: Any) -> Any:
        return checkpoint(super().forward, *args, use_reentrant=False, preserve_rng_state=False, **self.contexts)


def recompute_layers(layers: Iterable[nn.Module], kind: Recompute) -> None:
    """Make every layer recompute in its backward pass what it does not keep. State names stay as they are."""
    if kind == "none":
        return
    contexts: dict[str, Any] = {}
    if kind == "selective":
        contexts["context_fn"] = partial(create_selective_checkpoint_contexts, keep_products)
    # one for all layers of a class, so that they are compiled once
    classes: dict[type[nn.Module], type[nn.Module]] = {}
    for layer in layers:
        own = type(layer)
        layer.__class__ = classes.setdefault(own, type(f"Recomputed{own.__name__}", (Recomputed, own), {}))
        layer.contexts = contexts  # type: ignore[assignment]
