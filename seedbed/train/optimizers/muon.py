"""Muon: momentum whose update is made orthogonal (Jordan et al. 2024), with cheap batched polar iterations.

All matrices of one shape are stacked and iterated together. For a matrix with r <= c the iteration runs on its r x r Gram
matrix: with G = X X^T, each odd polynomial step X <- q(G) X only needs G <- q(G) G q(G) and Q <- q(G) Q, so the long side is
touched twice in all, however many steps are taken.
"""

import torch
from torch import Tensor

# Odd quintics a x + b x^3 + c x^5 of the Polar Express (Amsel et al. 2025, table 1): each is the best for the interval the
# ones before it leave. Five suffice for bfloat16; docs/experiments/first-light.md has what fewer cost.
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)


def orthogonalize(x_NRC: Tensor, steps: int) -> Tensor:
    """U V^T of each matrix in the stack [N, R, C], to the accuracy of `steps` iterations."""
    transposed = x_NRC.shape[1] > x_NRC.shape[2]
    x = x_NRC.mT if transposed else x_NRC
    gram = x @ x.mT
    # the Frobenius norm bounds the spectral norm; 1.01 leaves room for rounding
    scale = 1.0 / (1.01 * gram.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)[..., None].sqrt() + 1e-7)
    gram = gram * scale * scale
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    total = None
    for i in range(steps):
        a, b, c = POLAR_EXPRESS[min(i, len(POLAR_EXPRESS) - 1)]
        polynomial = torch.baddbmm(b * gram, gram, gram, alpha=c) + a * eye
        total = polynomial if total is None else polynomial @ total
        if i + 1 < steps:
            gram = polynomial @ gram @ polynomial
    assert total is not None
    result = (total * scale) @ x
    return result.mT if transposed else result


class Muon:
    """Nesterov momentum, orthogonalised, scaled by max(1, rows / columns)^0.5, with decoupled cautious weight decay."""

    def __init__(self, parameters: dict[str, Tensor], weight_decay: float, polar_steps: int) -> None:
        self.weight_decay = weight_decay
        self.polar_steps = polar_steps
        by_shape: dict[tuple[int, ...], list[str]] = {}
        for name, parameter in parameters.items():
            by_shape.setdefault(tuple(parameter.shape), []).append(name)
        self.parameters = parameters
        self.stacks = {"+".join(names): names for names in by_shape.values()}
        self.momentum_NRC = {
            key: torch.zeros(len(names), *parameters[names[0]].shape, device=parameters[names[0]].device)
            for key, names in self.stacks.items()
        }

    @torch.no_grad()
    def step(self, lr: float, momentum: float) -> None:
        for key, names in self.stacks.items():
            parameters = [self.parameters[name] for name in names]
            gradients = torch.stack([p.grad for p in parameters]).float()  # type: ignore[misc]
            buffer = self.momentum_NRC[key]
            buffer.lerp_(gradients, 1 - momentum)
            update = orthogonalize(gradients.lerp_(buffer, momentum), self.polar_steps)
            rows, columns = update.shape[1:]
            update = update * max(1.0, rows / columns) ** 0.5
            if self.weight_decay:
                weights = torch.stack(parameters)
                update = update + self.weight_decay * weights * (update * weights > 0)
            torch._foreach_add_(parameters, list(update.to(parameters[0].dtype).unbind()), alpha=-lr)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.momentum": self.momentum_NRC[key][i]
            for key, names in self.stacks.items()
            for i, name in enumerate(names)
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        for key, names in self.stacks.items():
            for i, name in enumerate(names):
                self.momentum_NRC[key][i].copy_(state[f"{name}.momentum"])
