"""Tables as a GPU trains them: rows' gradients are added where they belong, and the rows looked up are noted.

Sparse gradients suit a CPU and one micro-batch. Added up over micro-batches they are joined anew each time, every row held as
often as its token occurs: for 1.3B parameters and a batch of 0.5M tokens 56 GB by the last. Here
each table has one dense gradient, to which a micro-batch adds its rows in sorted order, so that sums come out alike each time.
`RowAdamW` then moves the rows that the weight's `touched` marks.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class AddRows(torch.autograd.Function):
    """Rows of a table; the backward pass adds to the table's `grad` itself, which autograd would do with a whole table."""

    @staticmethod
    def forward(ctx: Any, weight_VD: Tensor, tokens_BT: Tensor) -> Tensor:
        ctx.save_for_backward(weight_VD, tokens_BT)
        return F.embedding(tokens_BT, weight_VD)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, None]:
        weight_VD, tokens_BT = ctx.saved_tensors
        if weight_VD.grad is None:
            weight_VD.grad = torch.zeros_like(weight_VD)
        rows_ND = upstream[0].flatten(0, -2).to(weight_VD.dtype)
        # accumulated, a GPU sorts the tokens first and adds equal ones in that order, without atomic additions
        weight_VD.grad.index_put_((tokens_BT.flatten(),), rows_ND, accumulate=True)
        return None, None


class RowTable(nn.Embedding):
    touched_V: Tensor | None = None  # uint8; of the step under way

    def forward(self, tokens: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return F.embedding(tokens, self.weight)
        self.note(tokens)
        rows: Tensor = AddRows.apply(self.weight, tokens)
        return rows

    def note(self, tokens: Tensor) -> None:
        if self.touched_V is None or self.touched_V.device != tokens.device:
            self.touched_V = torch.zeros(self.num_embeddings, dtype=torch.uint8, device=tokens.device)
        self.touched_V[tokens.flatten()] = 1


def use_row_tables(model: nn.Module) -> None:
    """Make every embedding with sparse gradients a `RowTable`. State names stay as they are."""
    for module in model.modules():
        if type(module) is nn.Embedding and module.sparse:
            module.__class__ = RowTable


def touched_masks(tables: list[RowTable], group: dist.ProcessGroup | None = None) -> list[tuple[RowTable, Tensor]]:
    """Of each table the mask [V] of the rows that any rank looked up; then none are. `group`: default all ranks, if any."""
    masks = [table.touched_V for table in tables]
    assert all(mask is not None for mask in masks), "every table is looked up in every step"
    if not tables:
        return []
    flat = torch.cat(masks)  # type: ignore[arg-type]
    if dist.is_initialized():
        dist.all_reduce(flat, dist.ReduceOp.MAX, group=group)
    for table in tables:
        table.touched_V = None
    return list(zip(tables, flat.split([t.num_embeddings for t in tables]), strict=True))
