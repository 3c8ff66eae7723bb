"""Head and cross-entropy in one step, for devices where passes over [tokens, vocabulary] cost more than products.

The forward pass turns the logits into probabilities in place and keeps p - onehot, the gradient of the loss by the logits.
The backward pass then needs two matrix products and no further pass: a row's upstream gradient scales rows of the small
operand, not of the large one. On two cores this took a step of a 1M model from 143 to 105 ms
(docs/experiments/first-light.md). A few rows at a time, so that float32 stays in the cache (docs/experiments/throughput.md).
"""

from typing import Any

import torch
from torch import Tensor

CACHED_LOGITS = 2**19  # float32 values that several passes go over at once: 2 MB
IGNORED = -100  # a target that is not asked: no loss and no gradient (the default of F.cross_entropy)


class HeadLoss(torch.autograd.Function):
    """hidden [N, D], weight [V, D], targets [N], none IGNORED -> negative log-likelihood [N] in nats, float32.

    Products run in the dtype of the operands, float32 or bfloat16, and what is kept between the passes has it too; the
    softmax is float32.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        gradient_NV = torch.mm(hidden_ND, weight_VD.t())  # the logits as yet
        index_N1 = targets_N[:, None]
        target_N1 = torch.empty(index_N1.shape)
        rows = max(1, CACHED_LOGITS // len(weight_VD))
        narrow = gradient_NV.dtype != torch.float32
        space_RV = torch.empty(min(rows, len(targets_N)), len(weight_VD)) if narrow else gradient_NV
        for start in range(0, len(targets_N), rows):
            part = slice(start, start + rows)
            index_R1 = index_N1[part]
            wide_RV = space_RV[: len(index_R1)].copy_(gradient_NV[part]) if narrow else gradient_NV[part]
            torch.softmax(wide_RV, dim=-1, out=wide_RV)
            target_N1[part] = wide_RV.gather(1, index_R1)
            wide_RV.scatter_(1, index_R1, target_N1[part] - 1)
            if narrow:
                gradient_NV[part] = wide_RV
        ctx.save_for_backward(hidden_ND, weight_VD, gradient_NV)
        return -target_N1.clamp_min(torch.finfo(torch.float32).tiny).log()[:, 0]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_ND, weight_VD, gradient_NV = ctx.saved_tensors
        scale_N1 = upstream[0][:, None].to(hidden_ND.dtype)
        return torch.mm(gradient_NV, weight_VD) * scale_N1, torch.mm(gradient_NV.t(), hidden_ND * scale_N1), None


def head_loss(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """`HeadLoss`, in the dtype of an autocast region around it."""
    kind = hidden_ND.device.type
    if torch.is_autocast_enabled(kind):
        narrow = torch.get_autocast_dtype(kind)
        hidden_ND, weight_VD = hidden_ND.to(narrow), weight_VD.to(narrow)
    with torch.autocast(kind, enabled=False):
        return HeadLoss.apply(hidden_ND, weight_VD, targets_N)
