"""Tables in a model that is cut: their gradients are dense, so which rows a batch touched is noted at the look-up.

`RowAdamW` counts touches; a row whose gradient happens to be all zero was touched nevertheless.
"""

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from seedbed.model.transformer import Transformer
from seedbed.train.row_tables import RowTable, touched_masks


class Table(RowTable):
    """An embedding with a dense gradient, which autograd adds: weights that are spread have hooks that wait for it."""

    def forward(self, tokens: Tensor) -> Tensor:
        seen = tokens.to_local() if isinstance(tokens, DTensor) else tokens
        if self.training:
            self.note(seen)
        return F.embedding(tokens, self.weight)


def make_dense(model: Transformer) -> None:
    """Replace every embedding with sparse gradients. `model` is on the meta device, so nothing is copied."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Embedding) and child.sparse:
                module._modules[name] = Table(child.num_embeddings, child.embedding_dim, device="meta")


def share_touched(model: nn.Module, group: dist.ProcessGroup) -> None:
    """Leave in each table's weight, as `touched`, which of this rank's rows any rank of `group` looked up."""
    for table, mask_V in touched_masks([m for m in model.modules() if isinstance(m, Table)], group):
        table.weight.touched = local_rows(mask_V, table.weight)  # type: ignore[attr-defined]


def local_rows(whole_V: Tensor, weight: Tensor) -> Tensor:
    """Of a value a row, those of the rows of `weight` that are here."""
    if not isinstance(weight, DTensor):
        return whole_V
    mesh = weight.device_mesh
    placements = [p if p.is_shard(0) or not p.is_shard() else Replicate() for p in weight.placements]
    everywhere = DTensor.from_local(whole_V, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return everywhere.redistribute(mesh, placements).to_local()
