"""AdamW (Loshchilov & Hutter 2019) for dense parameters, and its lazy form for the rows of tables that a batch touched."""

import torch
from torch import Tensor


class AdamW:
    """Dense AdamW; all parameters in one group."""

    def __init__(
        self, parameters: dict[str, Tensor], betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        self.parameters = parameters
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.first = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
        self.second = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, lr: float, step: int) -> None:
        """`step` counts from 1."""
        beta1, beta2 = self.betas
        parameters = list(self.parameters.values())
        gradients = [p.grad.float() for p in parameters]  # type: ignore[union-attr]
        first, second = list(self.first.values()), list(self.second.values())
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        denominators = torch._foreach_sqrt(second)
        torch._foreach_div_(denominators, (1 - beta2**step) ** 0.5)
        torch._foreach_add_(denominators, self.eps)
        if self.weight_decay:
            decayed = [p for p in parameters if p.ndim >= 2]
            torch._foreach_mul_(decayed, 1 - lr * self.weight_decay)
        torch._foreach_addcdiv_(parameters, first, denominators, -lr / (1 - beta1**step))

    def state(self) -> dict[str, Tensor]:
        named = {f"{name}.first": value for name, value in self.first.items()}
        return named | {f"{name}.second": value for name, value in self.second.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name in self.parameters:
            self.first[name].copy_(state[f"{name}.first"])
            self.second[name].copy_(state[f"{name}.second"])


class RowAdamW:
    """AdamW without momentum on the rows a sparse gradient names: a table's cost follows the batch, not its size.

    The second moment of a row decays once per touch, and its bias correction counts touches, so that a rare token's first
    gradient moves it as far as a frequent one's.
    """

    def __init__(self, parameters: dict[str, Tensor], beta2: float, eps: float) -> None:
        self.parameters = parameters
        self.beta2, self.eps = beta2, eps
        self.second = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
        self.touches = {name: torch.zeros(p.shape[0], 1, device=p.device) for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for name, parameter in self.parameters.items():
            assert parameter.grad is not None
            gradient = parameter.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values().float()
            touches = self.touches[name].index_select(0, rows) + 1
            second = self.second[name].index_select(0, rows).lerp_(values.square(), 1 - self.beta2)
            self.touches[name].index_copy_(0, rows, touches)
            self.second[name].index_copy_(0, rows, second)
            corrected = second / (1 - self.beta2**touches)
            parameter.index_add_(0, rows, (values / (corrected.sqrt() + self.eps)).to(parameter.dtype), alpha=-lr)

    def state(self) -> dict[str, Tensor]:
        named = {f"{name}.second": value for name, value in self.second.items()}
        return named | {f"{name}.touches": value for name, value in self.touches.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name in self.parameters:
            self.second[name].copy_(state[f"{name}.second"])
            self.touches[name].copy_(state[f"{name}.touches"])
