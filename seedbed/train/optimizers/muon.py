"""Muon: momentum whose update is made orthogonal (Jordan et al. 2024); matrices of one shape are iterated together."""

import torch
from torch import Tensor

from seedbed.train.optimizers.sharded import laid_out_like, layout_of, local, local_gradient, orthogonalize_shards


class Muon:
    """Nesterov momentum, orthogonalised, scaled by max(1, rows / columns)^0.5, with decoupled cautious weight decay.

    A parameter is a matrix [R, C] or a stack of them [E, R, C], such as a layer's experts: each is orthogonalised alone.
    """

    def __init__(
        self,
        parameters: dict[str, Tensor],
        weight_decay: float,
        polar_steps: int,
        polar_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.weight_decay = weight_decay
        self.polar_steps, self.polar_dtype = polar_steps, polar_dtype
        alike: dict[tuple[object, ...], list[str]] = {}
        for name, parameter in parameters.items():
            alike.setdefault((tuple(parameter.shape), *layout_of(parameter)), []).append(name)
        self.parameters = parameters
        self.stacks = {"+".join(names): names for names in alike.values()}
        self.momentum_NRC = {
            key: torch.zeros_like(stack_matrices([local(parameters[name]) for name in names]), dtype=torch.float32)
            for key, names in self.stacks.items()
        }

    @torch.no_grad()
    def step(self, lr: float, momentum: float) -> None:
        for key, names in self.stacks.items():
            parameters = [local(self.parameters[name]) for name in names]
            gradients = stack_matrices([local_gradient(name, self.parameters[name]) for name in names]).float()
            buffer = self.momentum_NRC[key]
            buffer.lerp_(gradients, 1 - momentum)
            update = self.direction(key, gradients.lerp_(buffer, momentum))
            rows, columns = self.parameters[names[0]].shape[-2:]
            scale = max(1.0, rows / columns) ** 0.5
            if self.weight_decay:
                weights = stack_matrices(parameters)
                update = update + self.weight_decay / scale * weights * (update * weights > 0)
            moves = update.to(parameters[0].dtype).view(len(names), *parameters[0].shape).unbind()
            torch._foreach_add_(parameters, list(moves), alpha=-lr * scale)

    def direction(self, key: str, momentum_NRC: Tensor) -> Tensor:
        """Where the matrices of a stack go, before their scale: the orthogonal factor of the momentum."""
        like = self.parameters[self.stacks[key][0]]
        return orthogonalize_shards(momentum_NRC, like, self.polar_steps, self.polar_dtype)

    def momenta(self) -> dict[str, Tensor]:
        """The momentum of each parameter: this rank's part, sharing the stack's memory."""
        parts: dict[str, Tensor] = {}
        for key, names in self.stacks.items():
            shape = local(self.parameters[names[0]]).shape
            parts |= dict(zip(names, self.momentum_NRC[key].view(len(names), *shape).unbind(), strict=True))
        return parts

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.momentum": laid_out_like(self.parameters[name], part, tuple(self.parameters[name].shape))
            for name, part in self.momenta().items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name, part in self.momenta().items():
            part.copy_(local(state[f"{name}.momentum"]))


def stack_matrices(tensors: list[Tensor]) -> Tensor:
    """[R, C] or [E, R, C] each -> [N, R, C]."""
    return torch.stack(tensors).flatten(0, -3)
