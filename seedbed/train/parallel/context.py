"""Context parallelism: each row of T tokens is cut among ranks, and every rank gathers all keys and values.

As Llama 3 did (Dubey et al. 2024, section 3.3.2): a causal token sees only what is before it, so the row is cut into 2 N chunks
and rank r gets chunks r and 2 N - 1 - r; each rank then has the same work.

    N = 2    chunks  0 1 2 3      rank 0: 0 3      rank 1: 1 2
"""

from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seedbed.model.attention import Attention
from seedbed.model.latent_attention import LatentAttention


def positions_of(rank: int, ranks: int, tokens: int) -> Tensor:
    """The positions in a row of `tokens` that a rank works on, ascending: [tokens / ranks]."""
    each = tokens // (2 * ranks)
    chunks = torch.arange(tokens).view(2 * ranks, each)
    return torch.cat((chunks[rank], chunks[2 * ranks - 1 - rank]))


class GatherRows(torch.autograd.Function):
    """[B, G, T / N, K] on each of N ranks -> [B, G, T, K] in the row's order on all; gradients are summed and cut again."""

    @staticmethod
    def forward(ctx: Any, x_BGTK: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        parts = [
            torch.empty_like(x_BGTK, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size(group))
        ]
        dist.all_gather(parts, x_BGTK.contiguous(), group=group)
        halves = [part.chunk(2, dim=2) for part in parts]
        return torch.cat([first for first, _ in halves] + [second for _, second in reversed(halves)], dim=2)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        ranks = dist.get_world_size(ctx.group)
        chunks = upstream[0].chunk(2 * ranks, dim=2)
        parts = [torch.cat((chunks[r], chunks[2 * ranks - 1 - r]), dim=2) for r in range(ranks)]
        mine = torch.empty_like(parts[0])
        dist.reduce_scatter(mine, parts, group=ctx.group)
        return mine, None


def cut_rows(model: nn.Module, group: dist.ProcessGroup) -> None:
    """Make every attention of `model` see whole rows, of which it is given this rank's positions."""
    for module in model.modules():
        if isinstance(module, (Attention, LatentAttention)):
            module.mix = MethodType(WholeRows(group), module)  # type: ignore[method-assign]


class WholeRows:
    """In place of `Attention.mix`: gather keys and values, then mix each of this rank's two chunks with what it may see."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group, self.rank, self.ranks = group, dist.get_rank(group), dist.get_world_size(group)

    def __call__(
        self, attention: Any, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, documents_BS: Tensor | None
    ) -> Tensor:
        """`documents_BS` numbers the documents of whole rows."""
        k_BGSK, v_BGSK = GatherRows.apply(k_BGTK, self.group), GatherRows.apply(v_BGTK, self.group)
        chunks = (self.rank, 2 * self.ranks - 1 - self.rank)
        each = k_BGSK.shape[2] // (2 * self.ranks)
        mixed = []
        for chunk, q in zip(chunks, q_BHTK.chunk(2, dim=2), strict=True):
            view = self.view(attention, chunk * each, each, k_BGSK.shape[2], k_BGSK.device)
            documents = None if documents_BS is None else documents_BS[:, view]
            mixed.append(type(attention).mix(attention, q, k_BGSK[:, :, view], v_BGSK[:, :, view], documents))
        return torch.cat(mixed, dim=2)

    def view(self, attention: Any, start: int, each: int, whole: int, device: torch.device) -> Any:
        """Keys in view of the chunk at `start`, its own the last: `mix` takes queries to be the last of the keys."""
        if attention.config.causal:
            return slice(0, start + each)
        order = torch.arange(whole, device=device)
        return torch.cat((order[:start], order[start + each :], order[start : start + each]))
