"""Which optimizer moves which parameter, and the learning rates derived for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from seedbed.model.config import TransformerConfig
from seedbed.model.transformer import Transformer
from seedbed.train.optimizers.adamw import AdamW, RowAdamW
from seedbed.train.optimizers.muon import Muon
from seedbed.train.optimizers.polar import polar_dtype
from seedbed.train.schedules import lr_fraction, muon_momentum

if TYPE_CHECKING:  # a GPU machine may have torch and NumPy alone (bench/gpu_train.py)
    from seedbed.recipe.schema import TrainConfig

# Three polar iterations trained as well as five in equal steps, and cost less (docs/experiments/first-light.md).
POLAR_STEPS = 3


@dataclass(frozen=True)
class LearningRates:
    """Peak learning rates. `matrix` is Muon's or AdamW's for the layers' matrices."""

    matrix: float
    table: float
    head: float
    scalar: float


def derive_learning_rates(config: TransformerConfig, train: TrainConfig) -> LearningRates:
    """The rates that transfer over widths (docs/training.md, "Optimizers"; bench/transfer.py).

    Muon's .02 holds at every width; tables and head go with (width / 768)^-1/2 (nanochat), the tables' also with the size
    their vectors begin at. AdamW's matrices go with 1 / width (Yang et al. 2022, table 3): .012 at width 64 was the best of
    .003 to .024 for the default architecture, .006 of .003 to .012 for Llama's, whose matrices begin smaller
    (docs/experiments/optimizers.md); its tables and head take the rates that go with Muon.
    """
    scale = (config.width / 768) ** -0.5
    default = config.zero_output_init
    matrix = 0.02 if train.optimizer == "muon" else (0.012 if default else 0.006) * 64 / config.width
    table = 0.3 * scale * (1.0 if default else 0.02 / 0.8)  # their vectors begin with a deviation of .8, or GPT-2's .02
    return LearningRates(
        train.matrix_lr or matrix, train.embedding_lr or table, train.head_lr or 0.008 * scale, scalar=0.01
    )


class Optimizer:
    """All of a model's parameters, each with the method that suits it."""

    def __init__(self, model: Transformer, train: TrainConfig, steps: int, precision: str = "float32") -> None:
        self.train, self.steps = train, steps
        self.lr = derive_learning_rates(model.config, train)
        groups = split_parameters(model, model.config.tied_head)
        self.rows = RowAdamW(groups.tables, beta2=0.995, eps=1e-10)
        self.matrices: Muon | AdamW
        if train.optimizer == "muon":
            self.matrices = Muon(groups.matrices, train.weight_decay or 0.0, POLAR_STEPS, polar_dtype(precision))
        else:
            decay = 0.1 if train.weight_decay is None else train.weight_decay
            self.matrices = AdamW(groups.matrices, (0.9, 0.95), 1e-8, decay)
        # a decay that the recipe states for AdamW holds for the head as well, as in GPT-2's and Llama's recipes
        head_decay = train.weight_decay or 0.0 if train.optimizer == "adamw" else 0.0
        self.head = AdamW(groups.head, (0.8, 0.95), 1e-10, head_decay)
        self.scalars = AdamW(groups.scalars, (0.9, 0.95), 1e-10, 0.0)

    def step(self, step: int) -> float:
        """Apply the gradients of `step` (counted from 0); give the share of the peak learning rate that was used."""
        fraction = lr_fraction(step, self.steps, self.train)
        if isinstance(self.matrices, Muon):
            self.matrices.step(self.lr.matrix * fraction, muon_momentum(step, self.steps, self.train))
        else:
            self.matrices.step(self.lr.matrix * fraction, step + 1)
        self.head.step(self.lr.head * fraction, step + 1)
        self.scalars.step(self.lr.scalar * fraction, step + 1)
        self.rows.step(self.lr.table * fraction)
        return fraction

    def parts(self) -> dict[str, Muon | AdamW | RowAdamW]:
        return {"rows": self.rows, "matrices": self.matrices, "head": self.head, "scalars": self.scalars}

    def state(self) -> dict[str, Tensor]:
        return {f"{part}/{name}": value for part, held in self.parts().items() for name, value in held.state().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        for part, held in self.parts().items():
            prefix = f"{part}/"
            held.load_state({name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)})


@dataclass(frozen=True)
class Groups:
    """A model's parameters by name, each in exactly one group.

    `tables`: looked up by token. `matrices`: the products of the layers, alone [R, C] or stacked [E, R, C]. `head`: what maps
    hidden states to logits, and tables that every batch touches whole. `scalars`: gains, biases, gates. A router is one of the
    matrices: moved by AdamW as a head is, it grows faster, and loads even out later (bench/experts.py).
    """

    tables: dict[str, Tensor] = field(default_factory=dict)
    matrices: dict[str, Tensor] = field(default_factory=dict)
    head: dict[str, Tensor] = field(default_factory=dict)
    scalars: dict[str, Tensor] = field(default_factory=dict)


def split_parameters(model: nn.Module, tied_head: bool) -> Groups:
    """Which optimizer moves which parameter of `model`, or of a stage of it.

    With `tied_head` the embedding is no table: its gradient is dense in every row. A pipeline's first stage does not see that.
    """
    groups = Groups()
    lookups = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    dense = {"position_embedding", "segment_embedding"} | ({"embedding"} if tied_head else set())
    for name, parameter in model.named_parameters():
        path = name.split(".")
        if id(parameter) in lookups and not dense & set(path):
            groups.tables[name] = parameter
        elif parameter.ndim < 2 or {"value_gate", "prior_gate"} & set(path) or path[-1] == "bias":
            groups.scalars[name] = parameter
        elif "layers" in path:
            groups.matrices[name] = parameter
        else:
            groups.head[name] = parameter
    return groups
