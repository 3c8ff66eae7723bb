"""AdamW (Loshchilov & Hutter 2019) for dense parameters, and its lazy form for the rows of tables that a batch touched.

Both work on a rank's part of a spread parameter (DTensor) as if it were alone: nothing in them looks beyond an element or a row.
"""

import torch
from torch import Tensor

from seedbed.train.optimizers.sharded import laid_out_like, local, local_gradient


class AdamW:
    """Dense AdamW; all parameters in one group. Vectors do not decay."""

    def __init__(
        self, parameters: dict[str, Tensor], betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        self.parameters = parameters
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.first = {name: torch.zeros_like(local(p), dtype=torch.float32) for name, p in parameters.items()}
        self.second = {name: torch.zeros_like(local(p), dtype=torch.float32) for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, lr: float, step: int) -> None:
        """`step` counts from 1."""
        if not self.parameters:
            return
        beta1, beta2 = self.betas
        parameters = [local(p) for p in self.parameters.values()]
        gradients = [local_gradient(name, p).float() for name, p in self.parameters.items()]
        first, second = list(self.first.values()), list(self.second.values())
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        denominators = torch._foreach_sqrt(second)
        torch._foreach_div_(denominators, (1 - beta2**step) ** 0.5)
        torch._foreach_add_(denominators, self.eps)
        decayed = [p for p in parameters if p.ndim >= 2] if self.weight_decay else []
        if decayed:
            torch._foreach_mul_(decayed, 1 - lr * self.weight_decay)
        torch._foreach_addcdiv_(parameters, first, denominators, -lr / (1 - beta1**step))

    def state(self) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            shape = tuple(parameter.shape)
            named[f"{name}.first"] = laid_out_like(parameter, self.first[name], shape)
            named[f"{name}.second"] = laid_out_like(parameter, self.second[name], shape)
        return named

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name in self.parameters:
            self.first[name].copy_(local(state[f"{name}.first"]))
            self.second[name].copy_(local(state[f"{name}.second"]))


class RowAdamW:
    """AdamW without momentum on the rows that a batch touched: a table's cost follows the batch, not its size.

    The second moment of a row decays once per touch, and its bias correction counts touches, so that a rare token's first
    gradient moves it as far as a frequent one's. A sparse gradient names its rows; of a dense one (a table spread over ranks)
    the rows that are not all zero count as touched.
    """

    def __init__(self, parameters: dict[str, Tensor], beta2: float, eps: float) -> None:
        self.parameters = parameters
        self.beta2, self.eps = beta2, eps
        parts = {name: local(p) for name, p in parameters.items()}
        self.second = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parts.items()}
        self.touches = {name: torch.zeros(p.shape[0], 1, device=p.device) for name, p in parts.items()}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for name, parameter in self.parameters.items():
            rows, values = touched_rows(local_gradient(name, parameter), getattr(parameter, "touched", None))
            touches = self.touches[name].index_select(0, rows) + 1
            second = self.second[name].index_select(0, rows).lerp_(values.square(), 1 - self.beta2)
            self.touches[name].index_copy_(0, rows, touches)
            self.second[name].index_copy_(0, rows, second)
            deviations = second.div_(1 - self.beta2**touches).sqrt_().add_(self.eps)
            moves = (values / deviations).to(parameter.dtype)
            local(parameter).index_add_(0, rows, moves, alpha=-lr)

    def state(self) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            named[f"{name}.second"] = laid_out_like(parameter, self.second[name], tuple(parameter.shape))
            named[f"{name}.touches"] = laid_out_like(parameter, self.touches[name], (parameter.shape[0], 1))
        return named

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name in self.parameters:
            self.second[name].copy_(local(state[f"{name}.second"]))
            self.touches[name].copy_(local(state[f"{name}.touches"]))


def touched_rows(gradient: Tensor, noted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rows [n] of a table's gradient that the batch touched, ascending, and their float32 gradients [n, D].

    `noted`: 1 for each of those rows, where whoever looked them up kept count (train/row_tables.py).
    """
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values().float()
    rows = (gradient.ne(0).any(dim=1) if noted is None else noted).nonzero()[:, 0]
    return rows, gradient.index_select(0, rows).float()
