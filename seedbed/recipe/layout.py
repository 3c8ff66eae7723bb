"""How a model is spread over devices, as data: the degree of each kind of parallelism, and what a model allows.

`train.parallel` is "auto" or degrees such as "fsdp=8,tp=2"; what is not named is 1. The product of all but `ep` is the
number of devices.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from seedbed.errors import InputError

if TYPE_CHECKING:
    from seedbed.model.config import TransformerConfig

AUTO = "auto"


@dataclass(frozen=True)
class Layout:
    """Degrees. Devices that differ in `dp` or `fsdp` read different rows of the batch; in `cp`, different parts of them."""

    dp: int = 1  # copies of the weights
    fsdp: int = 1  # weights, gradients and optimizer state cut along their first dimension (FSDP2)
    tp: int = 1  # each matrix cut by heads or channels (Shoeybi et al. 2019)
    cp: int = 1  # each row of tokens cut; keys and values are gathered
    pp: int = 1  # the layers cut into stages
    ep: int = 1  # experts cut among devices that read different rows: divides `fsdp`, or `dp` where fsdp is 1

    @property
    def devices(self) -> int:
        return self.dp * self.fsdp * self.tp * self.cp * self.pp

    @property
    def row_ways(self) -> int:
        """Into how many parts the rows of a batch are cut."""
        return self.dp * self.fsdp

    @property
    def copies_only(self) -> bool:
        """Every device holds the whole model."""
        return replace(self, dp=1) == Layout()

    def __str__(self) -> str:
        return ",".join(f"{name}={value}" for name, value in asdict(self).items() if value > 1) or "dp=1"


def split_layers(layers: int, stages: int) -> list[range]:
    """Layers of each stage, in order. The tables before the first and the head after the last count as a layer each."""
    lead = 1 if layers + 2 >= 2 * stages else 0
    edges = [round(i * (layers + 2 * lead) / stages) - lead for i in range(1, stages)]
    inner = (min(max(edge, i), layers - stages + i) for i, edge in enumerate(edges, 1))
    return [range(start, stop) for start, stop in pairwise([0, *inner, layers])]


@dataclass(frozen=True)
class Divisible:
    """What a layout must divide: the part of a model and its batch that matters here. `experts` is 0 without any."""

    layers: int
    heads: int
    kv_heads: int
    mlp_width: int
    context: int
    batch_rows: int
    experts: int = 0


def parse_layout(text: str) -> Layout:
    """`"fsdp=8,tp=2"` -> Layout(fsdp=8, tp=2)."""
    degrees: dict[str, int] = {}
    known = ", ".join(asdict(Layout()))
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in asdict(Layout()):
            raise InputError(f"train.parallel: {part.strip()!r} is not a degree: give auto, or NAME=N of {known}")
        if name in degrees:
            raise InputError(f"train.parallel: {name} is given twice: give it once")
        if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 10**6):
            raise InputError(f"train.parallel: {part.strip()!r}: give a whole number from 1, such as {name}=2")
        degrees[name] = int(number)
    return Layout(**degrees)


def check_layout(layout: Layout, model: Divisible, devices: int | None = None) -> None:
    """Refuse a layout that cannot be built, with the nearest remedy. `devices`: how many there are."""
    if devices is not None and layout.devices != devices:
        raise InputError(
            f"train.parallel: {layout} needs {layout.devices} devices and there are {devices}: "
            f"start {layout.devices} ranks (torchrun --nproc-per-node), or change a degree"
        )

    def refuse(degree: str, what: str, remedy: str) -> None:
        raise InputError(f"train.parallel: {degree}={getattr(layout, degree)} {what}: {remedy}")

    for name, value in (("heads", model.heads), ("kv_heads", model.kv_heads), ("mlp_width", model.mlp_width)):
        if value % layout.tp:
            refuse("tp", f"does not divide model.{name} {value}", f"choose a divisor of {value}")
    if layout.pp > model.layers:
        refuse("pp", f"is more stages than the {model.layers} layers of the model", f"choose at most {model.layers}")
    if layout.cp > 1 and model.context % (2 * layout.cp):
        refuse(
            "cp",
            f"cuts rows into {2 * layout.cp} chunks, and model.context {model.context} is no multiple of that",
            f"make it one, such as {max(1, round(model.context / (2 * layout.cp))) * 2 * layout.cp}",
        )
    if model.batch_rows % layout.row_ways:
        rows = -(-model.batch_rows // layout.row_ways) * layout.row_ways
        raise InputError(
            f"train.parallel: dp x fsdp = {layout.row_ways} does not divide the {model.batch_rows} rows of a batch: "
            f"set train.batch_tokens={rows * model.context}, or change a degree"
        )
    if model.batch_rows // layout.row_ways < layout.pp:
        rows = layout.row_ways * layout.pp
        raise InputError(
            f"train.parallel: pp={layout.pp} needs as many micro-batches, and each device reads only "
            f"{model.batch_rows // layout.row_ways} rows: set train.batch_tokens={rows * model.context} or more"
        )
    if layout.ep > 1:
        inside, ways = ("fsdp", layout.fsdp) if layout.fsdp > 1 else ("dp", layout.dp)
        if ways % layout.ep:
            refuse("ep", f"does not divide {inside}={ways}", "experts are cut among devices that read different rows")
        if not model.experts:
            refuse("ep", "and the model has no experts", "leave it out")
        if model.experts % layout.ep:
            refuse("ep", f"does not divide model.num_experts {model.experts}", "choose a divisor")


def check_parts(layout: Layout, config: TransformerConfig) -> None:
    """Refuse to cut what has to be whole."""
    if layout.tp > 1 and config.qk_norm and config.qk_norm_over == "width":
        raise InputError(
            "train.parallel: tp cuts heads, and this architecture normalises queries over all heads at once: use fsdp"
        )
    if layout.cp > 1 and config.experts and config.experts.balance == "loss":
        raise InputError(
            "train.parallel: cp cuts rows, and the balance loss of experts is of whole rows: set model.balance=bias"
        )
    if layout.cp > 1 and not config.causal and any(config.windows):
        raise InputError(
            "train.parallel: cp reorders the keys of an encoder, and windows count positions: leave out cp or model.windows"
        )


def divisible(recipe: Any) -> Divisible:
    """Of a resolved recipe."""
    model, train = recipe.model, recipe.train
    return Divisible(
        layers=model.layers,
        heads=model.heads,
        kv_heads=model.kv_heads,
        mlp_width=model.mlp_width,
        context=model.context,
        batch_rows=train.batch_tokens // model.context,
        experts=model.num_experts,
    )
