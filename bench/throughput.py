"""Training throughput against this machine's measured matrix-product rate, and what loader and loop cost.

    python bench/throughput.py [--size 5M] [--precision bfloat16] [--compile] [--batch-tokens N] [--seconds 20]

Trains on random tokens of a 4,096 vocabulary, drawn as text draws them (Zipf's law). Prints tokens/s x 6 x matrix parameters
(layers and head: what is multiplied for every token; tables that are looked up do not count), with and without attention's
products, as a share of two rates: of the products of the run's own data type that this machine sustained in the same seconds (a
burst of them before every step, all FLOPs over all time, the steps likewise), and of the best single product ever seen here in
its fastest data type. On a machine whose clock or neighbours change, the first says what the trainer loses and the second what
trainer and machine lose together.
Writes bench/results/throughput-*.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np
import torch

from seedbed.files import write_json
from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.recipe import load_recipe
from seedbed.run.machine import accelerated_dtypes, describe, measured_peak, usable_cores
from seedbed.tokens.loader import Loader
from seedbed.tokens.shards import ShardWriter
from seedbed.train.batch import Batch
from seedbed.train.data import TrainingData
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution
from seedbed.train.measure import model_config
from seedbed.train.parallel import Ranks

VOCAB = 4096
BURST_SECONDS = 0.1  # of products before a step
PRODUCT = (2048, 1024, 1024)  # m, k, n: as fast as any that `measured_peak` tries on a CPU


class Products:
    """Matrix products of one data type: how many FLOPs took how long."""

    def __init__(self, dtype: str) -> None:
        m, k, n = PRODUCT
        kind = getattr(torch, dtype)
        self.left_MK, self.right_KN = torch.randn(m, k).to(kind), torch.randn(k, n).to(kind)
        self.flops = self.seconds = 0.0

    def burst(self) -> None:
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < BURST_SECONDS:
            torch.mm(self.left_MK, self.right_KN)
            done += 1
        self.seconds += time.perf_counter() - began
        self.flops += done * 2 * PRODUCT[0] * PRODUCT[1] * PRODUCT[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="5M")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--micro-batch-rows", type=int, help="default: all rows of the batch")
    parser.add_argument("--batch-tokens", type=int, help="tokens of a step; default: as the recipe has it for the size")
    arguments = parser.parse_args()
    settings = [f"train.batch_tokens={arguments.batch_tokens}"] if arguments.batch_tokens else []
    recipe = load_recipe(settings=settings, size=arguments.size)
    threads = usable_cores()[0]
    peaks = {
        dtype: measured_peak("cpu", dtype, threads, refresh=True) for dtype in accelerated_dtypes() if "float" in dtype
    }
    fastest = max(peaks, key=lambda dtype: peaks[dtype])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = ShardWriter(folder, VOCAB, VOCAB - 1, "0" * 64)
        rng = np.random.default_rng(0)
        shares = 1 / np.arange(3, VOCAB + 2)
        shares /= shares.sum()
        for i in range(200):
            writer.add(
                np.append(rng.choice(VOCAB - 1, 9_999, p=shares), VOCAB - 1), f"d{i}", "random", "random", 30_000
            )
        writer.finish()
        assert recipe.model.context and recipe.train.batch_tokens
        rows = recipe.train.batch_tokens // recipe.model.context
        order = recipe.model.prior_order or 0
        prior = np.full((Loader(folder, recipe.model.context, rows, 1).num_tokens, order), -5, np.float16)
        prior.tofile(folder / "train.prior")
        loader = Loader(folder, recipe.model.context, rows, 1)
        data = TrainingData(loader, folder / "train.prior" if order else None, order)
        config = model_config(recipe, VOCAB)
        execution = Execution(
            "cpu", arguments.precision, arguments.compile, threads, arguments.micro_batch_rows or rows
        )
        engine = Engine(config, recipe.train, 100_000, 1, execution, data, Ranks())
        in_data = 0.0
        plain_rows = data.rows

        def timed_rows(step: int, start: int, stop: int) -> Batch:
            nonlocal in_data
            began = time.perf_counter()
            result = plain_rows(step, start, stop)
            in_data += time.perf_counter() - began
            return result

        data.rows = timed_rows  # type: ignore[method-assign]
        times: list[float] = []
        products = Products(arguments.precision)
        step = 0
        while step < 4 or sum(times) < arguments.seconds:
            if step > 2:
                products.burst()
            began = time.perf_counter()
            engine.step(step)
            step += 1
            if step > 3:
                times.append(time.perf_counter() - began)
            else:
                in_data = 0.0
    step_seconds, sustained = statistics.mean(times), products.flops / products.seconds
    best = peaks[fastest]
    count = count_parameters(config)
    rate = recipe.train.batch_tokens / step_seconds
    result = {
        "size": arguments.size,
        "precision": arguments.precision,
        "compile": arguments.compile,
        "context": recipe.model.context,
        "batch_tokens": recipe.train.batch_tokens,
        "micro_batch_rows": execution.micro_batch_rows,
        "matrix_parameters": count.matrices,
        "parameters": count.total,
        "steps": len(times),
        "step_seconds": round(step_seconds, 5),
        "fastest_step_seconds": round(min(times), 5),
        "tokens_per_second": round(rate, 1),
        "sustained_products_flops_per_second": round(sustained),
        "share_of_sustained_6nd": round(rate * 6 * count.matrices / sustained, 4),
        "share_of_sustained_with_attention": round(rate * training_flops_per_token(config) / sustained, 4),
        "best_product_flops_per_second": round(best),
        "share_of_best_6nd": round(rate * 6 * count.matrices / best, 4),
        "share_of_best_with_attention": round(rate * training_flops_per_token(config) / best, 4),
        "loader_share_of_step": round(in_data / sum(times), 5),
        "machine": describe(),
        "date": time.strftime("%Y-%m-%d"),
    }
    batch = f"-{arguments.batch_tokens}tokens" if arguments.batch_tokens else ""
    kind = (
        f"{arguments.precision}-{'compiled' if arguments.compile else 'eager'}-{execution.micro_batch_rows}rows{batch}"
    )
    path = Path(__file__).parent / f"results/throughput-{arguments.size}-{kind}.json"
    write_json(path, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
