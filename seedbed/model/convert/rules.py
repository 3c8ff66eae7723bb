"""How a weight goes from one naming to the other: a rule names both sides and what is done to the tensors on the way."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seedbed.model.config import TransformerConfig

Values = Mapping[str, Any]  # a Transformers config.json
Change = Callable[[list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Rule:
    """The tensors named `ours` become those named `theirs` by `export`, and back by `import_`."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    export: Change
    import_: Change


@dataclass(frozen=True)
class Family:
    """One model type of Transformers.

    `read` and `write` change configurations: a configuration belongs to the family if it survives `read(write(config))`.
    `rules` lists every weight of a configuration. `ignored` matches names that hold nothing of their own, such as tied heads.
    """

    model_type: str
    read: Callable[[Values], TransformerConfig]
    write: Callable[[TransformerConfig], dict[str, Any]]
    rules: Callable[[TransformerConfig], Iterable[Rule]]
    ignored: str = r"$^"
    prefix: str = ""  # of the weights' names, which some published files leave out
    # gives a state dict the names of published files, where the model classes' own are others
    spread: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state

    def holds(self, config: TransformerConfig) -> bool:
        """Whether this family can say all of `config`."""
        try:
            return self.read(self.write(config)) == config
        except ValueError:
            return False

    def import_weights(self, state: Mapping[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
        """Seedbed's weights from a Transformers state dict, a tied head left out."""
        if self.prefix and not any(name.startswith(self.prefix) for name in state):
            state = {self.prefix + name: value for name, value in state.items()}
        state = self.spread(state)
        found: dict[str, Tensor] = {}
        used: set[str] = set()
        for rule in self.rules(config):
            missing = [name for name in rule.theirs if name not in state]
            if missing:
                raise ValueError(f"{missing[0]}: not among the {len(state)} weights of this {self.model_type} model")
            made = rule.import_([state[name] for name in rule.theirs])
            found.update(zip(rule.ours, made, strict=True))
            used.update(rule.theirs)
        unknown = [name for name in state if name not in used and not re.search(self.ignored, name)]
        if unknown:
            raise ValueError(f"{unknown[0]}: no weight of a {self.model_type} model with this configuration")
        return found

    def export_weights(self, weights: Mapping[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
        """A Transformers state dict from Seedbed's weights."""
        state: dict[str, Tensor] = {}
        for rule in self.rules(config):
            state.update(zip(rule.theirs, rule.export([weights[name] for name in rule.ours]), strict=True))
        return state


def same(ours: str, theirs: str) -> Rule:
    return Rule((ours,), (theirs,), list, list)


def with_bias(ours: str, theirs: str, bias: bool = True) -> list[Rule]:
    """A linear's or a norm's weight, and its bias."""
    return [same(f"{ours}.{kind}", f"{theirs}.{kind}") for kind in ("weight", "bias")[: 1 + bias]]


def transposed(ours: str, theirs: str) -> Rule:
    """[out, in] here and [in, out] there."""
    return Rule((ours,), (theirs,), turn, turn)


def turn(tensors: list[Tensor]) -> list[Tensor]:
    return [x.T.contiguous() for x in tensors]


def joined(ours: tuple[str, ...], theirs: str, transpose: bool = False) -> Rule:
    """Equal parts here, one tensor there, along our rows."""

    def export(tensors: list[Tensor]) -> list[Tensor]:
        whole = torch.cat(tensors)
        return turn([whole]) if transpose else [whole]

    def import_(tensors: list[Tensor]) -> list[Tensor]:
        whole = tensors[0].T if transpose else tensors[0]
        return [part.contiguous() for part in whole.chunk(len(ours))]

    return Rule(ours, (theirs,), export, import_)


def padded(ours: str, theirs: str, config: TransformerConfig) -> Rule:
    """A table with a row for each token: Seedbed's has rows of zeros up to a multiple of 64."""

    def export(tensors: list[Tensor]) -> list[Tensor]:
        return [x[: config.vocab_size].contiguous() for x in tensors]

    def import_(tensors: list[Tensor]) -> list[Tensor]:
        missing = config.padded_vocab_size - config.vocab_size
        return [torch.cat((x, x.new_zeros(missing, *x.shape[1:]))) for x in tensors]

    return Rule((ours,), (theirs,), export, import_)


def demand(values: Values, **wanted: Any) -> None:
    """Refuse a configuration in which a field that Seedbed's parts have no room for is not at its usual value."""
    for name, value in wanted.items():
        if values.get(name, value) != value:
            raise ValueError(f"{name}: {values[name]!r} is not supported (only {value!r})")


def choose(values: Values, name: str, known: Mapping[str, str], default: str) -> Any:
    given = values.get(name, default)
    if given not in known:
        raise ValueError(f"{name}: {given!r} is not supported (only {', '.join(known)})")
    return known[given]


def named_epsilon(config: TransformerConfig, epsilon: float) -> float:
    """`norm_epsilon` for an epsilon, as the architecture's own configuration writes it."""
    return config.norm_epsilon if epsilon == config.epsilon else epsilon


def head_rules(config: TransformerConfig) -> Iterator[Rule]:
    if not config.tied_head:
        yield padded("head.weight", "lm_head.weight", config)
