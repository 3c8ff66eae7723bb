"""Tensor parallelism (Shoeybi et al. 2019): heads and channels are cut among ranks that work on the same tokens.

    x (everywhere) -> query, key, value, up, gate: cut by rows -> attention, activation on a part -> output, down: cut by
    columns -> partial sums, added over the ranks -> x (everywhere)

Tables are cut by rows (tokens), value embeddings by key-value head, the head by tokens: `VocabularyLoss` never gathers logits.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from torch.utils.checkpoint import checkpoint

from seedbed.model.attention import Attention
from seedbed.model.feed_forward import FeedForward
from seedbed.model.head_loss import IGNORED
from seedbed.model.transformer import Transformer


class SumBackward(torch.autograd.Function):
    """x, whose gradient is the sum of what each rank finds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        summed = upstream[0].contiguous().clone()
        dist.all_reduce(summed, group=ctx.group)
        return summed, None


class SumForward(torch.autograd.Function):
    """The sum of every rank's x. All ranks go on alike, so the gradient is the same everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        summed = x.contiguous().clone()
        dist.all_reduce(summed, group=group)
        return summed

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0], None


def cut_by_heads_and_channels(model: Transformer, mesh: DeviceMesh) -> list[str]:
    """Cut the weights of what is present of `model`. Gives the names of whole parameters whose gradients are parts of a sum."""
    partial: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            cut(module, mesh, columns=("query", "key", "value", "value_gate"), rows=("output",))
            partial += norms_of_heads(name, module)
        elif isinstance(module, FeedForward):
            cut(module, mesh, columns=("up", "gate"), rows=("down",))
    table: ParallelStyle = RowwiseParallel(input_layouts=Replicate())
    if model.embedding is not None:
        parallelize_module(model.embedding, mesh, table)
    for lookup in model.ngram_embeddings.values():
        parallelize_module(lookup, mesh, table)
    for lookup in model.value_embeddings.values():
        parallelize_module(lookup, mesh, ColwiseParallel())
    if model.head is not None:
        parallelize_module(model.head, mesh, ColwiseParallel(output_layouts=Replicate()))
        model.tie_head()
        model.own_losses = VocabularyLoss(model, mesh)  # type: ignore[method-assign]
    return partial


def cut(module: nn.Module, mesh: DeviceMesh, columns: tuple[str, ...], rows: tuple[str, ...]) -> None:
    plan: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in columns if hasattr(module, name)}
    plan |= {name: RowwiseParallel() for name in rows}
    parallelize_module(module, mesh, plan)

    def enter(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """One sum of gradients for all that read x, not one each."""
        return DTensor.from_local(inputs[0], mesh, [Replicate()], run_check=False), *inputs[1:]

    module.register_forward_pre_hook(enter)


def norms_of_heads(prefix: str, attention: Attention) -> list[str]:
    """Gains of a head's channels are whole on every rank, and each rank's heads add to their gradient."""
    return [f"{prefix}.{name}" for name, _ in attention.named_parameters() if "norm" in name]


class VocabularyLoss:
    """`Transformer.own_losses` where each rank holds the head's rows of a part of the vocabulary."""

    def __init__(self, model: Transformer, mesh: DeviceMesh) -> None:
        self.model, self.group, self.rank = model, mesh.get_group(), mesh.get_local_rank()

    def __call__(self, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        hidden_ND, targets_N = SumBackward.apply(hidden_BTD.flatten(0, 1), self.group), targets_BT.flatten()
        size = self.model.loss_chunk_tokens
        if not size or size >= len(targets_N):
            return self.part(hidden_ND, targets_N).view_as(targets_BT)
        # a chunk's logits are made once more in the backward pass instead of being kept
        chunks = zip(hidden_ND.split(size), targets_N.split(size), strict=True)
        parts = [checkpoint(self.part, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
        return torch.cat(parts).view_as(targets_BT)

    def part(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        model, group = self.model, self.group
        weight_WD = here(model.head.weight)
        bias_W = None if model.head.bias is None else here(model.head.bias)
        W = weight_WD.shape[0]
        first = self.rank * W
        logits_NW = model.cap(nn.functional.linear(hidden_ND, weight_WD, bias_W).float())
        if first + W > model.config.vocab_size:  # padding
            padding_W = torch.arange(first, first + W, device=logits_NW.device) >= model.config.vocab_size
            logits_NW = logits_NW.masked_fill(padding_W, -torch.inf)
        largest_N = logits_NW.detach().amax(dim=1)
        dist.all_reduce(largest_N, dist.ReduceOp.MAX, group=group)
        logits_NW = logits_NW - largest_N[:, None]
        total_N = SumForward.apply(logits_NW.exp().sum(dim=1), group)
        here_N = (targets_N >= first) & (targets_N < first + W)
        index_N1 = (targets_N - first).clamp(0, W - 1)[:, None]
        target_N = SumForward.apply(logits_NW.gather(1, index_N1)[:, 0].masked_fill(~here_N, 0.0), group)
        return (total_N.log() - target_N).masked_fill(targets_N == IGNORED, 0.0)


def here(parameter: Tensor) -> Tensor:
    """This rank's part, through which gradients flow."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter
