"""Training throughput and MFU of one GPU over model sizes, with Seedbed's own engine.

    python bench/gpu_train.py [--only 124M,350M,1.3B,1.3B-float8,moe] [--seconds 20]

Needs torch and NumPy alone, no installation and no network: run it from a checkout. Tokens are random and in memory. For each
size it compiles, warms up, times whole steps (global batch, optimizer and gradient norm included) and prints tokens/s and MFU:
model FLOPs (6 a matrix parameter, of experts the active ones, and attention's 12 L h s a token, not halved for the causal
mask) over the data sheet's dense bf16 peak and over a measured matrix-product rate. Float8 is set against bf16's peak too, so
its gain shows. Writes bench/results/gpu_train-DEVICE.json. Without a GPU it runs small models and says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.model.config import ExpertsConfig, TransformerConfig, seedbed_config
from seedbed.train.batch import Batch
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution
from seedbed.train.parallel import Ranks

# Dense bf16 peaks: NVIDIA's H100 SXM and H200 data sheets (989.4 with 1,979 "with sparsity"), A100's (312).
DATASHEET_FLOPS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12}
VOCAB = 50_304  # GPT-2's 50,257 tokens, padded
# What the optimizer reads of a recipe (seedbed/recipe/schema.py has the fields and their defaults).
SETTINGS = SimpleNamespace(
    optimizer="muon", schedule="trapezoid", warmup_fraction=0.01, decay_fraction=0.6, final_lr_fraction=0.02,
    matrix_lr=None, embedding_lr=None, head_lr=None, weight_decay=None, grad_clip=None, start_from=None, decay_from_step=None,
)  # fmt: skip


class RandomTokens:
    """Rows as `TrainingData` gives them, already on the device. `loader` and `plan` are this object as well."""

    def __init__(self, rows: int, context: int, vocab_size: int, device: str) -> None:
        self.batch_rows, self.context = rows, context
        self.loader = self.plan = self
        self.mixture = None
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(0, vocab_size, (rows, context + 1), generator=generator).to(device)
        self.inputs, self.targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def rows_at(self, step: int) -> int:
        return self.batch_rows

    def num_targets(self, step: int) -> int:
        return self.batch_rows * self.context

    def rows(self, step: int, start: int, stop: int) -> Batch:
        return Batch(self.inputs[start:stop], self.targets[start:stop])


def decoder(layers: int, width: int, context: int, head: int = 128) -> TransformerConfig:
    heads = width // head
    return seedbed_config(TransformerConfig(VOCAB, layers, width, heads, heads, 4 * width, context))


def cases() -> dict[str, tuple[TransformerConfig, int, int, str]]:
    """Name -> model, rows of the global batch, rows of a micro-batch, precision."""
    large = decoder(24, 2048, 2048)
    experts = replace(decoder(12, 1024, 2048), feed_forward="swiglu", experts=ExpertsConfig(8, 2, 2048))
    return {
        "124M": (decoder(12, 768, 1024), 512, 64, "bfloat16"),
        "350M": (decoder(24, 1024, 2048), 128, 16, "bfloat16"),
        "1.3B": (large, 64, 8, "bfloat16"),
        "1.3B-float8": (large, 64, 8, "float8"),
        "moe": (experts, 128, 16, "bfloat16"),
    }


def small_cases() -> dict[str, tuple[TransformerConfig, int, int, str]]:
    """The same code where there is no GPU."""
    tiny = replace(decoder(2, 64, 64, head=32), vocab_size=512)
    experts = replace(tiny, feed_forward="swiglu", experts=ExpertsConfig(4, 2, 64))
    return {"124M": (tiny, 8, 4, "float32"), "1.3B-float8": (tiny, 8, 4, "float8"), "moe": (experts, 8, 4, "float32")}


def matrix_product_rate(device: str, dtype: torch.dtype) -> float:
    """FLOP/s of a large square product, the fastest of some."""
    n = 8192 if device == "cuda" else 1024
    a, b = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, device=device, dtype=dtype)
    best = 0.0
    for _ in range(12):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(4):
            a @ b
        synchronize(device)
        best = max(best, 4 * 2 * n**3 / (time.perf_counter() - began))
    return best


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measure(name: str, case: tuple[TransformerConfig, int, int, str], device: str, seconds: float) -> dict[str, object]:
    config, rows, micro_rows, precision = case
    # a GPU with less memory takes smaller micro-batches; the global batch stays
    while True:
        execution = Execution(device, precision, device == "cuda", 1 if device == "cuda" else 2, micro_rows)
        try:
            began = time.perf_counter()
            data = RandomTokens(rows, config.context, config.vocab_size, device)
            engine = Engine(config, SETTINGS, 100_000, 1, execution, data, Ranks())  # type: ignore[arg-type]
            for step in range(2):
                outcome = engine.step(step)
            synchronize(device)
            break
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            torch.compiler.reset()
            if micro_rows == 1:
                raise
            micro_rows //= 2
    warm = time.perf_counter() - began
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        began = time.perf_counter()
        outcome = engine.step(
            2 + len(times)
        )  # reads the loss, so the device has finished the gradients; the next waits for the update
        times.append(time.perf_counter() - began)
    synchronize(device)
    count = count_parameters(config)
    rate = rows * config.context / statistics.median(times)
    result: dict[str, object] = {
        "model": name,
        "precision": precision,
        "layers": config.layers,
        "width": config.width,
        "context": config.context,
        "parameters": count.total,
        "batch_tokens": rows * config.context,
        "micro_batch_rows": micro_rows,
        "tokens_per_second": round(rate),
        "flops_per_second": rate * training_flops_per_token(config),
        "step_seconds": round(statistics.median(times), 4),
        "steps": len(times),
        "first_steps_seconds": round(warm, 1),
        "loss": round(outcome.loss, 4),
    }
    if device == "cuda":
        result["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        torch.cuda.reset_peak_memory_stats()
    del engine
    torch.compiler.reset()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of cases, with commas")
    parser.add_argument("--seconds", type=float, help="timed seconds a case; default: 20 on a GPU, 0.2 without")
    parser.add_argument("--out", type=Path, help="default: bench/results/gpu_train-DEVICE.json; without a GPU none")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = cases() if device == "cuda" else small_cases()
    if arguments.only:
        unknown = set(arguments.only.split(",")) - set(chosen)
        if unknown:
            parser.error(f"no case {', '.join(sorted(unknown))}: there are {', '.join(chosen)}")
        chosen = {name: chosen[name] for name in arguments.only.split(",")}
    if device == "cpu":
        print("no GPU here: small models in float32, to see that the script runs. These are no results.")
    torch.set_float32_matmul_precision("high")
    device_name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    measured = matrix_product_rate(device, torch.bfloat16 if device == "cuda" else torch.float32)
    datasheet = next((flops for name, flops in DATASHEET_FLOPS.items() if name in device_name), None)
    print(
        f"{device_name}: measured {measured / 1e12:.2f} TFLOP/s, data sheet {(datasheet or 0) / 1e12:.0f} (0: not known)"
    )
    results = []
    for name, case in chosen.items():
        result = measure(name, case, device, arguments.seconds or (20.0 if device == "cuda" else 0.2))
        flops = float(result["flops_per_second"])  # type: ignore[arg-type]
        result["mfu_measured_peak"] = round(flops / measured, 4)
        result["mfu_datasheet"] = round(flops / datasheet, 4) if datasheet else None
        results.append(result)
        print(json.dumps(result), flush=True)
    summary = {
        "command": "python bench/gpu_train.py",
        "device": device_name,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "measured_peak_flops": measured,
        "datasheet_flops": datasheet,
        "results": results,
    }
    path = arguments.out
    if path is None and device == "cuda":
        path = Path(__file__).parent / f"results/gpu_train-{device_name.replace(' ', '-')}.json"
    if path is not None:
        path.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
