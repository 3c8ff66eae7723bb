"""Mixture of experts: a router sends each token to a few of many feed-forward parts, and none is ever dropped.

    router       scores of all experts -> the chosen ones and their gates        (and what keeps the loads balanced)
    dispatch     a copy of the token for each choice, sorted by expert
    experts      grouped matrix products over the sorted rows                    (grouped.py)
    combine      back to the tokens' order, weighted by the gates; shared experts added

Expert weights are stacks [E, out, in]: expert parallelism shards dim 0 and replaces what `ExpertStack` is called with.
Shapes: N tokens, E experts, K choices a token, S = N K rows, D width, M channels of an expert, G groups of experts.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.config import TransformerConfig
from seedbed.model.feed_forward import FeedForward, activate
from seedbed.model.grouped import grouped_product

GROUP_LEADERS = 2  # a group of experts scores as its two best together (DeepSeek-V3's published router)


class AddGradient(torch.autograd.Function):
    """Gives x unchanged, and in the backward pass asks for the gradient of `scale * loss` as well.

    So a loss made inside a layer needs no way out of it: the same under compile, recomputation and pipelines.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, loss: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        return upstream[0], ctx.saved_tensors[0].clone(), None


class Dispatch(torch.autograd.Function):
    """Rows sorted by expert. The backward pass gathers and sums K rows a token in fixed order: no atomic additions."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, order_S: Tensor, inverse_S: Tensor) -> Tensor:
        ctx.save_for_backward(inverse_S)
        ctx.tokens = x_ND.shape[0]
        return x_ND.index_select(0, order_S // (order_S.shape[0] // x_ND.shape[0]))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (inverse_S,) = ctx.saved_tensors
        return upstream[0].index_select(0, inverse_S).unflatten(0, (ctx.tokens, -1)).sum(1), None, None


class Restore(torch.autograd.Function):
    """Rows sorted by expert back in the tokens' order."""

    @staticmethod
    def forward(ctx: Any, y_SD: Tensor, order_S: Tensor, inverse_S: Tensor) -> Tensor:
        ctx.save_for_backward(order_S)
        return y_SD.index_select(0, inverse_S)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        return upstream[0].index_select(0, ctx.saved_tensors[0]), None, None


def sort_by_expert(chosen_NK: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """(order_S, inverse_S, counts_E): choice `order_S[i]` of the flattened choices is row i of the sorted ones."""
    order_S = chosen_NK.flatten().argsort(stable=True)
    places_S = torch.arange(order_S.shape[0], device=order_S.device)
    inverse_S = torch.empty_like(order_S).scatter_(0, order_S, places_S)
    return order_S, inverse_S, count_choices(chosen_NK, num_experts)


def count_choices(chosen: Tensor, num_experts: int) -> Tensor:
    """Times each expert was chosen, [E] int64 (whose sums do not depend on their order)."""
    flat = chosen.flatten()
    return flat.new_zeros(num_experts).scatter_add_(0, flat, torch.ones_like(flat))


def over_mean(load_E: Tensor) -> list[float]:
    """Each expert's choices over the mean of all: 1 where even, 0 where none."""
    return (load_E / load_E.double().mean().clamp(min=1)).tolist()


class Router(nn.Module):
    """Scores in float32, the K best experts of each token, and their gates.

    Two ways to keep the loads even. `bias`: a bias that only chooses, moved after each step against the loads and outside
    the gradient (Wang et al. 2024; DeepSeek-V3, section 2.1.2). `loss`: loss_weight * sum_e f_e P_e for each sequence, with
    f_e = E / (K T) times the choices of e and P_e the mean of its scores (Switch, equations 4 to 6; a sequence is GShard's
    group, so that the gradient does not depend on the micro-batch).
    """

    bias_E: Tensor
    load_E: Tensor
    loss_scale: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.experts = config.experts
        E = self.experts.num_experts
        self.weight = nn.Parameter(torch.empty(E, config.width))
        if self.experts.balance == "bias":
            self.register_buffer("bias_E", torch.zeros(E))
        # times each expert was chosen in this step: counted twice, and evenly so, where the forward pass is recomputed
        self.register_buffer("load_E", torch.zeros(E, dtype=torch.int64), persistent=False)
        self.register_buffer("loss_scale", torch.zeros(()), persistent=False)

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """(chosen_NK int64, gates_NK float32) of the N = B T tokens."""
        experts = self.experts
        with torch.autocast(x_BTD.device.type, enabled=False):
            logits_BTE = F.linear(x_BTD.float(), self.weight.float())
            scores_BTE = logits_BTE.softmax(-1) if experts.gate == "softmax" else logits_BTE.sigmoid()
            scores_NE = scores_BTE.flatten(0, 1)
            chosen_NK = self.choose(scores_NE.detach())
            gates_NK = scores_NE.gather(1, chosen_NK)
            if experts.normalise_gates:
                gates_NK = gates_NK / (gates_NK.sum(1, keepdim=True) + 1e-20)
            gates_NK = gates_NK * experts.routed_scale
            if self.training:
                self.load_E.add_(count_choices(chosen_NK, experts.num_experts))
                if experts.balance == "loss" or experts.z_loss_weight:
                    loss = self.auxiliary_loss(logits_BTE, scores_BTE, chosen_NK)
                    gates_NK = AddGradient.apply(gates_NK, loss, self.loss_scale)
        return chosen_NK, gates_NK

    def choose(self, scores_NE: Tensor) -> Tensor:
        experts = self.experts
        if experts.balance == "bias":
            scores_NE = scores_NE + self.bias_E
        if experts.groups > 1:
            scores_NGE = scores_NE.unflatten(1, (experts.groups, -1))
            leaders = min(GROUP_LEADERS, scores_NGE.shape[2])
            best_N = scores_NGE.topk(leaders, dim=2).values.sum(2).topk(experts.groups_per_token, dim=1).indices
            closed_NG = torch.ones_like(scores_NGE[..., 0], dtype=torch.bool).scatter_(1, best_N, False)
            scores_NE = scores_NGE.masked_fill(closed_NG[..., None], -torch.inf).flatten(1)
        return scores_NE.topk(experts.experts_per_token, dim=1).indices

    def auxiliary_loss(self, logits_BTE: Tensor, scores_BTE: Tensor, chosen_NK: Tensor) -> Tensor:
        """Sum over the rows of the balance loss and the z-loss (Zoph et al. 2022, equation 5)."""
        experts, (B, T, E) = self.experts, logits_BTE.shape
        loss = logits_BTE.new_zeros(())
        if experts.balance == "loss":
            row_B1 = torch.arange(B, device=chosen_NK.device)[:, None]
            load_BE = count_choices(chosen_NK.view(B, -1) + E * row_B1, B * E).view(B, E)
            share_BTE = scores_BTE / scores_BTE.sum(-1, keepdim=True)
            even = experts.experts_per_token * T / E
            loss = loss + experts.loss_weight * (load_BE / even * share_BTE.mean(1)).sum()
        if experts.z_loss_weight:
            loss = loss + experts.z_loss_weight * logits_BTE.logsumexp(-1).square().mean(1).sum()
        return loss

    @torch.no_grad()
    def reset(self) -> None:
        """As on the first step: no bias, nothing counted."""
        for buffer in self.buffers():
            buffer.zero_()

    @torch.no_grad()
    def begin_step(self, num_rows: int) -> None:
        """Forget the last step's loads; `num_rows`: rows of the global batch, over which auxiliary losses are averaged."""
        self.load_E.zero_()
        self.loss_scale.fill_(1.0 / num_rows)

    @torch.no_grad()
    def move_bias(self) -> None:
        """Towards experts with less than the mean load, away from those with more, by `bias_rate` each step."""
        if self.experts.balance == "bias":
            load_E = self.load_E.double()
            self.bias_E += self.experts.bias_rate * (load_E.mean() - load_E).sign().to(self.bias_E.dtype)


class ExpertStack(nn.Module):
    """All routed experts: `feed_forward` as in the dense layers, without biases, over rows sorted by expert."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        assert config.experts is not None
        E, M, D = config.experts.num_experts, config.experts.expert_width, config.width
        self.kind = config.feed_forward
        self.up = nn.Parameter(torch.empty(E, M, D))
        if self.kind == "swiglu":
            self.gate = nn.Parameter(torch.empty(E, M, D))
        self.down = nn.Parameter(torch.empty(E, D, M))

    def forward(self, x_SD: Tensor, counts_E: Tensor) -> Tensor:
        up_SM = grouped_product(x_SD, self.up, counts_E)
        inner_SM = activate(self.kind, up_SM, lambda: grouped_product(x_SD, self.gate, counts_E))
        return grouped_product(inner_SM, self.down, counts_E)


class MixtureOfExperts(nn.Module):
    """[B, T, D] -> [B, T, D] through K of E routed experts and, where there are shared ones, through those."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.config = config.experts
        self.router = Router(config)
        self.experts = ExpertStack(config)
        if self.config.shared_experts:
            # shared experts see every token: together they are one dense part of their joint width
            self.shared = FeedForward(config, self.config.shared_experts * self.config.expert_width)

    def stacks(self) -> list[tuple[Tensor, Tensor | None, Tensor]]:
        """(up, gate or None, down) of the routed and of the shared experts."""
        routed = self.experts
        gated = routed.kind == "swiglu"
        stacks: list[tuple[Tensor, Tensor | None, Tensor]] = [(routed.up, routed.gate if gated else None, routed.down)]
        if self.config.shared_experts:
            shared = self.shared
            stacks.append((shared.up.weight, shared.gate.weight if gated else None, shared.down.weight))
        return stacks

    def forward(self, x_BTD: Tensor) -> Tensor:
        chosen_NK, gates_NK = self.router(x_BTD)
        order_S, inverse_S, counts_E = sort_by_expert(chosen_NK, self.config.num_experts)
        x_ND, kind = x_BTD.flatten(0, 1), x_BTD.device.type
        if kind == "cuda" and torch.is_autocast_enabled(kind):
            # which makes norms and sums float32 there, twice the bytes
            x_ND = x_ND.to(torch.get_autocast_dtype(kind))
        rows_SD = Dispatch.apply(x_ND, order_S, inverse_S)
        y_NKD = Restore.apply(self.experts(rows_SD, counts_E), order_S, inverse_S).unflatten(0, chosen_NK.shape)
        y_BTD = (y_NKD * gates_NK[..., None].to(y_NKD.dtype)).sum(1).to(y_NKD.dtype).view_as(x_BTD)
        return y_BTD + self.shared(x_BTD) if self.config.shared_experts else y_BTD
