"""Expert parallelism (Lepikhin et al. 2021): each rank holds some of a layer's experts, and rows travel to them and back.

    rows sorted by expert -> all-to-all -> rows of this rank's experts, by sender -> sorted by expert -> products -> the way back

The ranks read different rows of the batch, so no token is worked on twice. Splits are counts of rows, which the host must know:
one small copy from the device a layer.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor

from seedbed.model.experts import ExpertStack
from seedbed.model.feed_forward import activate
from seedbed.model.grouped import grouped_product
from seedbed.model.transformer import Transformer
from seedbed.train.parallel.tensor import here


class SendRows(torch.autograd.Function):
    """`sent[i]` rows to rank i, `received[i]` from it; gradients take the way back."""

    @staticmethod
    def forward(ctx: Any, x_SD: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.splits = sent, received, group
        return exchange(x_SD, sent, received, group)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        sent, received, group = ctx.splits
        return exchange(upstream[0], received, sent, group), None, None, None


def exchange(x_SD: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    y_RD = x_SD.new_empty(sum(received), x_SD.shape[1])
    dist.all_to_all_single(y_RD, x_SD.contiguous(), received, sent, group=group)
    return y_RD


class SpreadExperts:
    """In place of `ExpertStack.forward` where this rank holds E / N of the experts."""

    def __init__(self, stack: ExpertStack, mesh: DeviceMesh) -> None:
        self.stack, self.group, self.ranks = stack, mesh.get_group(), mesh.size()

    def __call__(self, x_SD: Tensor, counts_E: Tensor) -> Tensor:
        mine_NE = torch.empty_like(counts_E).view(self.ranks, -1)  # rows from each rank for each expert here
        dist.all_to_all_single(mine_NE.view(-1), counts_E.contiguous(), group=self.group)
        sent, received = torch.stack((counts_E.view(self.ranks, -1).sum(1), mine_NE.sum(1))).tolist()
        x_RD = SendRows.apply(x_SD, sent, received, self.group)
        experts_NE = torch.arange(mine_NE.shape[1], device=x_SD.device).expand_as(mine_NE)
        order_R = experts_NE.flatten().repeat_interleave(mine_NE.flatten()).argsort(stable=True)
        y_RD = self.products(x_RD[order_R], mine_NE.sum(0))
        return SendRows.apply(y_RD[order_R.argsort()], received, sent, self.group)

    def products(self, x_RD: Tensor, counts_E: Tensor) -> Tensor:
        stack = self.stack
        up_RM = grouped_product(x_RD, here(stack.up), counts_E)
        inner_RM = activate(stack.kind, up_RM, lambda: grouped_product(x_RD, here(stack.gate), counts_E))
        return grouped_product(inner_RM, here(stack.down), counts_E)


def expert_stacks(model: Transformer) -> dict[str, ExpertStack]:
    return {name: module for name, module in model.named_modules() if isinstance(module, ExpertStack)}


def cut_experts(model: Transformer, mesh: DeviceMesh) -> list[str]:
    """Give each rank its experts. Gives the names of their weights, whose gradients are those of other ranks' rows already."""
    names = []
    for prefix, stack in expert_stacks(model).items():
        for name, weight in list(stack.named_parameters(recurse=False)):
            stack.register_parameter(
                name, nn.Parameter(distribute_tensor(weight, mesh, [Shard(0)], src_data_rank=None))
            )
            names.append(f"{prefix}.{name}")
        stack.forward = SpreadExperts(stack, mesh)  # type: ignore[method-assign]
    return names
