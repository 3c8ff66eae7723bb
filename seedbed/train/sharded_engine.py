"""The engine where no rank holds the whole model: the same step, with everything it sums summed over the mesh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seedbed.errors import InputError
from seedbed.model.config import TransformerConfig
from seedbed.model.transformer import Transformer
from seedbed.recipe.layout import AUTO, Layout, parse_layout
from seedbed.recipe.schema import TrainConfig
from seedbed.train.batch import IGNORED, Batch
from seedbed.train.data import TrainingData
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution, loss_chunk
from seedbed.train.optimizers import Optimizer
from seedbed.train.parallel import Ranks

if TYPE_CHECKING:
    from seedbed.train.parallel.whole import WholeModel


class ShardedEngine(Engine):
    def __init__(
        self,
        config: TransformerConfig,
        train: TrainConfig,
        steps: int,
        seed: int,
        execution: Execution,
        data: TrainingData,
        ranks: Ranks,
        layout: Layout,
    ) -> None:
        self.layout = layout
        self.whole: WholeModel | None = None
        self.row_parts = layout.cp
        super().__init__(config, train, steps, seed, execution, data, ranks)
        self.row_ranks = self.sharded.mesh.row_share

    def build(self) -> Transformer:
        from seedbed.train.parallel.sharded import Sharded  # a second that one device need not pay

        execution = self.execution
        if execution.precision == "float8":
            raise InputError(f"train.precision: float8 is not made for {self.layout}: use bfloat16, or dp alone")
        self.sharded = Sharded(
            self.config,
            self.layout,
            execution.device,
            execution.precision == "bfloat16",
            execution.compile,
            execution.recompute,
            loss_chunk(self.config, execution),
            self.seed,
        )
        return self.sharded.model

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """This rank's rows a few at a time; for a pipeline in equal parts, at least as many as there are stages."""
        first, last = self.row_ranks.share(self.data.loader.plan.rows_at(step))
        most = min(self.execution.micro_batch_rows, (last - first) // self.layout.pp)
        if most == 0:
            raise InputError(
                f"train.parallel: pp={self.layout.pp} needs as many rows on each device and step {step} has "
                f"{last - first}: raise train.batch_tokens"
            )
        rows = next(n for n in range(most, 0, -1) if (last - first) % n == 0)
        for start in range(first, last, rows):
            yield self.data.rows(step, start, start + rows)

    def accumulate(self, batches: Iterator[Batch], scale: float) -> Tensor:
        return self.sharded.backward(batches, scale)

    def reduce(self, totals: Tensor) -> Tensor:
        self.sharded.sum_gradients()
        norm = self.sharded.gradient_norm()
        return torch.cat((self.sharded.sum_totals(totals), norm[None]))

    def sum_loads(self, loads: Tensor) -> Tensor:
        return self.sharded.sum_over_rows(loads)

    def restart(self, steps: int) -> None:
        """Back to freshly initialised weights. What is compiled and the mesh stay."""
        self.sharded.init_weights(self.seed)
        self.model.zero_grad()
        self.optimizer = Optimizer(self.model, self.train, steps)

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


def make_engine(
    config: TransformerConfig,
    train: TrainConfig,
    steps: int,
    seed: int,
    execution: Execution,
    data: TrainingData,
    ranks: Ranks,
) -> Engine:
    """The engine for `train.parallel`: "auto" that nobody resolved means copies."""
    layout = Layout(dp=ranks.world) if train.parallel == AUTO else parse_layout(train.parallel)
    if layout.copies_only:
        return Engine(config, train, steps, seed, execution, data, ranks)
    return ShardedEngine(config, train, steps, seed, execution, data, ranks, layout)
