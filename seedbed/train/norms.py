"""Norms of gradients, weights and updates by group of parameters, every few steps: each costs a pass over the weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

from seedbed.train.gradients import norm_of
from seedbed.train.optimizers import Optimizer

STEPS_BETWEEN = 50  # so that copies and norms cost well under a hundredth of the time
MAX_RECORDS = 200


class Norms:
    """Of the groups that the optimizer tells apart. None are taken where weights are spread over ranks."""

    def __init__(self, optimizer: Optimizer, steps: int) -> None:
        held = {name: list(part.parameters.values()) for name, part in optimizer.parts().items() if part.parameters}
        self.groups = {"tables" if name == "rows" else name: parameters for name, parameters in held.items()}
        self.spread = any(hasattr(p, "device_mesh") for parameters in held.values() for p in parameters)
        self.every = max(STEPS_BETWEEN, steps // MAX_RECORDS)

    def due(self, step: int) -> bool:
        return step % self.every == 0 and not self.spread

    @torch.no_grad()
    def before(self) -> list[list["Moved"]]:
        """By group, what the update of the gradients that stand now is about to change."""
        return [[Moved.of(parameter) for parameter in parameters] for parameters in self.groups.values()]

    @torch.no_grad()
    def after(self, before: list[list["Moved"]]) -> dict[str, dict[str, float]]:
        """Group -> norm of its gradient, of its weights after the update, and of the update."""
        norms = []
        for moved in before:
            updates = torch._foreach_sub([part.now() for part in moved], [part.values for part in moved])
            norms += [
                norm_of([part.gradient_norm for part in moved]),
                norm_of([part.parameter for part in moved]),
                norm_of(list(updates)),
            ]
        read = iter(torch.stack(norms).tolist())  # one read, whatever the number of groups
        return {name: {kind: digits(next(read)) for kind in ("gradient", "weight", "update")} for name in self.groups}


@dataclass(frozen=True)
class Moved:
    """A parameter before its update: the values that move (of a table the `rows` of the batch, for no others do)."""

    parameter: Tensor
    rows: Tensor | None
    gradient_norm: Tensor
    values: Tensor

    @classmethod
    def of(cls, parameter: Tensor) -> "Moved":
        gradient = parameter.grad
        assert gradient is not None
        if gradient.is_sparse:
            rows, gradient = gradient._indices()[0], gradient._values()
            return cls(parameter, rows, norm_of([gradient]), parameter.index_select(0, rows))
        return cls(parameter, None, norm_of([gradient]), parameter.clone())

    def now(self) -> Tensor:
        return self.parameter if self.rows is None else self.parameter.index_select(0, self.rows)


def digits(value: float) -> float:
    return float(f"{value:.5g}")
