"""All gradients of a model as one thing: their norm, and the scaling of them. Those of tables are sparse and count as well."""

import torch
from torch import Tensor, nn

from seedbed.train.optimizers.sharded import local


def gradient_values(model: nn.Module) -> list[Tensor]:
    """The values of every gradient there is, of a spread one this rank's part.

    Sparse ones are coalesced in place first: then no row is held twice.
    """
    values: list[Tensor] = []
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad._values())
        else:
            values.append(local(parameter.grad))
    return values


def norm_of(values: list[Tensor]) -> Tensor:
    """Euclidean norm of all values together, a float32 scalar on their device.

    Not finite when any value is not, and when float32 cannot hold the sum of squares: from about 1.8e19 on.
    """
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(values, 2, torch.float32)))


def clip_gradients(model: nn.Module, limit: float, norm: float) -> None:
    """Scale all gradients, whose common norm is `norm`, so that it is at most `limit` (Pascanu et al. 2013)."""
    if norm > limit:
        torch._foreach_mul_(gradient_values(model), limit / (norm + 1e-6))
