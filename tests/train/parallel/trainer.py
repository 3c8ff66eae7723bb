"""Trains a small model for some steps in any layout: what every test here runs, on one process or as a rank of several."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from seedbed.model.config import ARCHITECTURES, ExpertsConfig, LatentConfig, TransformerConfig
from seedbed.recipe.schema import TrainConfig
from seedbed.train.batch import IGNORED, Batch
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution
from seedbed.train.norms import Norms
from seedbed.train.parallel import Ranks
from seedbed.train.recompute import Recompute
from seedbed.train.sharded_engine import engine_class

ROWS, CONTEXT, VOCABULARY = 8, 32, 150  # a vocabulary that is padded, so that a rank of tp holds padding
BASE = TransformerConfig(VOCABULARY, 4, 32, 4, 2, 64, CONTEXT)
EXPERTS = ExpertsConfig(4, 2, 32, shared_experts=1, dense_layers=1, bias_rate=0.01)
MODELS = {
    # value embeddings, x0, hashed n-grams, the n-gram expert's mixture. Output projections that start at zero would leave the
    # first gradients behind them zero but for rounding, which Adam makes as large as any other
    "seedbed": replace(ARCHITECTURES["seedbed"](BASE), ngram_rows=64, prior_order=3, zero_output_init=False),
    "llama": ARCHITECTURES["llama"](BASE),
    "gpt2": ARCHITECTURES["gpt2"](BASE),
    "windows": replace(ARCHITECTURES["llama"](BASE), windows=(5, 0, 20, 0)),
    "encoder": ARCHITECTURES["bert"](BASE),
    # what BERT's learned positions do not show: distances of an encoder
    "encoder with rope": replace(ARCHITECTURES["llama"](BASE), causal=False),
    "experts": replace(ARCHITECTURES["llama"](BASE), experts=EXPERTS),
    "latent experts": replace(
        ARCHITECTURES["llama"](BASE), experts=replace(EXPERTS, z_loss_weight=0.01), latent=LatentConfig(16, 8, 8, 8)
    ),
}


@dataclass(frozen=True)
class Case:
    layout: str
    model: str
    optimizer: str = "muon"
    documents: bool = False
    steps: int = 10
    precision: str = "float32"
    recompute: Recompute = "none"


class Rows:
    """Like TrainingData: batches are a function of the step alone."""

    def __init__(self, case: Case) -> None:
        self.case, self.config = case, MODELS[case.model]
        groups = [SimpleNamespace(name=name) for name in ("books", "code", "unseen")]
        self.loader = SimpleNamespace(
            batch_rows=ROWS,
            context=CONTEXT,
            mixture=True,
            shards=SimpleNamespace(groups=groups),
            plan=SimpleNamespace(rows_at=lambda step: ROWS),
        )

    def whole(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        # text with a pattern to learn: each token is near the one before
        steps = torch.randint(0, 7, (ROWS, CONTEXT + 1), generator=generator)
        windows = steps.cumsum(1) % VOCABULARY
        targets = windows[:, 1:].clone()
        targets[:, ::5] = IGNORED
        documents = prior = None
        if self.case.documents:
            documents = (torch.rand(ROWS, CONTEXT, generator=generator) < 0.1).long().cumsum(1)
        if self.config.prior_order:
            masses = torch.rand(ROWS, CONTEXT, self.config.prior_order - 1, generator=generator)
            prior = torch.cat((-5 * torch.rand(ROWS, CONTEXT, 1, generator=generator), masses), dim=2)
        sources = torch.randint(0, 2, (ROWS,), generator=generator)
        return Batch(windows[:, :-1].contiguous(), targets, prior, documents, sources)

    def num_targets(self, step: int) -> int:
        return int((self.whole(step).targets_BT != IGNORED).sum())

    def rows(self, step: int, start: int, stop: int) -> Batch:
        parts = (None if t is None else t[start:stop] for t in vars(self.whole(step)).values())
        return Batch(*parts)  # type: ignore[arg-type]


def make(case: Case, ranks: Ranks) -> Engine:
    train = TrainConfig(steps=case.steps, optimizer=case.optimizer, parallel=case.layout, grad_clip=0.5)
    execution = Execution("cpu", case.precision, False, 1, 2, case.recompute)
    data: Any = Rows(case)
    return engine_class(case.layout)(MODELS[case.model], train, case.steps, 1, execution, data, ranks)


def train(case: Case, ranks: Ranks) -> dict[str, Tensor]:
    """The loss curve, the norms, the loss by source and the weights at the end (on rank 0)."""
    engine = make(case, ranks)
    norms, outcomes = Norms(engine, case.steps), []
    by_group: dict[str, list[list[float]]] = {}
    for step in range(case.steps):
        outcomes.append(engine.gradients(step))
        before = norms.before()
        engine.update(step, outcomes[-1])
        for group, kinds in norms.after(before).items():
            by_group.setdefault(group, []).append(list(kinds.values()))
    by_source = engine.source_losses.take(engine.sum_losses)
    model = engine.whole_model()
    weights = {} if model is None else {name: value.clone() for name, value in model.state_dict().items()}
    loads = torch.tensor([load for loads in engine.expert_loads().values() for load in loads])
    return {
        "losses": torch.tensor([(o.loss, o.transformer_loss) for o in outcomes]),
        "norms": torch.tensor([o.gradient_norm for o in outcomes]),
        **{f"norms/{group}": torch.tensor(values) for group, values in by_group.items()},
        **{f"losses/{source}": torch.tensor(loss) for source, loss in by_source.items()},
        "loads": loads,
        **weights,
    }


def on_rank(rank: int, world: int, folder: str, cases: list[Case]) -> None:
    """All cases in one start of the processes: that costs seconds, a case less than one."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    for number, found in enumerate(results(cases, Ranks(rank, world))):
        if rank == 0:
            torch.save(found, f"{folder}/{number}.pt")
    dist.destroy_process_group()


def results(cases: list[Case], ranks: Ranks) -> Iterator[dict[str, Tensor]]:
    for case in cases:
        yield train(case, ranks)
