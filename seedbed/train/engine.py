"""One training step on one device: rows in, gradients summed over ranks and micro-batches, weights moved."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seedbed.model.config import TransformerConfig
from seedbed.model.transformer import Transformer, build_model
from seedbed.recipe.schema import TrainConfig
from seedbed.train.batch import Batch
from seedbed.train.data import TrainingData
from seedbed.train.optimizers import Optimizer
from seedbed.train.parallel import Ranks, sum_gradients, sum_scalars


@dataclass(frozen=True)
class Execution:
    """How the arithmetic runs here; none of it changes what is computed beyond rounding."""

    device: str
    precision: str  # float32 or bfloat16
    compile: bool
    threads: int
    micro_batch_rows: int


@dataclass(frozen=True)
class StepResult:
    """Mean nats per token of the prediction, and of the transformer alone; the learning rate's share of its peak."""

    loss: float
    transformer_loss: float
    lr_fraction: float


class Engine:
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
        self.config, self.train, self.seed = config, train, seed
        self.execution, self.data, self.ranks = execution, data, ranks
        self.batch_rows = data.loader.batch_rows
        self.model: Transformer = build_model(config, seed, execution.device)
        self.hidden = torch.compile(self.model.hidden, dynamic=False) if execution.compile else self.model.hidden
        self.optimizer = Optimizer(self.model, train, steps)

    def restart(self, steps: int) -> None:
        """Back to freshly initialised weights, keeping what was compiled."""
        self.model.init_weights(self.seed)
        self.model.zero_grad()
        self.optimizer = Optimizer(self.model, self.train, steps)

    def autocast(self) -> AbstractContextManager[object]:
        if self.execution.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.execution.device).type, torch.bfloat16)

    def step(self, step: int) -> StepResult:
        """Train on the global batch of `step`. A loss that is not finite leaves the weights as they were."""
        self.model.train()
        first, last = self.ranks.share(self.batch_rows)
        scale = 1.0 / self.data.num_targets(step)
        totals = torch.zeros(2, device=self.execution.device)
        for start in range(first, last, self.execution.micro_batch_rows):
            stop = min(last, start + self.execution.micro_batch_rows)
            mixed_BT, own_BT = self.losses(self.data.rows(step, start, stop))
            loss = mixed_BT.sum() * scale
            if mixed_BT is not own_BT:
                # the transformer also answers for itself: left to the mixture alone, it learns nothing where the expert leads
                loss = loss + own_BT.sum() * scale
            loss.backward()
            totals += torch.stack((mixed_BT.detach().sum(), own_BT.detach().sum())) * scale
        mixed, own = sum_scalars(totals, self.ranks).tolist()
        if not mixed < float("inf"):  # catches nan as well
            self.model.zero_grad()
            return StepResult(mixed, own, 0.0)
        sum_gradients(self.model, self.ranks)
        if self.train.grad_clip is not None:
            clip_gradients(self.model, self.train.grad_clip)
        fraction = self.optimizer.step(step)
        self.model.zero_grad()
        return StepResult(mixed, own, fraction)

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        batch = batch.to(self.execution.device)
        with self.autocast():
            x_BTD, values = self.model.embed(batch.inputs_BT)
            return self.model.mixed_losses(self.hidden(x_BTD, values), batch.targets_BT, batch.prior_BTP)


def clip_gradients(model: nn.Module, limit: float) -> None:
    """Scale all gradients, those of tables included, so that their common norm is at most `limit` (Pascanu et al. 2013)."""
    values: list[Tensor] = []
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad._values())
        else:
            values.append(parameter.grad)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(values)))
    torch._foreach_mul_(values, (limit / (norm + 1e-6)).clamp(max=1.0))
