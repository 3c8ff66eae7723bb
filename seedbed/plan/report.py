"""The plan of a recipe on some devices, as one JSON value and as lines to read."""

from dataclasses import asdict
from typing import Any

from seedbed.errors import InputError
from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.plan.chips import USABLE_FRACTION, find_chip
from seedbed.plan.construct import construct
from seedbed.plan.layout import ASSUMED_MFU, assess, choose
from seedbed.plan.memory import weight_bytes
from seedbed.plan.shape import planned_config
from seedbed.plan.tables import Tables
from seedbed.quantities import byte_size, counted, duration, quantity
from seedbed.recipe.layout import AUTO, check_layout, divisible, parse_layout
from seedbed.recipe.schema import Recipe


def make_plan(recipe: Recipe, devices: int, gpu: str, parallel: str, tables: Tables | None = None) -> dict[str, Any]:
    """Raises InputError for a layout that cannot be, and where no layout fits."""
    chip, model, config = find_chip(gpu, tables), divisible(recipe), planned_config(recipe)
    optimizer = recipe.train.optimizer
    if parallel == AUTO:
        choice = choose(config, model, devices, chip, optimizer)
    else:
        layout = parse_layout(parallel)
        check_layout(layout, model, devices)
        choice = assess(config, model, layout, chip, optimizer)
        if not choice.fits:
            raise InputError(
                f"--parallel {layout}: an estimated {choice.memory.total / 1e9:.0f} GB a device of "
                f"{chip.memory_bytes / 1e9:.0f}: cut the model further, or give --parallel auto"
            )
    layout = choice.layout
    built = construct(config, layout)
    if built.weight_bytes != weight_bytes(config, layout, 0):
        raise AssertionError(f"{layout}: built {built.weight_bytes} bytes, counted {weight_bytes(config, layout, 0)}")
    parameters, flops_per_token = count_parameters(config), training_flops_per_token(config)
    steps = horizon(recipe, flops_per_token)
    tokens = steps and steps * model.batch_rows * config.context
    flops = tokens and tokens * flops_per_token
    return {
        "recipe": recipe.name,
        "model": config.to_json(),
        "parameters": {"total": parameters.total, "active": parameters.active},
        "batch_tokens": model.batch_rows * config.context,
        "tokens": tokens,
        "flops": flops,
        "devices": devices,
        "gpu": {name: None if value != value else value for name, value in asdict(chip).items()},
        "layout": {**asdict(layout), "text": str(layout)},
        "work": asdict(choice.work),
        "memory_bytes_estimated": {**asdict(choice.memory), "total": choice.memory.total},
        "usable_memory_bytes_assumed": USABLE_FRACTION * chip.memory_bytes,
        "mfu_assumed": ASSUMED_MFU,
        "seconds_estimated": flops and flops / (devices * chip.bfloat16_flops * ASSUMED_MFU),
        "step_seconds_estimated": choice.step_seconds,
        "constructed": {**asdict(built), "equals_count": True},
    }


def horizon(recipe: Recipe, flops_per_token: float) -> int | None:
    """Steps; None where the recipe gives minutes, which only the machine turns into steps."""
    train = recipe.train
    assert train.batch_tokens
    if train.steps is not None:
        return train.steps
    if train.tokens is not None:
        return max(1, round(train.tokens / train.batch_tokens))
    if train.flops is not None:
        return max(1, round(train.flops / (flops_per_token * train.batch_tokens)))
    return None


def plan_lines(plan: dict[str, Any]) -> list[str]:
    model, memory, work, chip = plan["model"], plan["memory_bytes_estimated"], plan["work"], plan["gpu"]
    lines = [
        f"{plan['recipe']}: {model['layers']} layers x {model['width']}, {model['heads']} heads "
        f"({model['kv_heads']} of keys and values), context {model['context']:,}, vocabulary {model['vocab_size']:,}",
        f"  parameters    {quantity(plan['parameters']['total'])}, of which {quantity(plan['parameters']['active'])} "
        "work on each token",
    ]
    if plan["tokens"]:
        lines.append(
            f"  training      {quantity(plan['tokens'])} tokens in batches of {counted(plan['batch_tokens'])}, "
            f"{plan['flops']:.3g} FLOPs"
        )
    lines += [
        f"  devices       {plan['devices']:,} x {chip['name']}: {chip['bfloat16_flops'] / 1e12:.0f} TFLOP/s bfloat16, "
        f"{byte_size(chip['memory_bytes'])} ({chip['source']})",
        f"  layout        {plan['layout']['text']}, micro-batches of {work['micro_rows']} x {work['micro_batches']}"
        + (", layers run twice to save memory" if work["recompute"] else ""),
        f"  memory        {byte_size(memory['total'])} on the fullest device (estimated), "
        f"{byte_size(plan['usable_memory_bytes_assumed'])} usable (assumed):",
    ]
    lines += [f"    {part:<12}  {byte_size(size)}" for part, size in memory.items() if part != "total"]
    if plan["seconds_estimated"]:
        days = plan["seconds_estimated"] / 86_400
        shown = f"{days:,.1f} days" if days >= 2 else duration(plan["seconds_estimated"])
        lines.append(
            f"  time          {shown} at an assumed {plan['mfu_assumed']:.0%} of the datasheet's peak; "
            f"{plan['step_seconds_estimated']:.2f} s a step with messages and bubble (estimated)"
        )
    built = plan["constructed"]
    lines.append(
        f"  constructed   on the meta device in {built['seconds']:.1f} s: {byte_size(built['weight_bytes'])} of weights in "
        f"{built['tensors']} tensors on rank 0, as counted"
    )
    return lines
