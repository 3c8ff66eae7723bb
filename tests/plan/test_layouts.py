"""What the planner counts is what the modules hold, for layouts of any size; what it chooses is possible and fits."""

import json
import subprocess
import sys

import pytest

from seedbed.errors import InputError
from seedbed.model.config import ARCHITECTURES, ExpertsConfig, TransformerConfig, llama_config
from seedbed.plan.chips import CHIPS, USABLE_FRACTION, find_chip
from seedbed.plan.construct import construct
from seedbed.plan.layout import choose
from seedbed.plan.memory import Work, estimate, weight_bytes
from seedbed.recipe.layout import Divisible, parse_layout

SMALL = TransformerConfig(300, 4, 64, 4, 2, 96, 32)
EIGHT_B = llama_config(TransformerConfig(128_256, 32, 4096, 32, 8, 14_336, 8192))
# Llama 3 405B (Dubey et al. 2024, table 3)
LARGEST = llama_config(TransformerConfig(128_256, 126, 16_384, 128, 8, 53_248, 8192))


def limits(config: TransformerConfig, rows: int) -> Divisible:
    experts = config.experts.num_experts if config.experts else 0
    return Divisible(config.layers, config.heads, config.kv_heads, config.mlp_width, config.context, rows, experts)


def check_count(config: TransformerConfig, text: str) -> int:
    layout = parse_layout(text)
    for stage in range(0, layout.pp, max(1, layout.pp - 1)):
        first_rank = stage * layout.devices // layout.pp
        built = construct(config, layout, first_rank)
        assert built.weight_bytes == weight_bytes(config, layout, stage), f"{text}, stage {stage}"
    return weight_bytes(config, layout, 0)


@pytest.mark.parametrize("text", ["dp=2,fsdp=3", "cp=2,fsdp=2,tp=2", "pp=2,fsdp=2,tp=2"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_counted_weights_are_those_of_the_modules(architecture: str, text: str) -> None:
    if architecture == "olmo2" and "tp" in text:
        with pytest.raises(InputError, match="normalises queries over all heads"):
            check_count(ARCHITECTURES[architecture](SMALL), text)
        return
    check_count(ARCHITECTURES[architecture](SMALL), text)


@pytest.mark.parametrize("text", ["dp=4,ep=4", "fsdp=4,ep=2", "dp=2,fsdp=2,ep=2,tp=2"])
def test_counted_experts_are_those_of_the_modules(text: str) -> None:
    experts = ExpertsConfig(8, 2, 32, shared_experts=1, dense_layers=1)
    check_count(llama_config(TransformerConfig(300, 4, 64, 4, 2, 96, 32, experts=experts)), text)


def test_8b_on_64_gpus_and_405b_on_16384_are_built() -> None:
    assert check_count(EIGHT_B, "fsdp=64") == pytest.approx(8.03e9 * 4 / 64, rel=1e-3)
    # the published layout of its first stage of training: tp 8, pp 16, dp 128 (Dubey et al. 2024, table 4)
    assert check_count(LARGEST, "tp=8,pp=16,fsdp=128") == pytest.approx(405.8e9 * 4 / 16_384, rel=0.05)


@pytest.mark.parametrize(("config", "devices", "rows"), [(EIGHT_B, 64, 512), (LARGEST, 16_384, 2048), (EIGHT_B, 8, 64)])
def test_the_chosen_layout_fits(config: TransformerConfig, devices: int, rows: int) -> None:
    chip = CHIPS["h100"]
    choice = choose(config, limits(config, rows), devices, chip, "adamw")
    assert choice.layout.devices == devices
    assert choice.memory.total <= USABLE_FRACTION * chip.memory_bytes
    assert choice.work.micro_rows * choice.work.micro_batches * choice.layout.row_ways == rows
    # no device is faster than its datasheet says
    flops = 6 * (8.03e9 if config is EIGHT_B else 405.8e9) * rows * config.context
    assert choice.step_seconds > flops / devices / chip.bfloat16_flops


def test_too_few_devices_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"8 x h100 are too few: .* GB a device of 80: take more devices"):
        choose(LARGEST, limits(LARGEST, 64), 8, CHIPS["h100"], "adamw")


def test_cutting_more_takes_less_and_running_layers_twice_keeps_less() -> None:
    work = Work(1, 8)
    totals = [estimate(EIGHT_B, parse_layout(text), work).total for text in ("dp=8", "fsdp=8", "fsdp=64")]
    assert totals == sorted(totals, reverse=True)
    assert estimate(EIGHT_B, parse_layout("fsdp=8"), Work(1, 8, recompute=True)).activations < 0.3 * (
        estimate(EIGHT_B, parse_layout("fsdp=8"), work).activations
    )


def test_chips_are_found_by_what_the_driver_calls_them() -> None:
    assert find_chip("NVIDIA H100 80GB HBM3").name == "h100"
    with pytest.raises(InputError, match="'h10' is not in the table: did you mean h100"):
        find_chip("h10")


def test_the_command_prints_one_object() -> None:
    command = [sys.executable, "-m", "seedbed", "plan", "llama-8b", "--gpus", "64", "--parallel", "fsdp=64", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["parameters"]["total"] == pytest.approx(8.03e9, rel=1e-3)
    assert plan["layout"]["text"] == "fsdp=64"
    assert plan["constructed"]["weight_bytes"] == pytest.approx(plan["memory_bytes_estimated"]["weights"])
    wrong = subprocess.run([*command[:-2], "tp=3", "--gpus", "3"], capture_output=True, text=True, timeout=200)
    assert wrong.returncode == 2
    assert wrong.stderr == "seedbed: train.parallel: tp=3 does not divide model.heads 32: choose a divisor of 32\n"


def test_a_small_model_is_copied_not_cut() -> None:
    """Where products take microseconds, what counts is how often devices wait for one another."""
    choice = choose(llama_config(SMALL), limits(SMALL, 8), 8, CHIPS["h100"], "muon")
    assert choice.layout == parse_layout("dp=8")
