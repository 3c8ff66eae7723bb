"""Peak memory and time of the chunked cross-entropy against the plain one, gradients included, with a 50k vocabulary.

    python bench/cross_entropy.py [--tokens 8192] [--width 256] [--chunk 256]

Each form runs in a process of its own, whose resident memory is read before and at its highest. Writes
bench/results/cross_entropy.json.
"""

import argparse
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.nn.functional as F

from seedbed.model.chunked_loss import chunked_loss
from seedbed.run.machine import describe, usable_cores

VOCAB = 50_304


def status_bytes(field: str) -> int:
    """A size from /proc/self/status (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def run(kind: str, tokens: int, width: int, chunk: int, dtype: torch.dtype, connection: Connection) -> None:
    torch.set_num_threads(usable_cores()[0])
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator).to(dtype).requires_grad_()
    weight = (torch.randn(VOCAB, width, generator=generator) / width**0.5).to(dtype).requires_grad_()
    targets = torch.randint(0, VOCAB, (tokens,), generator=generator)
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark starts again from what is resident now
    before = status_bytes("VmRSS")
    began = time.perf_counter()
    if kind == "plain":
        losses = F.cross_entropy(hidden @ weight.t(), targets, reduction="none")
    else:
        losses = chunked_loss(hidden, weight, targets, chunk)
    losses.mean().backward()
    seconds = time.perf_counter() - began
    grown = status_bytes("VmHWM") - before
    connection.send((grown, seconds, losses.detach().numpy(), hidden.grad.numpy(), weight.grad.numpy()))  # type: ignore[union-attr]


def measure(kind: str, tokens: int, width: int, chunk: int, dtype: torch.dtype) -> tuple:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=run, args=(kind, tokens, width, chunk, dtype, there))
    process.start()
    result = here.recv()
    process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--chunk", type=int, default=256)
    arguments = parser.parse_args()
    sizes = (arguments.tokens, arguments.width, arguments.chunk)
    plain, chunked = (measure(kind, *sizes, torch.float32) for kind in ("plain", "chunked"))
    fewer = (min(1024, arguments.tokens), *sizes[1:])
    exact, close = (measure(kind, *fewer, torch.float64) for kind in ("plain", "chunked"))
    result = {
        "tokens": arguments.tokens,
        "width": arguments.width,
        "vocabulary": VOCAB,
        "chunk_tokens": arguments.chunk,
        "plain_peak_bytes": plain[0],
        "chunked_peak_bytes": chunked[0],
        "share_of_memory": round(chunked[0] / plain[0], 4),
        "plain_seconds": round(plain[1], 3),
        "chunked_seconds": round(chunked[1], 3),
        "float64_tokens": fewer[0],
        "float64_greatest_difference": max(float(abs(a - b).max()) for a, b in zip(exact[2:], close[2:], strict=True)),
        "machine": describe(),
        "date": time.strftime("%Y-%m-%d"),
    }
    (Path(__file__).parent / "results/cross_entropy.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
