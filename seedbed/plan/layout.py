"""Which layout a number of devices should have: every one that the model allows, by estimated memory and time.

Time of a step = products at an assumed share of the peak, longer by the pipeline's bubble, plus what cannot hide behind them:
sums of tensor parallelism, gathers of context parallelism, and what FSDP and copies send beyond the time of the products. Every
collective also takes its start.
Volumes are of ring collectives: (n - 1) / n of the data a rank for a gather or a scatter, twice that for a sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from seedbed.errors import InputError
from seedbed.model.arithmetic import training_flops_per_token
from seedbed.model.config import TransformerConfig
from seedbed.plan.chips import COLLECTIVE_SECONDS, USABLE_FRACTION, Chip
from seedbed.plan.memory import Memory, Work, cut_shape, estimate, stage_weights
from seedbed.recipe.layout import Divisible, Layout, check_layout, check_parts

# Published training of dense models on H100s reports 38 to 43% for 405B (Dubey et al. 2024, table 4) and 40 to 48% for smaller
# ones (anchors of Megatron-LM and llm-foundry): a round figure, not measured here.
ASSUMED_MFU = 0.4
LONG_ROW = 32_768  # tokens of context from which rows are worth cutting; an assumption


@dataclass(frozen=True)
class Choice:
    layout: Layout
    work: Work
    memory: Memory
    step_seconds: float
    fits: bool


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def possible_layouts(config: TransformerConfig, model: Divisible, devices: int, chip: Chip) -> Iterator[Layout]:
    """Tensor parallelism stays inside a machine; pp and cp come in powers of two."""
    for tp in (d for d in divisors(devices) if d <= chip.devices):
        for pp in (d for d in divisors(devices // tp) if d & (d - 1) == 0 and d <= model.layers):
            for cp in (
                d for d in divisors(devices // tp // pp) if d & (d - 1) == 0 and (d == 1 or model.context >= LONG_ROW)
            ):
                rest = devices // tp // pp // cp
                for fsdp in divisors(rest):
                    ways = fsdp if fsdp > 1 else rest
                    eps = divisors(ways) if model.experts else [1]
                    for ep in (d for d in eps if model.experts == 0 or model.experts % d == 0):
                        layout = Layout(dp=rest // fsdp, fsdp=fsdp, tp=tp, cp=cp, pp=pp, ep=ep)
                        try:
                            check_layout(layout, model, devices)
                            check_parts(layout, config)
                        except InputError:
                            continue
                        yield layout


def choose(config: TransformerConfig, model: Divisible, devices: int, chip: Chip, optimizer: str) -> Choice:
    """The fastest layout that fits, the simplest among equals. Raises InputError where none does."""
    tried = [
        assess(config, model, layout, chip, optimizer) for layout in possible_layouts(config, model, devices, chip)
    ]
    if not tried:
        raise InputError(
            f"train.parallel: no layout of {devices} devices suits {model.heads} heads ({model.kv_heads} of keys), "
            f"{model.layers} layers and {model.batch_rows} rows: change train.batch_tokens or the number of devices"
        )
    fitting = [choice for choice in tried if choice.fits]
    if not fitting:
        least = min(tried, key=lambda choice: choice.memory.total)
        raise InputError(
            f"train.parallel: {devices} x {chip.name} are too few: even {least.layout} takes an estimated "
            f"{least.memory.total / 1e9:.0f} GB a device of {chip.memory_bytes / 1e9:.0f}: take more devices or a smaller model"
        )
    return min(fitting, key=lambda choice: (round(choice.step_seconds, 4), complexity(choice.layout)))


def complexity(layout: Layout) -> int:
    return sum(degree > 1 for degree in (layout.fsdp, layout.tp, layout.cp, layout.pp, layout.ep, layout.dp))


def assess(config: TransformerConfig, model: Divisible, layout: Layout, chip: Chip, optimizer: str) -> Choice:
    work = fitting_work(config, model, layout, chip.memory_bytes, optimizer)
    memory = estimate(config, layout, work)
    seconds = step_seconds(config, model, layout, work, chip)
    return Choice(layout, work, memory, seconds, memory.total <= USABLE_FRACTION * chip.memory_bytes)


def fitting_work(
    config: TransformerConfig, model: Divisible, layout: Layout, memory_bytes: float, optimizer: str
) -> Work:
    """The largest micro-batch that fits, layers run twice only where nothing fits otherwise; the least where nothing fits."""
    rows = model.batch_rows // layout.row_ways
    for recompute in (False, True):
        for micro_rows in (d for d in reversed(divisors(rows)) if rows // d >= layout.pp):
            work = Work(micro_rows, rows // micro_rows, recompute, optimizer)
            if estimate(config, layout, work).total <= USABLE_FRACTION * memory_bytes:
                return work
    return work


def step_seconds(config: TransformerConfig, model: Divisible, layout: Layout, work: Work, chip: Chip) -> float:
    tokens = model.batch_rows * config.context
    flops = training_flops_per_token(config) * tokens * (4 / 3 if work.recompute else 1)
    products = flops / layout.devices / (chip.bfloat16_flops * ASSUMED_MFU)
    rows_here = work.micro_rows * work.micro_batches
    tokens_here = rows_here * config.context / layout.cp
    layers_here = config.layers / layout.pp
    exposed = 0.0
    if layout.tp > 1:  # two sums forward and two backward a layer, of bfloat16 activations
        volume = 4 * layers_here * tokens_here * config.width * 2 * 2 * (layout.tp - 1) / layout.tp
        exposed += volume / chip.link_bytes + 4 * layers_here * work.micro_batches * COLLECTIVE_SECONDS
    if layout.cp > 1:  # keys and values gathered forward, their gradients scattered backward
        keys = 2 * config.kv_heads * config.head_width / layout.tp
        volume = 2 * layers_here * rows_here * config.context * keys * 2 * (layout.cp - 1) / layout.cp
        exposed += volume / link(layout.tp * layout.cp, chip)
        exposed += 2 * layers_here * work.micro_batches * COLLECTIVE_SECONDS
    if layout.ep > 1 and config.experts:  # rows to the experts and back, forward and backward
        moved = tokens_here * config.experts.experts_per_token * config.width * 2 * (layout.ep - 1) / layout.ep
        exposed += 4 * len(config.expert_layers) / layout.pp * moved / link(layout.tp * layout.cp * layout.ep, chip)
    hidden = 0.0
    held = float(sum(prod(cut_shape(w, layout)) for w in stage_weights(config, layout.pp, 0)))
    if layout.fsdp > 1:  # weights in bfloat16 for forward and backward, gradients in float32, each micro-batch
        shards = layout.fsdp * layout.cp
        hidden += work.micro_batches * held * (2 + 2 + 4) * (shards - 1) / shards / link(layout.tp * shards, chip)
        held /= shards
    if layout.dp > 1:
        hidden += held * 4 * 2 * (layout.dp - 1) / layout.dp / link(layout.devices, chip)
    if layout.pp > 1:  # a stage waits for each micro-batch's activations, forward and backward
        exposed += 2 * work.micro_batches * COLLECTIVE_SECONDS
    if layout.fsdp > 1:
        hidden += 3 * layers_here * work.micro_batches * COLLECTIVE_SECONDS
    bubble = (layout.pp - 1) / work.micro_batches
    return (products + exposed) * (1 + bubble) + max(0.0, hidden - products)


def link(span: int, chip: Chip) -> float:
    """Bytes a second among ranks that span so many neighbouring devices."""
    return chip.link_bytes if span <= chip.devices else chip.network_bytes
