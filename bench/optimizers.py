"""Steps that Muon needs to the loss that tuned AdamW ends at: same model, data, batches, initial weights, at two sizes.

    python bench/optimizers.py [--sizes 2x64 2x96 2x64@200] [--batch-tokens 8192] [--steps 100] [--seeds 1 2]

Both methods are tuned by the same search, one setting after the other, each a whole run with its own warm-up and decay: a
number is multiplied by 2 and by 1/2 as long as that helps, so that the best one has a worse neighbour on either side; of a
list every entry is tried. Later sizes, and other lengths such as 2x64@200, begin with what was best before, and only
`--again` is searched. AdamW trains `--steps` steps, Muon `--share` of them. The best of each is then trained with every
seed, and Muon also for other shares, by whose line of mean loss over log steps the steps to AdamW's mean final loss are
read off. Finished runs are kept in the result and not trained again: the bench can be stopped and started. The transformer
alone is trained, on bytes, without n-gram tables and counted expert. Uses a GPU where there is one.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from small_runs import CONTEXT, HELD_OUT_ROWS, Engine, Loader, prepare, settings, train

from seedbed.files import write_json
from seedbed.run.machine import describe, usable_cores
from seedbed.tokens.reader import ShardReader
from seedbed.train import schedules
from seedbed.train.optimizers import AdamW

VOCAB = 257  # bytes and the end of a text: the layers' matrices hold most of the parameters
Run = dict[str, Any]
# What is searched, in this order, from the first value on. A rate is given at width 64 for AdamW, which goes with 1 / width,
# and at any width for Muon (seedbed/train/optimizers/group.py); `others` multiplies the rates of tables and head.
START: dict[str, dict[str, Any]] = {
    "adamw": {"lr": 0.003, "others": 1.0, "betas": (0.9, 0.95), "decay": 0.1, "warmup": 0.01},
    "muon": {"lr": 0.02, "others": 1.0, "momentum": 0.95, "decay": 0.0, "warmup": 0.01},
}
CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "adamw": {"betas": ((0.9, 0.95), (0.9, 0.99), (0.8, 0.95)), "decay": (0.1, 0.0), "warmup": (0.01, 0.1)},
    "muon": {"momentum": (0.95, 0.9)},
}
DOUBLED = ("lr", "others")
MOST_DOUBLINGS = 4
COUNTED = 8_000_000  # bytes of training text


class Bench:
    """Runs of one size that were trained, in the result file, and those that are trained when asked for."""

    def __init__(self, tokens: Path, size: Run, result: Path, threads: int) -> None:
        self.tokens, self.size, self.result, self.threads = tokens, size, result, threads
        self.kept: dict[str, Any] = json.loads(result.read_text()) if result.is_file() else {"runs": [], "compared": {}}

    def loss(self, run: Run) -> float:
        """Held-out nats per byte at the end of a run."""
        run = json.loads(json.dumps(self.size | run))
        for done in self.kept["runs"]:
            if run.items() <= done.items():
                return math.inf if done["held_out"] is None else done["held_out"]
        began = time.process_time()
        result = train(self.tokens, self.chosen(run), self.threads, lambda engine: change(engine, run))
        found = round(result.held_out, 4) if math.isfinite(result.held_out) else None
        self.kept["runs"].append(run | {"held_out": found, "cpu_seconds": round(time.process_time() - began, 1)})
        print(time.strftime("%H:%M"), self.kept["runs"][-1], flush=True)
        self.save()
        return math.inf if found is None else found

    def chosen(self, run: Run) -> list[str]:
        wide = (run["width"] / 768) ** -0.5
        scale = 64 / run["width"] if run["optimizer"] == "adamw" else 1.0
        changes = {
            "model.architecture": run["architecture"],
            "tokenizer.vocab_size": VOCAB,
            "seed": run["seed"],
            "train.optimizer": run["optimizer"],
            "train.matrix_lr": run["lr"] * scale,
            # the rates that go with the rule of the package, times `others`
            "train.embedding_lr": 0.3 * wide * (1.0 if run["architecture"] == "seedbed" else 0.025) * run["others"],
            "train.head_lr": 0.008 * wide * run["others"],
            "train.weight_decay": run["decay"],
            "train.warmup_fraction": run["warmup"],
        }
        return settings(run["layers"], run["width"], run["batch_tokens"], run["steps"], changes)

    def search(self, start: Run, names: list[str]) -> Run:
        """The best run, from `start` on, one of the settings `names` after the other."""
        best, optimizer = start, start["optimizer"]
        for name in (name for name in DOUBLED if name in names):
            for factor in (2.0, 0.5):
                for _ in range(MOST_DOUBLINGS):
                    other = best | {name: best[name] * factor}
                    if self.loss(other) >= self.loss(best):
                        break
                    best = other
        for name, values in CHOICES[optimizer].items():
            if name in names:
                best = min((best | {name: value} for value in values), key=self.loss)
        return best

    def save(self) -> None:
        write_json(self.result, {**self.kept, "machine": describe(), "date": time.strftime("%Y-%m-%d")})


def change(engine: Engine, run: Run) -> None:
    """Settings that no recipe has."""
    if isinstance(engine.optimizer.matrices, AdamW):
        engine.optimizer.matrices.betas = tuple(run["betas"])
    schedules.MOMENTUM = run.get("momentum", 0.95)


def compare(adamw: list[float], steps: int, muon: dict[int, list[float]]) -> dict[str, Any]:
    """Steps in which Muon's mean loss comes to AdamW's; `muon`: losses of the seeds by the steps of the runs."""
    target, means = mean(adamw), {number: mean(losses) for number, losses in sorted(muon.items())}
    found: dict[str, Any] = {"adamw": adamw, "adamw_steps": steps, "muon": {str(n): muon[n] for n in means}}
    reached = [number for number, loss in means.items() if loss <= target]
    found["reached_in_at_most"] = round(reached[0] / steps, 3) if reached else None
    if len(means) > 1:
        # the two runs on either side of the target, else the two nearest to it
        short, long = sorted(sorted(means, key=lambda number: abs(means[number] - target))[:2])
        slope = (means[long] - means[short]) / math.log(long / short)
        needed = long * math.exp((target - means[long]) / slope)
        found |= {"muon_steps": round(needed, 1), "ratio": round(needed / steps, 3)}
    return found


def bigram_loss(tokens: Path) -> float:
    """Held-out nats per byte of counted pairs, a tenth of a count added to each: what a run has to be well below of."""
    shards = ShardReader(tokens / "train")
    text = shards.read(0, min(COUNTED, shards.num_tokens))
    pairs = np.full((VOCAB, VOCAB), 0.1)
    np.add.at(pairs, (text[:-1], text[1:]), 1)
    nats = -np.log(pairs / pairs.sum(1, keepdims=True))
    loader = Loader(tokens / "validation", CONTEXT, HELD_OUT_ROWS, 0)
    windows = loader.batch(0)
    return float(nats[windows[:, :-1], windows[:, 1:]].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="gpt2")
    parser.add_argument(
        "--sizes", nargs="+", default=["2x64", "2x96", "2x64@200"], help="layers x width, or layers x width @ steps"
    )
    parser.add_argument("--batch-tokens", type=int, default=8_192)
    parser.add_argument("--steps", type=int, default=100, help="of AdamW's runs")
    parser.add_argument("--share", type=float, default=0.6, help="of AdamW's steps, for which Muon is tuned")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.5], help="other shares of Muon's runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="the first one is tuned with")
    every = [*DOUBLED, *CHOICES["adamw"], *CHOICES["muon"]]
    parser.add_argument("--settings", nargs="+", default=every, choices=every, help="what is searched; the rest stays")
    parser.add_argument(
        "--again", nargs="*", default=["lr"], choices=every, help="what is searched anew at later sizes"
    )
    parser.add_argument("--only", choices=("muon", "adamw"), help="search the settings of one alone")
    parser.add_argument("--threads", type=int, default=usable_cores()[0])
    parser.add_argument("--work", type=Path, help="keep the tokens here")
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results/optimizers.json")
    arguments = parser.parse_args()
    tokens = prepare(arguments.work or Path(tempfile.mkdtemp()) / "run", VOCAB)
    pairs = round(bigram_loss(tokens), 4)
    print(f"counted pairs of bytes: {pairs} nats per byte", flush=True)
    best: dict[str, Run] = {}
    for text in arguments.sizes:
        shape, _, given = text.partition("@")
        layers, width = map(int, shape.split("x"))
        steps = int(given or arguments.steps)
        size = {"layers": layers, "width": width, "architecture": arguments.architecture}
        bench = Bench(tokens, {**size, "batch_tokens": arguments.batch_tokens}, arguments.result, arguments.threads)
        names = arguments.again if best else arguments.settings
        for optimizer, share in (("adamw", 1.0), ("muon", arguments.share)):
            if arguments.only in (None, optimizer):
                first = {"optimizer": optimizer, "seed": arguments.seeds[0], **START[optimizer]}
                start = best.get(optimizer, first) | {"steps": round(share * steps)}
                best[optimizer] = bench.search(start, names)
                print(f"best of {text}: {best[optimizer]}", flush=True)
        if len(best) < 2:
            continue
        adamw = [bench.loss(best["adamw"] | {"seed": seed}) for seed in arguments.seeds]
        muon = {
            number: [bench.loss(best["muon"] | {"seed": seed, "steps": number}) for seed in arguments.seeds]
            for number in (round(share * steps) for share in (arguments.share, *arguments.shares))
        }
        name = f"{arguments.architecture} {shape}, {steps} steps of {arguments.batch_tokens} bytes"
        bench.kept["bigram_loss"] = pairs
        bench.kept["compared"][name] = {"best": dict(best), **compare(adamw, steps, muon)}
        print(f"{name}: {bench.kept['compared'][name]}", flush=True)
        bench.save()


if __name__ == "__main__":
    main()
