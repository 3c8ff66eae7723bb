"""Training throughput and MFU of one GPU over model sizes, with Seedbed's own engine.

    python bench/gpu_train.py [--only 124M,350M,1.3B,1.3B-float8,moe] [--seconds 12] [--limit 440] [--profile]

Needs torch and NumPy alone, no installation and no network: run it from a checkout. Every case runs in a process of its own, so
that one that fails, hangs or spoils the device costs itself alone: it is noted in one line. For each case it compiles (uncompiled
where that fails), warms up, times whole steps (global batch, optimizer and gradient norm included) and gives tokens/s and MFU:
model FLOPs (6 a matrix parameter, of experts the active ones, and attention's 12 L h s a token, not halved for the causal mask)
over the data sheet's dense bf16 peak and over a measured matrix-product rate. Float8 is set against bf16's peak too, so its gain
shows. Tokens are random and in main memory, weights random. bench/results/gpu_train-DEVICE.json is written anew after each case.
Without a GPU it runs small models and says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from seedbed.files import write_json
from seedbed.model import initialisation
from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.model.config import ExpertsConfig, TransformerConfig, seedbed_config
from seedbed.train.batch import Batch
from seedbed.train.engine import Engine, Outcome
from seedbed.train.execution import Execution
from seedbed.train.parallel import Ranks

# Dense bf16 peaks: NVIDIA's H100 SXM and H200 data sheets (989.4 with 1,979 "with sparsity"), A100's (312).
DATASHEET_FLOPS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12}
# Least MFU by data sheet; of float8 the least gain over the same model in bfloat16.
TARGETS = {"124M": 0.50, "350M": 0.55, "1.3B": 0.60, "moe": 0.40}
FLOAT8, FLOAT8_GAIN = ("1.3B-float8", "1.3B"), 1.2
VOCAB = 50_304  # GPT-2's 50,257 tokens, padded
MOST_CASE_SECONDS = 150.0  # of which compiling takes most; an assumption
# What the optimizer reads of a recipe (seedbed/recipe/schema.py has the fields and their defaults).
SETTINGS: Any = SimpleNamespace(
    optimizer="muon", schedule="trapezoid", warmup_fraction=0.01, decay_fraction=0.6, final_lr_fraction=0.02,
    matrix_lr=None, embedding_lr=None, head_lr=None, weight_decay=None, grad_clip=None, start_from=None, decay_from_step=None,
)  # fmt: skip
Case = tuple[TransformerConfig, int, int, str]


class RandomTokens:
    """Rows as `TrainingData` gives them, in main memory. `loader` and `plan` are this object as well."""

    def __init__(self, rows: int, context: int, vocab_size: int) -> None:
        self.batch_rows, self.context = rows, context
        self.loader = self.plan = self
        self.mixture = None
        tokens = torch.randint(0, vocab_size, (rows, context + 1), generator=torch.Generator().manual_seed(0))
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


def cases() -> dict[str, Case]:
    """Name -> model, rows of the global batch, rows of a micro-batch, precision.

    Batches of 0.5M tokens are GPT-3's for these sizes (Brown et al. 2020, table 2.1; 1M at 1.3B), 0.25M are what Seedbed derives
    for 1.3B (recipe/shape.py). By count the largest case needs 60 GB: 32 of weights, gradients and state, 23 of activations.
    """
    large = decoder(24, 2048, 2048)
    experts = replace(decoder(12, 1024, 2048), feed_forward="swiglu", experts=ExpertsConfig(8, 2, 2048))
    return {
        "124M": (decoder(12, 768, 1024), 512, 64, "bfloat16"),
        "350M": (decoder(24, 1024, 2048), 256, 16, "bfloat16"),
        "1.3B": (large, 128, 8, "bfloat16"),
        "1.3B-float8": (large, 128, 8, "float8"),
        "moe": (experts, 256, 16, "bfloat16"),
    }


def small_cases() -> dict[str, Case]:
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


def started(case: Case, device: str, compiled: bool, micro_rows: int) -> tuple[Engine, float] | None:
    """An engine after two steps, and their seconds; None where memory ran out. What a failed try held ends with this call."""
    config, rows, _, precision = case
    try:
        began = time.perf_counter()
        execution = Execution(device, precision, compiled, 1 if device == "cuda" else 2, micro_rows)
        data: Any = RandomTokens(rows, config.context, config.vocab_size)
        engine = Engine(config, SETTINGS, 100_000, 1, execution, data, Ranks())
        for step in range(2):
            engine.step(step)
        synchronize(device)
        return engine, time.perf_counter() - began
    except torch.OutOfMemoryError:
        return None


def start(case: Case, device: str, compiled: bool) -> tuple[Engine, float]:
    """`started` with the case's micro-batch, or as much smaller a one as memory asks for. The global batch stays."""
    micro_rows = case[2]
    while (begun := started(case, device, compiled, micro_rows)) is None:
        if micro_rows == 1:
            raise SystemExit("out of memory with a micro-batch of one row")
        micro_rows //= 2
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
    return begun


def measure(name: str, case: Case, device: str, seconds: float, profile: bool) -> dict[str, Any]:
    """What `run_apart` gets from a process that runs one case."""
    config, rows, _, precision = case
    # drawn where they are used: the CPU's generator takes a minute for the largest model, and the values do not matter here
    initialisation.Draw.normal = lambda _, weight, std: weight.normal_(0.0, std)  # type: ignore[method-assign,assignment]
    uncompiled_because = ""
    try:
        engine, warm = start(case, device, device == "cuda")
    except Exception as error:
        uncompiled_because = one_line(str(error)) or type(error).__name__
    if uncompiled_because:
        torch.compiler.reset()
        gc.collect()
        engine, warm = start(case, device, False)
    times: list[float] = []
    updates: list[float] = []
    outcome = None
    while sum(times) < seconds or len(times) < 3:
        began = time.perf_counter()
        outcome, update = timed_step(engine, 2 + len(times), device)
        times.append(time.perf_counter() - began)
        updates.append(update)
    assert outcome is not None
    rate = rows * config.context / statistics.median(times)
    result: dict[str, Any] = {
        "model": name,
        "precision": precision,
        "layers": config.layers,
        "width": config.width,
        "context": config.context,
        "parameters": count_parameters(config).total,
        "batch_tokens": rows * config.context,
        "micro_batch_rows": engine.execution.micro_batch_rows,
        "compiled": engine.execution.compile,
        "tokens_per_second": round(rate),
        "flops_per_second": rate * training_flops_per_token(config),
        "step_seconds": round(statistics.median(times), 4),
        "optimizer_seconds": round(statistics.median(updates), 4),
        "steps": len(times),
        "first_steps_seconds": round(warm, 1),
        "loss": round(outcome.loss, 4),
    }
    if uncompiled_because:
        result["uncompiled_because"] = uncompiled_because
    if device == "cuda":
        result["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    if profile:
        result["kernels"] = costliest_kernels(engine, device)
    return result


def timed_step(engine: Engine, step: int, device: str) -> tuple[Outcome, float]:
    """One step to its end on the device, and the seconds of its update."""
    outcome = engine.gradients(step)
    began = time.perf_counter()
    if outcome.finite:
        engine.update(step, outcome)
    else:
        engine.drop()
    synchronize(device)
    return outcome, time.perf_counter() - began


def costliest_kernels(engine: Engine, device: str, most: int = 25) -> list[tuple[str, float, int]]:
    """Of one step: name, milliseconds in all and number of calls."""
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CUDA if device == "cuda" else activity.CPU]) as recorded:
        engine.step(10_000)
        synchronize(device)
    events = recorded.key_averages()
    spent = [
        (
            event.key[:120],
            (event.device_time_total if device == "cuda" else event.self_cpu_time_total) / 1e3,
            event.count,
        )
        for event in events
    ]
    return [(key, round(ms, 3), count) for key, ms, count in sorted(spent, key=lambda kernel: -kernel[1])[:most]]


def describe(device: str) -> dict[str, Any]:
    """The device's name and its matrix-product rates: what the other results are set against."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {
        "device": name,
        "measured_peak_flops": matrix_product_rate(device, torch.bfloat16 if device == "cuda" else torch.float32),
        "datasheet_flops": next((flops for known, flops in DATASHEET_FLOPS.items() if known in name), None),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def one_line(text: str) -> str:
    """The last line that says something, which of a traceback is the error."""
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "")


def run_apart(arguments: list[str], timeout: float) -> dict[str, Any]:
    """What this script prints with `arguments` in a process of its own; {"error": one line} where it fails or takes too long."""
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if done.returncode == 0:
            return dict(json.loads(done.stdout.splitlines()[-1]))
        return {"error": one_line(done.stderr) or f"ended with {done.returncode}"}
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {timeout:.0f} s"}
    except (ValueError, IndexError):
        return {"error": "gave no result"}


def judged(results: list[dict[str, Any]]) -> str:
    """A table of the results beside what is aimed at."""
    lines = [f"{'case':14}{'tokens/s':>12}{'MFU':>8}{'of measured':>13}{'GiB':>7}  aimed at"]
    flops = {result["model"]: result.get("flops_per_second") for result in results}
    for result in results:
        name = result["model"]
        if "error" in result:
            lines.append(f"{name:14}{result['error']}")
            continue
        aim = f"MFU {TARGETS[name]:.0%}" if name in TARGETS else ""
        if name == FLOAT8[0] and flops.get(FLOAT8[1]):
            aim = f"{FLOAT8_GAIN} times bfloat16: {flops[name] / flops[FLOAT8[1]]:.2f}"  # type: ignore[operator]
        sheet = result["mfu_datasheet"]
        lines.append(
            f"{name:14}{result['tokens_per_second']:>12,}{'?' if sheet is None else f'{sheet:.1%}':>8}"
            f"{result['mfu_measured_peak']:>13.1%}{result.get('peak_memory_gib', 0):>7.1f}  {aim}"
            + ("" if "uncompiled_because" not in result else f"; uncompiled: {result['uncompiled_because']}")
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of cases, with commas")
    parser.add_argument("--seconds", type=float, help="timed seconds a case; default: 12 on a GPU, 0.2 without")
    parser.add_argument("--limit", type=float, default=440.0, help="seconds in all: what is left then is left out")
    parser.add_argument("--profile", action="store_true", help="add the costliest kernels of a step to each result")
    parser.add_argument("--out", type=Path, help="default: bench/results/gpu_train-DEVICE.json; without a GPU none")
    parser.add_argument(
        "--case", help="run this case alone, here, and print its result ('device': describe the device)"
    )
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    known = cases() if device == "cuda" else small_cases()
    seconds = arguments.seconds or (12.0 if device == "cuda" else 0.2)
    torch.set_float32_matmul_precision("high")
    if arguments.case:
        result = (
            describe(device)
            if arguments.case == "device"
            else measure(arguments.case, known[arguments.case], device, seconds, arguments.profile)
        )
        print(json.dumps(result))
        return
    chosen = arguments.only.split(",") if arguments.only else list(known)
    if unknown := set(chosen) - set(known):
        parser.error(f"no case {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    run_all(chosen, device, seconds, arguments)


def run_all(chosen: list[str], device: str, seconds: float, arguments: argparse.Namespace) -> None:
    """Each case in turn, while there is time; results are written after each."""
    ends = time.monotonic() + arguments.limit
    if device == "cpu":
        print("no GPU here: small models, to see that the script runs. These are no results.")
    found = run_apart(["--case", "device"], 90.0)
    if "error" in found:
        raise SystemExit(f"the device cannot be used: {found['error']}")
    summary: dict[str, Any] = {
        "command": "python bench/gpu_train.py",
        **found,
        "date": time.strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "results": [],
    }
    path = arguments.out
    if path is None and device == "cuda":
        path = Path(__file__).parent / f"results/gpu_train-{found['device'].replace(' ', '-')}.json"
    sheet, measured = found["datasheet_flops"], found["measured_peak_flops"]
    print(
        f"{found['device']}: {measured / 1e12:.2f} TFLOP/s measured, {(sheet or 0) / 1e12:.0f} by data sheet (0: not known)"
    )
    for name in chosen:
        left = ends - time.monotonic()
        options = ["--case", name, "--seconds", str(seconds), *(["--profile"] if arguments.profile else [])]
        result: dict[str, Any]
        result = {"error": "no time was left"} if left < seconds else run_apart(options, min(left, MOST_CASE_SECONDS))
        result["model"] = name
        if "error" not in result:
            flops = result["flops_per_second"]
            result["mfu_measured_peak"] = round(flops / measured, 4)
            result["mfu_datasheet"] = round(flops / sheet, 4) if sheet else None
        summary["results"].append(result)
        print(json.dumps({key: value for key, value in result.items() if key != "kernels"}), flush=True)
        if path is not None:
            write_json(path, summary)
    print(judged(summary["results"]), flush=True)


if __name__ == "__main__":
    main()
