"""One training step on one device: rows in, gradients summed over ranks and micro-batches, weights moved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seedbed.model.config import TransformerConfig
from seedbed.model.transformer import Transformer, build_model
from seedbed.train.batch import IGNORED, Batch
from seedbed.train.batch_digest import MODULUS, batch_digest
from seedbed.train.execution import Execution, loss_chunk
from seedbed.train.float8 import use_float8
from seedbed.train.gradients import clip_gradients, gradient_values, norm_of
from seedbed.train.host_memory import keep_freed_memory
from seedbed.train.optimizers import Optimizer
from seedbed.train.parallel import Ranks, gather_rows, sum_gradients, sum_scalars
from seedbed.train.recompute import recompute_layers
from seedbed.train.row_tables import RowTable, touched_masks, use_row_tables
from seedbed.train.source_losses import SourceLosses

if TYPE_CHECKING:  # a GPU machine may have torch and NumPy alone (bench/gpu_train.py)
    from seedbed.recipe.schema import TrainConfig
    from seedbed.train.data import TrainingData

# Up to this many layers are compiled as one piece; of more, each is one, and like layers share their code. Whole, five layers
# of width 256 took 38 s to compile on two cores and ran 5% faster, apart 22 s: one run of each by hand, not a benchmark.
COMPILED_WHOLE = 8


@dataclass(frozen=True)
class Outcome:
    """What the batch of a step gave, before the weights move. The same numbers on every rank.

    Mean nats per target of the prediction, and of the transformer alone; the norm of all gradients together.
    """

    loss: float
    transformer_loss: float
    gradient_norm: float

    @property
    def finite(self) -> bool:
        return not self.trouble

    @property
    def trouble(self) -> str:
        """What is not finite; "" when everything is."""
        if not isfinite(self.loss):
            return "the loss"
        return "" if isfinite(self.gradient_norm) else "the gradient"


class Engine:
    row_parts = 1  # into which each row is cut among ranks: a mean over a row's tokens is the mean of its parts' means

    def __init__(
        self,
        config: TransformerConfig,
        train: TrainConfig,
        steps: int,
        seed: int,
        execution: Execution,
        data: TrainingData,
        ranks: Ranks,
    ) -> None:
        torch.set_num_threads(execution.threads)
        if execution.device == "cpu":
            keep_freed_memory()
        self.config, self.train, self.seed = config, train, seed
        self.execution, self.data, self.ranks = execution, data, ranks
        self.row_ranks = ranks
        self.waited = 0.0  # seconds for rows of the last step
        self.source_losses = SourceLosses(data.loader, execution.device)
        self.rows_digest = 0  # of this rank's rows of the last step
        self.batch_rows = data.loader.batch_rows
        self.model: Transformer = self.build()
        self.optimizer = Optimizer(self.model, train, steps, execution.precision)

    def build(self) -> Transformer:
        execution = self.execution
        model = build_model(self.config, self.seed, execution.device)
        model.loss_chunk_tokens = loss_chunk(self.config, execution)
        if execution.precision == "float8":
            use_float8(model)
        if execution.device == "cuda":
            use_row_tables(model)
        recompute_layers(model.layers, execution.recompute)
        self.hidden = model.hidden
        if execution.compile:
            self.compile(model)
        return model

    def compile(self, model: Transformer) -> None:
        if self.config.layers <= COMPILED_WHOLE:
            self.hidden = torch.compile(model.hidden, dynamic=False)
        else:
            for layer in model.layers:
                layer.compile(dynamic=False)
        # one pass over the logits where eager takes five. CPUs have `HeadLoss`; an encoder's asked rows differ in number
        if self.execution.device == "cuda" and self.config.causal:
            model.own_losses = torch.compile(model.own_losses, dynamic=False)  # type: ignore[method-assign]

    def restart(self, steps: int) -> None:
        """Back to freshly initialised weights, keeping what was compiled."""
        self.model.init_weights(self.seed)
        self.model.zero_grad()
        self.optimizer = Optimizer(self.model, self.train, steps, self.execution.precision)

    def autocast(self) -> AbstractContextManager[object]:
        if self.execution.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.execution.device).type, torch.bfloat16)

    def step(self, step: int) -> Outcome:
        """Train on the global batch of `step`. A loss or gradient that is not finite leaves the weights as they were."""
        outcome = self.gradients(step)
        if outcome.finite:
            self.update(step, outcome)
        else:
            self.drop()
        return outcome

    def gradients(self, step: int) -> Outcome:
        """Losses and gradients of the global batch of `step`. `update` or `drop` follows.

        The three numbers are read here, once a step: whoever decides whether the weights may move has to know them. A GPU
        then waits for one small copy, and the optimizer's work on it covers the loading of the next batch.
        """
        self.model.train()
        self.waited = 0.0
        self.model.begin_step(self.data.loader.plan.rows_at(step) * self.row_parts)
        totals = self.accumulate(self.digested(step, self.micro_batches(step)), 1.0 / self.data.num_targets(step))
        return Outcome(*self.reduce(totals).tolist())

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """This rank's rows of the global batch of `step`, a few at a time."""
        first, last = self.row_ranks.share(self.data.loader.plan.rows_at(step))
        for start in range(first, last, self.execution.micro_batch_rows):
            yield self.data.rows(step, start, min(last, start + self.execution.micro_batch_rows))

    def digested(self, step: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; their digest is summed in `rows_digest` as they pass, and the time for them in `waited`."""
        row, _ = self.row_ranks.share(self.data.loader.plan.rows_at(step))
        self.rows_digest = 0
        began = time.perf_counter()
        for batch in batches:
            self.rows_digest = (self.rows_digest + batch_digest(batch.inputs_BT, row)) % MODULUS
            row += len(batch.inputs_BT)
            self.waited += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    def sum_digests(self, digests: np.ndarray) -> np.ndarray:
        """Digests of this rank's rows of some steps (int64), made those of the global batches."""
        if self.ranks.world == 1:
            return digests
        summed = sum_scalars(torch.from_numpy(digests).to(self.execution.device), self.ranks).cpu().numpy()
        # ranks that share a model hold the same rows
        return summed // (self.ranks.world // self.row_ranks.world) % MODULUS

    def accumulate(self, batches: Iterator[Batch], scale: float) -> Tensor:
        """Gradients of this rank's rows times `scale`; the sums [2] of their mixed and own losses times `scale`."""
        totals = torch.zeros(2, device=self.execution.device)
        for batch in batches:
            mixed_BT, own_BT = self.losses(batch)
            loss = mixed_BT.sum() * scale
            if mixed_BT is not own_BT:
                # the transformer also answers for itself: left to the mixture alone, it learns nothing where the expert leads
                loss = loss + own_BT.sum() * scale
            loss.backward()
            self.source_losses.add(batch.sources_B, batch.targets_BT, mixed_BT.detach().float().sum(1))
            totals += torch.stack((mixed_BT.detach().sum(), own_BT.detach().sum())) * scale
        return totals

    def reduce(self, totals: Tensor) -> Tensor:
        """Sum gradients and losses over the ranks; the losses [2] and the gradient norm in one tensor, alike on all."""
        sum_gradients(self.model, self.ranks)
        for table, mask_V in touched_masks([m for m in self.model.modules() if isinstance(m, RowTable)]):
            table.weight.touched = mask_V  # type: ignore[attr-defined]
        # the norm is of the summed gradients, equal on all ranks; summed with the losses, the ranks agree to the last bit
        norm = norm_of(gradient_values(self.model)) / self.ranks.world
        return sum_scalars(torch.cat((totals, norm[None])), self.ranks)

    def sum_loads(self, loads: Tensor) -> Tensor:
        """Counts of tokens, of this rank's, made those of the global batch."""
        return sum_scalars(loads, self.ranks)

    def expert_loads(self) -> dict[int, list[float]]:
        """Of each layer with experts in the whole model, as `Transformer.expert_loads` gives them."""
        return self.model.expert_loads()

    def sum_losses(self, sums: Tensor) -> Tensor:
        """Sums over this rank's targets, made those over the global batch."""
        return sum_scalars(sums, self.ranks)

    def holders(self, name: str, parameter: Tensor) -> int:
        """Among how many ranks `sum_parts` finds the same part of a parameter."""
        return 1

    def sum_parts(self, sums: Tensor) -> Tensor:
        """Sums over this rank's parts of the weights, made those over the whole weights."""
        return sums  # which are here

    def update(self, step: int, outcome: Outcome) -> float:
        """Move the weights by the gradients; give the share of the peak learning rate that was used."""
        if self.train.grad_clip is not None:
            clip_gradients(self.model, self.train.grad_clip, outcome.gradient_norm)
        fraction = self.optimizer.step(step)
        self.source_losses.keep()
        self.model.end_step(self.sum_loads)
        self.model.zero_grad()
        return fraction

    def drop(self) -> None:
        """Forget the gradients: the weights and the optimizer stay as they are."""
        self.source_losses.drop()
        self.model.zero_grad()

    def whole_model(self) -> Transformer | None:
        """The model as one device holds it, on rank 0 at least. Called on all ranks."""
        return self.model

    @torch.no_grad()
    def token_losses(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """For the global batch of `step` the loss of every target, float32 [rows, T], and whether one is asked there.

        Called on all ranks, which all get the whole.
        """
        parts = []
        for batch in self.micro_batches(step):
            with torch.compiler.set_stance("force_eager"):  # once, and without gradients: not worth compiling
                losses_BT = self.losses(batch)[0].float().cpu()
            parts.append(torch.stack((losses_BT, (batch.targets_BT != IGNORED).float())))
        both_2RT = gather_rows(torch.cat(parts, 1), self.row_ranks, self.execution.device)
        return both_2RT[0].numpy(), both_2RT[1].bool().numpy()

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        batch = batch.to(self.execution.device)
        with self.autocast():
            x_BTD, values = self.model.embed(batch.inputs_BT)
            if self.execution.device == "cuda" and self.execution.precision != "float32":
                # the residual stream in half the bytes, as nanochat keeps it
                x_BTD, values = x_BTD.bfloat16(), [value.bfloat16() for value in values]
            hidden_BTD = self.hidden(x_BTD, values, documents_BT=batch.documents_BT)
            return self.model.mixed_losses(hidden_BTD, batch.targets_BT, batch.prior_BTP)
