"""The loader at 10,000 shards: seconds from nothing to the first batch, batches a second, open files, memory, packing.

    python bench/loader.py [--shards 10000] [--context 1024] [--rows 64] [--seconds 5]

Start-up is measured in fresh processes, with and without Python's imports; the median of five. The shards are small (at most
8,192 tokens), for what start-up costs depends on their number and not on their bytes; they lie in the system's memory of
files when they are read. Documents have lengths as web text has them (log-normal, median 400 tokens), in eight sources.
Writes bench/results/loader.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.run.machine import describe
from seedbed.tokens.packing import write_best_fit
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.shards import ShardWriter

VOCAB = 32_768
SHARD_TOKENS = 8192
SOURCES = 8
STARTS = 5
ORDERS: dict[str, dict[str, Any]] = {
    "one stream": {},
    "document masks": {"document_masks": True},
    "best-fit, masks": {"document_masks": True, "packing": "best-fit"},
    "best-fit, masks, mixture": {"document_masks": True, "packing": "best-fit", "weights": {"source0": 3.0}},
}

CHILD = """
import json, os, sys, time
began = time.perf_counter()
from pathlib import Path
from seedbed.tokens.loader import DataOrder, Loader
imported = time.perf_counter()
folder, context, rows, seconds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
loader = Loader(folder, context, rows, seed=1, order=DataOrder(**json.loads(sys.argv[5])), steps=100_000)
opened = time.perf_counter()
loader.read(0, 0, rows)
first = time.perf_counter()
step = 1
while time.perf_counter() - first < seconds:
    loader.read(step, 0, rows)
    loader.num_targets(step)
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
    text = rng.integers(0, VOCAB - 1, SHARD_TOKENS).astype(np.uint16)
    for source in range(SOURCES):
        writer.begin_group(f"source{source}")
        while len(writer._shards) < count * (source + 1) // SOURCES - 1:
            length = min(SHARD_TOKENS - 1, int(rng.lognormal(np.log(400), 1.0)) + 1)
            writer.add(text[:length], f"d{writer.num_documents}", f"source{source}", "random", 4 * length)
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
        shards = ShardReader(folder)
        began = time.perf_counter()
        packed = write_best_fit(shards, arguments.context)
        packing_seconds = time.perf_counter() - began
        index_bytes = sum(path.stat().st_size for path in (folder / f"packing-{arguments.context}").iterdir())

        def child(seconds: float, order: dict[str, Any]) -> dict[str, float]:
            command = [sys.executable, "-c", CHILD, str(folder), str(arguments.context), str(arguments.rows)]
            done = subprocess.run(
                [*command, str(seconds), json.dumps(order)], capture_output=True, text=True, check=True
            )
            return json.loads(done.stdout)

        found = {}
        for title, order in ORDERS.items():
            starts = [child(0.0, order) for _ in range(STARTS)]
            running = child(arguments.seconds, order)
            median = {key: statistics.median(s[key] for s in starts) for key in starts[0] if key.endswith("seconds")}
            rate = running["batches_per_second"]
            found[title] = {
                "startup_seconds": round(median["open_seconds"] + median["first_batch_seconds"], 3),
                "startup_with_imports_seconds": round(sum(median.values()), 3),
                "batches_per_second": round(rate, 1),
                "tokens_per_second": round(rate * arguments.rows * arguments.context),
                "open_files": running["open_files"],
                "resident_mb": round(running["resident_mb"]),
            }
            print(
                f"{title}: {len(shards.shards):,} shards, first batch after {found[title]['startup_seconds']} s "
                f"({found[title]['startup_with_imports_seconds']} s with imports); {rate:,.0f} batches/s of "
                f"{arguments.rows} x {arguments.context} ({rate * arguments.rows * arguments.context / 1e6:.1f}M tokens/s), "
                f"{running['open_files']} open files, {running['resident_mb']:.0f} MB"
            )
        result = {
            "shards": len(shards.shards),
            "rows": arguments.rows,
            "context": arguments.context,
            "orders": found,
            "packing": {
                "tokens_per_second": round(shards.num_tokens / packing_seconds),
                "documents_per_second": round(shards.num_documents / packing_seconds),
                "padding": packed["padding"],
                "cut_documents": packed["cut_documents"] / shards.num_documents,
                "index_bytes_per_token": round(index_bytes / shards.num_tokens, 5),
            },
            "machine": describe(),
            "date": time.strftime("%Y-%m-%d"),
            "command": f"python {' '.join(sys.argv)}",
        }
    print(f"packing: {json.dumps(result['packing'])}")
    path = Path(__file__).parent / "results" / "loader.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
