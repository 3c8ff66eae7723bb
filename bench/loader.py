"""The loader at 10,000 shards: seconds from nothing to the first batch, batches a second, open files, memory.

    python bench/loader.py [--shards 10000] [--context 1024] [--rows 64] [--seconds 5]

Start-up is measured in fresh processes, with and without Python's imports. The shards are small (8,192 tokens: 10,000 of
them are 164 MB), for what start-up costs depends on their number and not on their bytes; they lie in the system's memory of
files when they are read. Writes bench/results/loader.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from seedbed.run.machine import describe
from seedbed.tokens.shards import ShardWriter

VOCAB = 32_768
SHARD_TOKENS = 8192
DOCUMENT_TOKENS = 512
STARTS = 5

CHILD = """
import json, os, sys, time
began = time.perf_counter()
from pathlib import Path
from seedbed.tokens.loader import Loader
imported = time.perf_counter()
folder, context, rows, seconds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
loader = Loader(folder, context, rows, seed=1)
opened = time.perf_counter()
loader.batch(0)
first = time.perf_counter()
step = 1
while time.perf_counter() - first < seconds:
    loader.batch(step)
    step += 1
spent = time.perf_counter() - first
import psutil
process = psutil.Process()
print(json.dumps({
    "import_seconds": imported - began, "open_seconds": opened - imported, "first_batch_seconds": first - opened,
    "batches_per_second": (step - 1) / spent if seconds else None, "open_files": process.num_fds(),
    "resident_mb": process.memory_info().rss / 1e6,
}))
"""


def write_shards(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    writer = ShardWriter(folder, VOCAB, VOCAB - 1, "0" * 64, SHARD_TOKENS)
    document = rng.integers(0, VOCAB - 1, DOCUMENT_TOKENS - 1)
    for number in range(count * (SHARD_TOKENS // DOCUMENT_TOKENS)):
        writer.add(document, f"d{number}", "random", "random", 2000)
    writer.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "train"
        write_shards(folder, arguments.shards)

        def child(seconds: float) -> dict[str, float]:
            command = [sys.executable, "-c", CHILD, str(folder), str(arguments.context), str(arguments.rows)]
            done = subprocess.run([*command, str(seconds)], capture_output=True, text=True, check=True)
            return json.loads(done.stdout)

        starts = [child(0.0) for _ in range(STARTS)]
        running = child(arguments.seconds)
    median = {key: statistics.median(start[key] for start in starts) for key in starts[0] if key.endswith("seconds")}
    result = {
        "shards": arguments.shards,
        "rows": arguments.rows,
        "context": arguments.context,
        "startup_seconds": round(median["open_seconds"] + median["first_batch_seconds"], 3),
        "startup_with_imports_seconds": round(sum(median.values()), 3),
        "batches_per_second": round(running["batches_per_second"], 1),
        "tokens_per_second": round(running["batches_per_second"] * arguments.rows * arguments.context),
        "open_files": running["open_files"],
        "resident_mb": round(running["resident_mb"]),
        "machine": describe(),
        "date": time.strftime("%Y-%m-%d"),
    }
    path = Path(__file__).parent / "results" / "loader.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{arguments.shards:,} shards: first batch after {result['startup_seconds']} s "
        f"({result['startup_with_imports_seconds']} s with imports); {result['batches_per_second']:,} batches/s of "
        f"{arguments.rows} x {arguments.context} ({result['tokens_per_second'] / 1e6:.1f}M tokens/s), "
        f"{result['open_files']} open files, {result['resident_mb']} MB"
    )


if __name__ == "__main__":
    main()
