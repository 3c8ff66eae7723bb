"""Cross-entropy over a large vocabulary without the logits of a batch: a few thousand tokens' worth at a time.

    forward:   for each chunk of tokens: logits -> log-sum-exp and the target's logit; the logits are dropped
    backward:  for each chunk: the logits again -> probabilities - onehot -> the gradients of hidden states and weight

One product more than keeping the logits (8 instead of 6 N D V FLOPs), for chunk x V numbers in memory instead of N x V. The
gradient of every row may have its own scale upstream. bench/cross_entropy.py compares it with the plain form.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.model.head_loss import IGNORED


def softcapped(logits: Tensor, softcap: float) -> Tensor:
    return softcap * torch.tanh(logits / softcap) if softcap else logits


class ChunkedLoss(torch.autograd.Function):
    """hidden [N, D], weight [V, D], bias [V] or None, targets [N] -> negative log-likelihood [N] in nats, float32 or wider."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        softcap: float,
        chunk_tokens: int,
    ) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N)
        ctx.softcap, ctx.chunk_tokens = softcap, chunk_tokens
        parts = []
        for hidden_CD, targets_C in zip(hidden_ND.split(chunk_tokens), targets_N.split(chunk_tokens), strict=True):
            logits_CV = chunk_logits(hidden_CD, weight_VD, bias_V, softcap)
            parts.append(F.cross_entropy(logits_CV, targets_C, ignore_index=IGNORED, reduction="none"))
            del logits_CV  # before the next chunk's are made
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, targets_N = ctx.saved_tensors
        softcap, size = ctx.softcap, ctx.chunk_tokens
        upstream_N = upstream[0].masked_fill(targets_N == IGNORED, 0)
        wide = torch.promote_types(weight_VD.dtype, torch.float32)
        weight_gradient_VD = torch.zeros(weight_VD.shape, dtype=wide, device=weight_VD.device)
        bias_gradient_V = None if bias_V is None else torch.zeros(bias_V.shape, dtype=wide, device=bias_V.device)
        hidden_gradient_ND = torch.empty_like(hidden_ND)
        for start in range(0, len(hidden_ND), size):
            rows = slice(start, start + size)
            logits_CV = chunk_logits(hidden_ND[rows], weight_VD, bias_V, softcap)
            slope_CV = 1 - (logits_CV / softcap).square() if softcap else None
            gradient_CV = torch.softmax(logits_CV, dim=-1, out=logits_CV)
            index_C1 = targets_N[rows].clamp_min(0)[:, None]
            gradient_CV.scatter_add_(1, index_C1, gradient_CV.new_full(index_C1.shape, -1))
            gradient_CV.mul_(upstream_N[rows, None])
            if slope_CV is not None:
                gradient_CV.mul_(slope_CV)
            del logits_CV, slope_CV
            if bias_gradient_V is not None:
                bias_gradient_V += gradient_CV.sum(0)
            narrow_CV = gradient_CV.to(hidden_ND.dtype)
            hidden_gradient_ND[rows] = narrow_CV @ weight_VD
            if weight_VD.dtype == wide:
                weight_gradient_VD.addmm_(narrow_CV.t(), hidden_ND[rows])
            else:
                weight_gradient_VD += narrow_CV.t() @ hidden_ND[rows]
            del gradient_CV, narrow_CV
        bias_gradient_V = None if bias_gradient_V is None or bias_V is None else bias_gradient_V.to(bias_V.dtype)
        return hidden_gradient_ND, weight_gradient_VD.to(weight_VD.dtype), bias_gradient_V, None, None, None


def chunk_logits(hidden_CD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, softcap: float) -> Tensor:
    logits_CV = F.linear(hidden_CD, weight_VD, bias_V)
    return softcapped(logits_CV.to(torch.promote_types(logits_CV.dtype, torch.float32)), softcap)


def chunked_loss(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    chunk_tokens: int,
    bias_V: Tensor | None = None,
    softcap: float = 0.0,
) -> Tensor:
    """`ChunkedLoss` in the dtype of the autocast region it is called in, if any."""
    kind = hidden_ND.device.type
    if torch.is_autocast_enabled(kind):
        narrow = torch.get_autocast_dtype(kind)
        hidden_ND, weight_VD = hidden_ND.to(narrow), weight_VD.to(narrow)
        bias_V = None if bias_V is None else bias_V.to(narrow)
    with torch.autocast(kind, enabled=False):
        return ChunkedLoss.apply(hidden_ND, weight_VD, bias_V, targets_N, softcap, chunk_tokens)
