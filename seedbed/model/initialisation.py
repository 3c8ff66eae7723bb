"""All initialisation in one place, drawn on the CPU in a fixed order so that it is the same on every device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seedbed.model.attention import Attention
from seedbed.model.experts import MixtureOfExperts
from seedbed.model.feed_forward import FeedForward
from seedbed.model.latent_attention import LatentAttention
from seedbed.model.layer import HeadTransform, Layer

if TYPE_CHECKING:
    from seedbed.model.transformer import Transformer


SKIPPED_AT_ONCE = 2**20  # numbers: 4 MB


class Draw:
    """Normal draws into parameters, one after the other from one generator.

    What is on the meta device belongs to another rank, and is skipped.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, weight: Tensor, std: float) -> None:
        if weight.is_meta:
            self.skip(weight.numel())
        else:
            weight.copy_(torch.randn(weight.shape, generator=self.generator) * std)

    def skip(self, count: int) -> None:
        """Leave the generator as `count` normal draws would, in half their time and without their memory.

        From 16 numbers on torch makes normals of one uniform draw each, and draws the last 16 again where 16 does not divide
        them (normal_fill, DistributionTemplates.h of torch 2.13); a test holds the two together.
        """
        if count < 16:
            torch.randn(count, generator=self.generator)
            return
        uniforms = count + (16 if count % 16 else 0)
        held = torch.empty(min(uniforms, SKIPPED_AT_ONCE))
        for start in range(0, uniforms, SKIPPED_AT_ONCE):
            held[: uniforms - start].uniform_(generator=self.generator)


@torch.no_grad()
def init_weights(model: Transformer, seed: int) -> None:
    """Fill every parameter and buffer of `model`.

    "Modern" (`zero_output_init`) follows the speedruns: output projections zero, inner ones scaled to the width (nanochat).
    Otherwise std 0.02 throughout, as GPT-2, BERT, Llama and OLMo 2 have it.
    """
    config, draw = model.config, Draw(seed)
    modern = config.zero_output_init
    draw.normal(model.embedding.weight, 0.8 if modern else 0.02)
    if config.position == "learned":
        draw.normal(model.position_embedding.weight, 0.02)
    if config.segments:
        draw.normal(model.segment_embedding.weight, 0.02)
    for table in model.ngram_embeddings.values():
        table.get_parameter("weight").zero_()
    for table in model.value_embeddings.values():
        draw.normal(table.get_parameter("weight"), config.width**-0.5)
    for layer in model.layers:
        assert isinstance(layer, Layer)
        std = config.width**-0.5 if modern else 0.02
        # GPT-2: residual projections shrink with depth (Radford et al. 2019, section 2.3), where no norm follows them
        shrink = (2 * config.layers) ** -0.5 if config.norm_place == "before" else 1.0
        init_attention_inputs(layer.attention, draw, std, modern)
        outputs = [layer.attention.output.weight, *init_feed_forward_inputs(layer.feed_forward, draw, std, modern)]
        for weight in outputs:
            if modern:
                weight.zero_()
            else:
                draw.normal(weight, std * shrink)
    if isinstance(model.head_transform, HeadTransform):
        draw.normal(model.head_transform.dense.weight, 0.02)
    if not config.tied_head:
        draw.normal(model.head.weight, 0.001 if modern else 0.02)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            parameter.zero_()
        elif "norm." in name:
            parameter.fill_(1.0)
    if config.residual_scalars:
        model.residual_scale.fill_(1.0)
        model.input_scale.fill_(0.1)
    if config.prior_order:
        model.prior_gate.weight.zero_()
    model.set_rope_tables(config.context)


def init_attention_inputs(attention: Attention | LatentAttention, draw: Draw, std: float, modern: bool) -> None:
    """All of attention's matrices but the output's."""
    if isinstance(attention, LatentAttention):
        for linear in attention.input_projections():
            draw.normal(linear.weight, linear.in_features**-0.5 if modern else std)
        return
    for linear in (attention.query, attention.key, attention.value):
        draw.normal(linear.weight, std)
    if attention.has_value_embedding:
        attention.value_gate.weight.zero_()


def init_feed_forward_inputs(
    part: FeedForward | MixtureOfExperts, draw: Draw, std: float, modern: bool
) -> list[Tensor]:
    """The matrices that read the residual stream; gives those that write to it, one for each stack of experts."""
    stacks: list[tuple[Tensor, Tensor | None, Tensor]]
    if isinstance(part, MixtureOfExperts):
        draw.normal(part.router.weight, std)
        part.router.reset()
        stacks = part.stacks()
    else:
        stacks = [(part.up.weight, part.gate.weight if part.kind == "swiglu" else None, part.down.weight)]
    for up, gate, _ in stacks:
        draw.normal(up, 0.4 * std if modern else std)
        if gate is not None:
            draw.normal(gate, std)
    return [down for _, _, down in stacks]
