"""Which optimizer moves which parameter, and the learning rates derived for them."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from seedbed.model.config import TransformerConfig
from seedbed.model.transformer import Transformer
from seedbed.recipe.schema import TrainConfig
from seedbed.train.optimizers.adamw import AdamW, RowAdamW
from seedbed.train.optimizers.muon import Muon
from seedbed.train.schedules import lr_fraction, muon_momentum

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
    """Muon's .02 holds at every width; tables and head go with (width / 768)^-1/2 (nanochat).

    Plain AdamW follows Step Law (Li et al. 2025): 1.79 N^-.713 D^.307 would need the horizon, so the width rule
    3e-3 (width / 128)^-1 stands for it: 3e-3 is a common value at width 128, not tuned here.
    """
    if train.optimizer == "muon":
        scale = (config.width / 768) ** -0.5
        derived = LearningRates(0.02, 0.3 * scale, 0.008 * scale, 0.01)
    else:
        base = 3e-3 * (config.width / 128) ** -1
        derived = LearningRates(base, base, base, base)
    return LearningRates(
        train.matrix_lr or derived.matrix,
        train.embedding_lr or derived.table,
        train.head_lr or derived.head,
        derived.scalar,
    )


class Optimizer:
    """All of a model's parameters, each with the method that suits it."""

    def __init__(self, model: Transformer, train: TrainConfig, steps: int) -> None:
        self.train, self.steps = train, steps
        self.lr = derive_learning_rates(model.config, train)
        groups = split_parameters(model)
        self.rows = RowAdamW(groups.tables, beta2=0.995, eps=1e-10)
        self.matrices: Muon | AdamW
        if train.optimizer == "muon":
            self.matrices = Muon(groups.matrices, train.weight_decay or 0.0, POLAR_STEPS)
            self.head = AdamW(groups.head, (0.8, 0.95), 1e-10, 0.0)
            self.scalars = AdamW(groups.scalars, (0.9, 0.95), 1e-10, 0.0)
        else:
            decay = 0.1 if train.weight_decay is None else train.weight_decay
            self.matrices = AdamW(groups.matrices, (0.9, 0.95), 1e-8, decay)
            self.head = AdamW(groups.head, (0.9, 0.95), 1e-8, decay)
            self.scalars = AdamW(groups.scalars, (0.9, 0.95), 1e-8, 0.0)

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
    hidden states to logits (of tokens or of experts), and tables that every batch touches whole. `scalars`: gains, biases, gates.
    """

    tables: dict[str, Tensor] = field(default_factory=dict)
    matrices: dict[str, Tensor] = field(default_factory=dict)
    head: dict[str, Tensor] = field(default_factory=dict)
    scalars: dict[str, Tensor] = field(default_factory=dict)


def split_parameters(model: nn.Module) -> Groups:
    """Which optimizer moves which parameter. A tied head is no table: its gradient is dense in every row."""
    groups = Groups()
    lookups = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    heads = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    for name, parameter in model.named_parameters():
        path = name.split(".")
        if id(parameter) in lookups - heads and not {"position_embedding", "segment_embedding"} & set(path):
            groups.tables[name] = parameter
        elif parameter.ndim < 2 or {"value_gate", "prior_gate"} & set(path) or path[-1] == "bias":
            groups.scalars[name] = parameter
        elif "layers" in path and "router" not in path:
            groups.matrices[name] = parameter
        else:
            groups.head[name] = parameter
    return groups
