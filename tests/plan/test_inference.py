"""Serving by arithmetic: published cache sizes, experts touched, what a load costs, when serving overtakes training."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.model.config import ExpertsConfig, LatentConfig, TransformerConfig, llama_config
from seedbed.plan.chips import CHIPS
from seedbed.plan.footprint import Building
from seedbed.plan.grids import find_grid
from seedbed.plan.inference import Load, Serving, decode_parts, prefill_seconds, serve
from seedbed.plan.lifetime import crossing, life, payback, payback_tokens
from seedbed.plan.money import Terms
from seedbed.plan.question import Question, interpret
from seedbed.plan.served import experts_touched, kv_bytes_token, served, served_of_size, usual_shape
from seedbed.plan.tables import load_tables

TABLES = load_tables()
TERMS = Terms("rent", 2.99, 0.0826, 1.2)
HOUSE = Building(1.2, 0.36, find_grid("USA"))
# Llama 3 70B (Dubey et al. 2024, table 3) and DeepSeek-V3 (arXiv 2412.19437, section 4.2)
LLAMA_70B = llama_config(TransformerConfig(128_256, 80, 8192, 64, 8, 28_672, 8192))
DEEPSEEK_V3 = replace(
    llama_config(TransformerConfig(129_280, 61, 7168, 128, 128, 18_432, 4096)),
    experts=ExpertsConfig(256, 8, 2048, shared_experts=1, dense_layers=3),
    latent=LatentConfig(512, 128, 64, 128, query_rank=1536),
)


def test_cache_sizes_are_the_published_ones() -> None:
    assert kv_bytes_token(LLAMA_70B) == 320 * 1024
    assert kv_bytes_token(DEEPSEEK_V3) == pytest.approx(69 * 1024, rel=0.01)
    windowed = replace(LLAMA_70B, windows=tuple([1024] * 79 + [0]))
    assert served(windowed).kv_bytes(8192) == pytest.approx(320 * 1024 * (79 * 1024 + 8192) / 80)


def test_sizes_are_those_of_the_arithmetic() -> None:
    model = served(DEEPSEEK_V3)
    assert model.total == pytest.approx(671e9, rel=0.01) and model.active == pytest.approx(37e9, rel=0.05)
    assert model.touched_parameters(1) == pytest.approx(model.active, rel=0.05)
    assert model.touched_parameters(4096) == pytest.approx(model.total, rel=0.001)
    layers, width = usual_shape(70e9)
    assert layers == pytest.approx(80, rel=0.2) and width == pytest.approx(8192, rel=0.2)


@given(st.integers(2, 512), st.data())
def test_a_batch_touches_between_its_own_and_all_experts(experts: int, data: st.DataObject) -> None:
    chosen = data.draw(st.integers(1, experts))
    batch = data.draw(st.integers(1, 10_000))
    touched = float(experts_touched(experts, chosen, batch))
    assert chosen - 1e-6 <= touched <= experts + 1e-9
    assert float(experts_touched(experts, chosen, 1)) == pytest.approx(chosen)


def test_decoding_reads_weights_and_prefill_makes_products() -> None:
    model, chip = served(LLAMA_70B), CHIPS["h100"]
    weights, cache, products, _ = decode_parts(model, chip, 8.0, 1.0, 1000.0, 1.0, 1.0)
    # 141 GB over 8 x 3.35 TB/s, and 2 x 70.6e9 FLOPs over 8 x 989 TFLOP/s
    assert weights == pytest.approx(141.1e9 / (8 * 3.35e12), rel=0.01)
    assert cache == pytest.approx(1000 * 320 * 1024 / (8 * 3.35e12), rel=0.01)
    assert weights > 100 * products
    assert prefill_seconds(model, chip, 8.0, 1000.0, 1.0) == pytest.approx(2 * 69.5e9 * 1000 / (8 * 989.4e12), rel=0.05)


def of(tokens_day: float, **changes: float) -> Serving:
    return serve(served(LLAMA_70B), CHIPS["h100"], Load(tokens_day, **changes), TERMS, HOUSE, TABLES)


def test_a_lightly_loaded_server_costs_many_times_a_full_one() -> None:
    light, full = of(1e6), of(1e10)
    assert light.usd_million > 50 * full.usd_million and light.kwh_million > 20 * full.kwh_million
    assert 0.1 < full.usd_million < 3  # Llama 3 70B is sold at $0.4 to $0.9 a million tokens


@settings(max_examples=40, deadline=None)
@given(st.floats(1e5, 1e11), st.floats(15, 200), st.floats(1.0, 4.0))
def test_slower_answers_are_never_dearer_and_more_traffic_never_cheaper_a_day(
    load: float, ms: float, more: float
) -> None:
    try:
        strict = of(load, token_ms=ms)
    except InputError:
        return
    assert of(load, token_ms=ms * more).usd_day <= strict.usd_day * (1 + 1e-9)
    assert of(load * more, token_ms=ms).usd_day >= strict.usd_day * (1 - 1e-9)
    assert strict.token_ms <= ms and strict.busy <= 1


def test_what_cannot_be_served_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"weights do not fit 64 devices of 32 GB"):
        serve(served_of_size(5e12), CHIPS["tpu-v4"], Load(1e9), TERMS, HOUSE, TABLES)
    with pytest.raises(InputError, match=r"h100 needs .* ms a token .*: allow that"):
        of(1e9, token_ms=0.5)


def test_the_month_of_crossover_is_where_the_sums_meet() -> None:
    assert crossing(15.0, [10.0, 20.0]) == pytest.approx(1.5)
    assert crossing(25.0, [10.0, 20.0]) is None
    load, training = Load(1e9), {"usd": 1e4, "kwh": 1e3, "kg": 1e3, "litres": 1e3}
    model = served(LLAMA_70B)
    flat = life(training, model, CHIPS["h100"], load, 0.0, 12, TERMS, HOUSE, TABLES)
    day = serve(model, CHIPS["h100"], load, TERMS, HOUSE, TABLES)
    assert flat.crossover["usd"] == pytest.approx(1e4 / (day.usd_day * 30.4375))
    grown = life(training, model, CHIPS["h100"], Load(1e10), 0.5, 12, TERMS, HOUSE, TABLES)
    assert grown.serving["usd"][-1] > 12 * grown.serving["usd"][0]


def test_flops_pay_back_where_sardana_says() -> None:
    large, small = (7e9, 140e9), (4e9, 400e9)
    tokens = payback_tokens(large, small)
    total = [6 * n * d + 2 * n * tokens for n, d in (large, small)]
    assert total[0] == pytest.approx(total[1])


def test_more_traffic_wants_smaller_models() -> None:
    setting = interpret(Question(budget="1M", traffic="1e10/day", deadline="60d")).setting
    found = payback(setting, 2.2, 60.0)
    dense = [next(c for c in row if c.kind == "over-trained dense") for row in found.candidates]
    optimal = [next(c for c in row if c.kind == "compute-optimal dense") for row in found.candidates]
    assert dense[-1].active < optimal[-1].active and dense[-1].usd < optimal[-1].usd
    assert dense[-1].tokens > optimal[-1].tokens
    sizes = np.array([c.active for c in dense])
    assert sizes[-1] <= sizes[0]
