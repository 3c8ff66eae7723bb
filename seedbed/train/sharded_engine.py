"""The engine where no rank holds the whole model: the same step, with everything it sums summed over the mesh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from seedbed.errors import InputError
from seedbed.model.experts import over_mean
from seedbed.model.transformer import Transformer
from seedbed.recipe.layout import AUTO, parse_layout
from seedbed.train.batch import IGNORED, Batch
from seedbed.train.engine import Engine, Outcome
from seedbed.train.execution import loss_chunk
from seedbed.train.optimizers import Optimizer

if TYPE_CHECKING:
    from seedbed.train.parallel.whole import WholeModel


def engine_class(parallel: str) -> type[Engine]:
    """What trains in the layout `train.parallel`; "auto" that nobody resolved means copies."""
    return Engine if parallel == AUTO or parse_layout(parallel).copies_only else ShardedEngine


class ShardedEngine(Engine):
    def build(self) -> Transformer:
        from seedbed.train.parallel.sharded import Sharded  # a second that one device need not pay

        layout, execution = parse_layout(self.train.parallel), self.execution
        assert execution.precision != "float8", "refused before (run/workers.py)"
        self.whole: WholeModel | None = None
        self.loads: dict[int, Tensor] = {}  # of the last step's experts, by layer
        self.sharded = Sharded(
            self.config,
            layout,
            execution.device,
            execution.precision == "bfloat16",
            execution.compile,
            execution.recompute,
            loss_chunk(self.config, replace(execution, compile=False)),  # the layers are compiled, the loss is not
            self.seed,
        )
        self.row_parts, self.row_ranks = layout.cp, self.sharded.mesh.row_share
        return self.sharded.model

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """This rank's rows a few at a time; for a pipeline in equal parts, at least as many as there are stages."""
        first, last = self.row_ranks.share(self.data.loader.plan.rows_at(step))
        most = min(self.execution.micro_batch_rows, (last - first) // self.sharded.layout.pp)
        if most == 0:
            raise InputError(
                f"train.parallel: pp={self.sharded.layout.pp} needs as many rows on each device and step {step} has "
                f"{last - first}: raise train.batch_tokens"
            )
        rows = next(n for n in range(most, 0, -1) if (last - first) % n == 0)
        for start in range(first, last, rows):
            yield self.data.rows(step, start, start + rows)

    def accumulate(self, batches: Iterator[Batch], scale: float) -> Tensor:
        return self.sharded.backward(batches, scale, self.source_losses.add)

    def reduce(self, totals: Tensor) -> Tensor:
        self.sharded.sum_gradients()
        norm = self.sharded.gradient_norm()
        return torch.cat((self.sum_losses(totals), norm[None]))

    def sum_loads(self, loads: Tensor) -> Tensor:
        return self.sharded.sum_over_rows(loads)

    def expert_loads(self) -> dict[int, list[float]]:
        return {layer: over_mean(load_E) for layer, load_E in self.loads.items()}

    def update(self, step: int, outcome: Outcome) -> float:
        fraction = super().update(step, outcome)
        self.loads = self.sharded.loads()
        return fraction

    def sum_losses(self, sums: Tensor) -> Tensor:
        return self.sharded.sum_losses(sums)

    def holders(self, name: str, parameter: Tensor) -> int:
        return self.sharded.holders(name, parameter)

    def sum_parts(self, sums: Tensor) -> Tensor:
        dist.all_reduce(sums)
        return sums

    def restart(self, steps: int) -> None:
        """Back to freshly initialised weights. What is compiled and the mesh stay."""
        self.sharded.init_weights(self.seed)
        self.model.zero_grad()
        self.optimizer = Optimizer(self.model, self.train, steps, self.execution.precision)

    def whole_model(self) -> Transformer | None:
        if self.whole is None:
            from seedbed.train.parallel.whole import WholeModel

            self.whole = WholeModel(self.config, self.model, self.sharded.mesh, self.execution.device)
        return self.whole.gather()

    @torch.no_grad()
    def token_losses(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """As one device finds them, on rank 0, which is given the whole model; empty on the others."""
        model = self.whole_model()
        if model is None:
            return np.zeros((0, 0), np.float32), np.zeros((0, 0), bool)
        losses, asked = [], []
        for row in range(self.data.loader.plan.rows_at(step)):
            batch = self.data.rows(step, row, row + 1).to(model.cos_TK.device)
            x_BTD, values = model.embed(batch.inputs_BT)
            hidden_BTD = model.hidden(x_BTD, values, documents_BT=batch.documents_BT)
            losses.append(model.mixed_losses(hidden_BTD, batch.targets_BT, batch.prior_BTP)[0].float().cpu())
            asked.append(batch.targets_BT.cpu() != IGNORED)
        return torch.cat(losses).numpy(), torch.cat(asked).numpy()
