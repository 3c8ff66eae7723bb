"""The plan of a recipe on some devices, or on this machine, as one JSON value and as lines to read."""

import math
from dataclasses import asdict
from typing import Any

from seedbed.errors import InputError
from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.model.config import TransformerConfig
from seedbed.plan.answer_text import interval
from seedbed.plan.calibration import Calibration, calibrate, device_of, family_of, read_records
from seedbed.plan.chips import USABLE_FRACTION, find_chip
from seedbed.plan.construct import construct
from seedbed.plan.layout import ASSUMED_MFU, assess, choose
from seedbed.plan.memory import weight_bytes
from seedbed.plan.outcome import devices_outcome, loss_outcome, machine_outcome
from seedbed.plan.question import Question, check_limits, option_of
from seedbed.plan.shape import planned_config
from seedbed.plan.tables import load_tables
from seedbed.quantities import byte_size, counted, duration, money, quantity, volume, weight
from seedbed.recipe.layout import AUTO, check_layout, divisible, parse_layout
from seedbed.recipe.schema import Recipe
from seedbed.run.machine import describe

THIS = "this"
Plan = dict[str, Any]


def make_plan(
    recipe: Recipe, devices: int, gpu: str, parallel: str, question: Question | None = None, law: str | None = None
) -> Plan:
    """Raises InputError for a layout that cannot be, and where no layout fits."""
    question = question or Question()
    check_limits(question)
    if gpu.strip().lower() == THIS:
        idle = (
            "of rented or bought devices: on this machine watts, prices and the grid are the recipe's (--set cost. ...)"
        )
        changed = [name for name, value in vars(question).items() if value != getattr(Question(), name)]
        if changed or devices != 1 or parallel != AUTO:
            option = option_of(changed[0]) if changed else "--gpus" if devices != 1 else "--parallel"
            raise InputError(f"--gpu this: {option} is {idle}")
        return machine_plan(recipe, law)
    chip, model, config = find_chip(gpu, load_tables(question.tables)), divisible(recipe), planned_config(recipe)
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
    plan = shape_of_run(recipe, config) | {
        "devices": devices,
        "gpu": {name: None if value != value else value for name, value in asdict(chip).items()},
        "layout": {**asdict(layout), "text": str(layout)},
        "work": asdict(choice.work),
        "memory_bytes_estimated": {**asdict(choice.memory), "total": choice.memory.total},
        "usable_memory_bytes_assumed": USABLE_FRACTION * chip.memory_bytes,
        "mfu_assumed": ASSUMED_MFU,
        "step_seconds_estimated": choice.step_seconds,
        "constructed": {**asdict(built), "equals_count": True},
    }
    if plan["tokens"]:
        total = plan["parameters"]["total"]
        plan |= devices_outcome(chip, devices, choice.step_seconds, plan["steps"], plan["tokens"], total, question)
        plan |= planned_loss(recipe, plan, law)
    return plan


def machine_plan(recipe: Recipe, law: str | None) -> Plan:
    """On this machine's processor: a step measured on shallow versions of the model, watts and goodput of earlier runs."""
    from seedbed.plan.probe import probe
    from seedbed.run.energy import WATTS_BUSY_PER_CORE, WATTS_IDLE_PER_CORE, WATTS_PER_GB

    config, machine = planned_config(recipe), describe()
    plan = shape_of_run(recipe, config)
    found = probe(recipe)
    records = read_records()
    device = device_of({**machine, "gpus": []}, recipe)
    known: Calibration | None = calibrate(
        records, device, family_of(recipe), plan["flops_per_token"] / 6, plan["flops_per_token"] / found.step_seconds
    )
    idle = machine["logical_cores"] * WATTS_IDLE_PER_CORE + machine["memory_bytes"] / 1e9 * WATTS_PER_GB
    by_rule = idle + found.threads * (WATTS_BUSY_PER_CORE - WATTS_IDLE_PER_CORE)
    watts = recipe.cost.watts or (known.watts if known and known.watts else by_rule)
    plan |= {"machine": machine, "probe": asdict(found), "step_seconds_measured": found.step_seconds, "device": device}
    if plan["tokens"] is None and recipe.train.minutes is not None:
        plan["steps"] = max(1, math.floor(recipe.train.minutes * 60 / found.step_seconds))
        plan["tokens"] = plan["steps"] * plan["batch_tokens"]
        plan["flops"] = plan["tokens"] * plan["flops_per_token"]
    if plan["tokens"]:
        plan |= machine_outcome(found.step_seconds, plan["steps"], plan["flops"], watts, known, recipe)
        plan |= planned_loss(recipe, plan, law)
    return plan


def planned_loss(recipe: Recipe, plan: Plan, law: str | None) -> Plan:
    """The loss that a law says, or why none says it."""
    if law is None and recipe.train.objective != "causal":
        why = f"published laws are of next-token losses, and {recipe.train.objective!r} asks for others"
        return {"loss": None, "loss_unknown": why}
    found = loss_outcome(plan["parameters"]["active"], plan["tokens"], law)
    return {"loss": found} if found else {"loss": None, "loss_unknown": "published laws begin far above this"}


def shape_of_run(recipe: Recipe, config: TransformerConfig) -> Plan:
    """What is counted from the recipe alone."""
    parameters, flops_per_token = count_parameters(config), training_flops_per_token(config)
    batch_tokens = divisible(recipe).batch_rows * config.context
    steps = horizon(recipe, flops_per_token)
    tokens = steps and steps * batch_tokens
    return {
        "recipe": recipe.name,
        "model": config.to_json(),
        "parameters": {"total": parameters.total, "active": parameters.active},
        "batch_tokens": batch_tokens,
        "steps": steps,
        "tokens": tokens,
        "flops_per_token": flops_per_token,
        "flops": tokens and tokens * flops_per_token,
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


def plan_lines(plan: Plan) -> list[str]:
    model = plan["model"]
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
    lines += machine_lines(plan) if "probe" in plan else device_lines(plan)
    return lines + outcome_lines(plan)


def machine_lines(plan: Plan) -> list[str]:
    found = plan["probe"]
    how = " and ".join(map(str, found["depths"]))
    return [
        f"  machine       {plan['device']}, {found['precision']}",
        f"  step          {found['step_seconds']:.3g} s, {quantity(plan['batch_tokens'] / found['step_seconds'])}tokens a second "
        f"(measured on {how} layers)",
        f"  memory        {byte_size(found['peak_bytes'])} at the most in the process that trains (measured likewise)",
    ]


def device_lines(plan: Plan) -> list[str]:
    memory, work, chip = plan["memory_bytes_estimated"], plan["work"], plan["gpu"]
    lines = [
        f"  devices       {plan['devices']:,} x {chip['name']}: {chip['bfloat16_flops'] / 1e12:.0f} TFLOP/s bfloat16, "
        f"{byte_size(chip['memory_bytes'])} ({chip['source']})",
        f"  layout        {plan['layout']['text']}, micro-batches of {work['micro_rows']} x {work['micro_batches']}"
        + (", layers run twice to save memory" if work["recompute"] else ""),
        f"  memory        {byte_size(memory['total'])} on the fullest device (estimated), "
        f"{byte_size(plan['usable_memory_bytes_assumed'])} usable (assumed):",
    ]
    lines += [f"    {part:<12}  {byte_size(size)}" for part, size in memory.items() if part != "total"]
    lines.append(
        f"  step          {plan['step_seconds_estimated']:.2f} s with messages and bubble (estimated), products at an assumed "
        f"{plan['mfu_assumed']:.0%} of the datasheet's peak"
    )
    built = plan["constructed"]
    lines.append(
        f"  constructed   on the meta device in {built['seconds']:.1f} s: {byte_size(built['weight_bytes'])} of weights in "
        f"{built['tensors']} tensors on rank 0, as counted"
    )
    return lines


def outcome_lines(plan: Plan) -> list[str]:
    """Of the run alone; nothing where the recipe's minutes say no number of steps."""
    lines = []
    if "seconds" in plan:
        kwh, kg, litres = plan["kwh"]["facility"], plan["kg"]["location"], total_litres(plan["litres"])
        lines += [
            f"  time          {interval(plan['seconds'], time_text)}, {plan['seconds']['method']}",
            f"  money         {interval(plan['usd'], money)} for this run ({plan['usd']['method']})"
            if "usd" in plan
            else "  money         unknown: no published rent (--rent)",
            f"  energy        {interval(kwh, lambda v: f'{quantity(v * 1000)}Wh')} ({kwh['boundary']})",
            f"  carbon        {interval(kg, lambda v: f'{weight(v)} CO2e')}, location-based ({kg['method']})",
            f"  water         {interval(litres, volume)} ({litres['boundary']})",
        ]
    if plan.get("loss", 0) is None:
        lines.append(
            f"  loss          unknown: {plan['loss_unknown']}; give one of your own runs (--law, seedbed laws)"
        )
    if loss := plan.get("loss"):
        lines.append(f"  loss          {interval(loss, lambda v: f'{v:.3f}')} {loss['unit']} ({loss['method']})")
        lines += [f"  warning       {warning}" for warning in loss["warnings"]]
    return lines + [f"  assumed       {each}" for each in plan.get("assumptions", ())]


def total_litres(litres: Plan) -> Plan:
    found: Plan = litres.get("total") or litres["grid"]
    return found


def time_text(seconds: float) -> str:
    return f"{seconds / 86_400:,.1f} days" if seconds >= 2 * 86_400 else duration(seconds)
