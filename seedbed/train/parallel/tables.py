"""Tables in a model that is cut: their gradients are dense, so which rows a batch touched is noted at the look-up.

`RowAdamW` counts touches; a row whose gradient happens to be all zero was touched nevertheless.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from seedbed.model.transformer import Transformer


class Table(nn.Embedding):
    """An embedding with a dense gradient that remembers the rows looked up since it was last asked."""

    touched_V: Tensor | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        seen = tokens.to_local() if isinstance(tokens, DTensor) else tokens
        if self.training:
            if self.touched_V is None or self.touched_V.device != seen.device:
                self.touched_V = torch.zeros(self.num_embeddings, dtype=torch.uint8, device=seen.device)
            self.touched_V[seen.flatten()] = 1
        return F.embedding(tokens, self.weight)


def make_dense(model: Transformer) -> None:
    """Replace every embedding with sparse gradients. `model` is on the meta device, so nothing is copied."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Embedding) and child.sparse:
                module._modules[name] = Table(child.num_embeddings, child.embedding_dim, device="meta")


def share_touched(model: nn.Module, group: dist.ProcessGroup) -> None:
    """Leave in each table's weight, as `touched`, the numbers of this rank's rows that any rank of `group` looked up."""
    tables = [module for module in model.modules() if isinstance(module, Table)]
    if not tables:
        return
    masks = [table.touched_V for table in tables]
    assert all(mask is not None for mask in masks), "every table is looked up in every step"
    flat = torch.cat(masks)  # type: ignore[arg-type]
    dist.all_reduce(flat, dist.ReduceOp.MAX, group=group)
    for table, mask_V in zip(tables, flat.split([t.num_embeddings for t in tables]), strict=True):
        table.weight.touched = local_rows(mask_V, table.weight).nonzero()[:, 0]  # type: ignore[attr-defined]
        table.touched_V = None


def local_rows(whole_V: Tensor, weight: Tensor) -> Tensor:
    """Of a value a row, those of the rows of `weight` that are here."""
    if not isinstance(weight, DTensor):
        return whole_V
    mesh = weight.device_mesh
    placements = [p if p.is_shard(0) or not p.is_shard() else Replicate() for p in weight.placements]
    everywhere = DTensor.from_local(whole_V, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return everywhere.redistribute(mesh, placements).to_local()
