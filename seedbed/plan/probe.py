"""A recipe's step on this machine, measured: its time and its peak memory.

Width, batch, micro-batch, vocabulary and optimizer are the recipe's. A model of up to `WHOLE` layers is measured whole. Of a
deeper one two shallow versions are, and straight lines in the layers go on to its depth: time and live tensors are such lines,
but the heap's fragments grow faster (docs/experiments/planned-memory.md), so its memory is said too low. Each depth runs in a
process of its own, on random tokens, so that its peak memory is its own. Kept in the cache folder.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from seedbed.errors import SeedbedError
from seedbed.files import read_json, sha256_json, write_json
from seedbed.recipe.schema import Recipe
from seedbed.run.machine import cache_dir, describe, free_memory_bytes

WHOLE = 12  # layers
DEPTHS = (4, 8)  # even: every second layer has value embeddings
WARM_STEPS, LEAST_STEPS, TIMED_SECONDS = 2, 4, 3.0
RESTARTED_STEPS = (
    3  # as `train` goes on with the engine that `measure` has timed: norms are taken, a checkpoint is copied
)
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Probe:
    """Of one step at the recipe's depth. `depths`: those that ran."""

    step_seconds: float
    peak_bytes: float  # of the process that trains, libraries in
    precision: str
    threads: int
    depths: tuple[int, ...]


def probe(recipe: Recipe) -> Probe:
    """Measured, or as kept from an earlier plan of the same recipe by the same code. Raises SeedbedError where it cannot run."""
    from seedbed.run.receipt import code_sha256

    asked = recipe.model_dump(mode="json", include={"model", "train", "tokenizer", "seed", "objective"})
    path = cache_dir() / "plan" / f"probe-{sha256_json([asked, describe(), code_sha256()])[:24]}.json"
    try:
        kept = read_json(path)
        return Probe(**{**kept, "depths": tuple(kept["depths"])})
    except (SeedbedError, OSError, TypeError, KeyError):
        pass
    found = measure(recipe)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(found))
    except OSError:
        pass  # a read-only cache: measured again next time
    return found


def measure(recipe: Recipe) -> Probe:
    """Raises InputError for a model that this machine's memory cannot train."""
    layers = recipe.model.layers
    assert layers
    depths = DEPTHS if layers > WHOLE else (layers,)
    micro_rows = rows_at_once(recipe)
    shallow = [in_own_process(recipe, depth, micro_rows) for depth in depths]
    first, last = shallow[0], shallow[-1]

    def at_depth(name: str) -> float:
        if len(depths) == 1:
            return float(first[name])
        slope = (last[name] - first[name]) / (depths[-1] - depths[0])
        return float(first[name] + max(0.0, slope) * (layers - depths[0]))

    return Probe(at_depth("step_seconds"), at_depth("peak_bytes"), first["precision"], first["threads"], depths)


def rows_at_once(recipe: Recipe) -> int:
    """The micro-batch that a run would take on this processor (train/measure.py)."""
    from seedbed.plan.shape import planned_config
    from seedbed.train.host_fit import fitting_rows

    config, train = planned_config(recipe), recipe.train
    assert train.batch_tokens
    rows = train.micro_batch_rows or train.batch_tokens // config.context
    fitting = fitting_rows(config, rows, train.optimizer, train.recompute == "full", free_memory_bytes())
    return train.micro_batch_rows or fitting


def in_own_process(recipe: Recipe, depth: int, micro_rows: int) -> dict[str, Any]:
    values = {"recipe": recipe.model_dump(mode="json"), "depth": depth, "micro_rows": micro_rows}
    command = [sys.executable, "-m", "seedbed.plan.probe"]
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ}  # as seedbed/cli/__init__.py starts a run
    try:
        done = subprocess.run(
            command, input=json.dumps(values), capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=environment
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        reason = f"no end after {TIMEOUT_SECONDS} s"
    except (ValueError, IndexError):
        reason = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    raise SeedbedError(f"--gpu this: {depth} layers of the model did not train here ({reason}): choose a smaller size")


def run_depth(recipe: Recipe, depth: int, micro_rows: int) -> dict[str, Any]:
    """Train `depth` layers for a moment: what the parent asks for, in this process."""
    import resource
    import statistics
    import tempfile
    import time
    from dataclasses import replace
    from pathlib import Path

    from seedbed.plan.shape import planned_config
    from seedbed.run.machine import usable_cores
    from seedbed.run.pipeline import STAGE_NAMES, load_stage
    from seedbed.train.data import TrainingData
    from seedbed.train.engine import Engine
    from seedbed.train.execution import Execution
    from seedbed.train.measure import choose_precisions
    from seedbed.train.norms import Norms
    from seedbed.train.parallel import Ranks
    from seedbed.train.store import live_weights

    for name in STAGE_NAMES:
        load_stage(name)  # what a run's process holds besides
    config = planned_config(recipe)
    config = replace(config, layers=depth, windows=config.windows[:depth])
    train = recipe.train
    assert train.batch_tokens
    rows = train.batch_tokens // config.context
    threads = train.threads or usable_cores()[0]
    best: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        loader = random_tokens(Path(folder), config.vocab_size, config.context, rows, config.prior_order)
        prior = Path(folder) / "train.prior" if config.prior_order else None
        for precision in choose_precisions(train.precision, "cpu"):
            recompute = "none" if train.recompute == "auto" else train.recompute
            chunk = train.loss_chunk_tokens
            execution = Execution("cpu", precision, train.compile == "on", threads, micro_rows, recompute, chunk)
            data = TrainingData(loader, prior, config.prior_order)
            engine = Engine(config, train, 10**6, recipe.seed, execution, data, Ranks())
            times: list[float] = []
            step = 0
            while step < WARM_STEPS + LEAST_STEPS or sum(times) < TIMED_SECONDS:
                began = time.perf_counter()
                engine.step(step)
                step += 1
                if step > WARM_STEPS:
                    times.append(time.perf_counter() - began)
            engine.restart(10**6)
            norms, copies = Norms(engine, 10**6), list[Any]()
            for step in range(RESTARTED_STEPS):
                outcome = engine.gradients(step)
                before = norms.before()
                engine.update(step, outcome)
                norms.after(before)
                state = {**live_weights(engine.model), **engine.optimizer.state()}
                copies = copies or [
                    tensor.clone() for tensor in state.values()
                ]  # a checkpoint's, while training goes on
            seconds = statistics.median(times)
            if not best or seconds < best["step_seconds"]:
                best = {"step_seconds": seconds, "precision": precision, "threads": threads}
            del engine
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**best, "peak_bytes": peak * (1 if sys.platform == "darwin" else 1024)}


def random_tokens(folder: Any, vocab_size: int, context: int, rows: int, order: int) -> Any:
    """A loader over enough random tokens for some batches."""
    import numpy as np

    from seedbed.tokens.loader import Loader
    from seedbed.tokens.shards import ShardWriter

    writer = ShardWriter(folder, vocab_size, vocab_size - 1, "0" * 64)
    generator = np.random.default_rng(0)
    for number in range(64):
        tokens = np.append(generator.integers(0, vocab_size - 1, max(1000, rows * context // 8)), vocab_size - 1)
        writer.add(tokens, f"d{number}", "random", "random", 3 * len(tokens))
    writer.finish()
    loader = Loader(folder, context, rows, 1)
    if order:
        np.full((loader.num_tokens, order), -5, np.float16).tofile(folder / "train.prior")
    return loader


def main() -> None:
    from seedbed.recipe.schema import Recipe as Schema

    asked = json.loads(sys.stdin.read())
    print(json.dumps(run_depth(Schema.model_validate(asked["recipe"]), asked["depth"], asked["micro_rows"])))


if __name__ == "__main__":
    main()
