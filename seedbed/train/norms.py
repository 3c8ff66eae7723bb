"""Norms of gradients, weights and updates by group of parameters, every few steps: each costs a pass over the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seedbed.train.gradients import norm_of
from seedbed.train.optimizers.sharded import local

if TYPE_CHECKING:
    from seedbed.train.engine import Engine

STEPS_BETWEEN = 50  # so that copies and norms cost well under a hundredth of the time
MAX_RECORDS = 200
KINDS = ("gradient", "weight", "update")


class Norms:
    """Of the groups that the optimizer tells apart: of the whole model, wherever its parts are."""

    def __init__(self, engine: Engine, steps: int) -> None:
        held = {name: part.parameters for name, part in engine.optimizer.parts().items()}
        self.groups = {"tables" if name == "rows" else name: parameters for name, parameters in held.items()}
        self.engine = engine
        self.every = max(STEPS_BETWEEN, steps // MAX_RECORDS)

    def due(self, step: int) -> bool:
        return step % self.every == 0

    @torch.no_grad()
    def before(self) -> list[list[Moved]]:
        """By group, what the update of the gradients that stand now is about to change. On all ranks at the same step."""
        return [
            [Moved.of(parameter, self.engine.holders(name, parameter)) for name, parameter in parameters.items()]
            for parameters in self.groups.values()
        ]

    @torch.no_grad()
    def after(self, before: list[list[Moved]]) -> dict[str, dict[str, float]]:
        """Group -> norm of its gradient, of its weights after the update, and of the update. The same on all ranks.

        A group of which no rank has anything is left out.
        """
        squares_G3 = torch.zeros(len(before), len(KINDS), device=self.engine.execution.device)
        for squares_3, moved in zip(squares_G3, before, strict=True):
            if not moved:
                continue  # a pipeline's stage, say, without the head
            updates = torch._foreach_sub([part.now() for part in moved], [part.values for part in moved])
            weights = [local(part.parameter) for part in moved]
            share = torch.tensor([1 / part.holders for part in moved], device=squares_3.device)
            norms = (
                [part.gradient_norm for part in moved],
                *(torch._foreach_norm(v, 2, torch.float32) for v in (weights, updates)),
            )
            for i, each in enumerate(norms):
                squares_3[i] = torch.stack(list(each)).square() @ share
        read = self.engine.sum_parts(squares_G3).sqrt().tolist()  # one read, whatever the number of groups
        return {
            group: dict(zip(KINDS, map(digits, norms), strict=True))
            for group, norms in zip(self.groups, read, strict=True)
            if any(norms)
        }


@dataclass(frozen=True)
class Moved:
    """This rank's part of a parameter before its update: the values that move (of a table the `rows` of the batch, for no
    others do). `holders`: among how many ranks the same part is summed.
    """

    parameter: Tensor
    rows: Tensor | None
    gradient_norm: Tensor
    values: Tensor
    holders: int

    @classmethod
    def of(cls, parameter: Tensor, holders: int) -> Moved:
        gradient = parameter.grad
        assert gradient is not None
        if gradient.is_sparse:
            rows, values = gradient._indices()[0], gradient._values()
            return cls(parameter, rows, norm_of([values]), parameter.index_select(0, rows), holders)
        return cls(parameter, None, norm_of([local(gradient)]), local(parameter).clone(), holders)

    def now(self) -> Tensor:
        return local(self.parameter) if self.rows is None else self.parameter.index_select(0, self.rows)


def digits(value: float) -> float:
    return float(f"{value:.5g}")
