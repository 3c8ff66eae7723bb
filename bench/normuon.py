"""NorMuon, Muon's weight decay and five polar steps against the default Muon: held-out losses at equal steps, over seeds.

    python bench/normuon.py [--width 64] [--layers 4] [--steps 150] [--seeds 1 2 3]

NorMuon (Li et al. 2025, algorithm 1) divides each row of the orthogonal update by the root of its running mean square, and keeps
the update's norm. It lives here, not in the package: see docs/experiments/optimizers.md. Writes bench/results/normuon.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from small_runs import prepare, settings, train
from torch import Tensor

from seedbed.run.machine import describe, usable_cores
from seedbed.train.optimizers import group
from seedbed.train.optimizers.muon import Muon

BATCH_TOKENS = 2048
RESULT = Path(__file__).parent / "results/normuon.json"


class NorMuon(Muon):
    BETA2 = 0.95  # the paper's

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.rows_NR1 = {key: torch.zeros_like(m[..., :1]) for key, m in self.momentum_NRC.items()}

    def direction(self, key: str, momentum_NRC: Tensor) -> Tensor:
        orthogonal = super().direction(key, momentum_NRC)
        rows_NR1 = self.rows_NR1[key].lerp_(orthogonal.square().mean(2, keepdim=True), 1 - self.BETA2)
        scaled = orthogonal / (rows_NR1.sqrt() + 1e-8)
        return scaled * (norms(orthogonal) / (norms(scaled) + 1e-8))


def norms(x_NRC: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x_NRC, dim=(1, 2), keepdim=True)


# name -> class, polar steps, settings
ARMS: dict[str, tuple[type[Muon], int, dict[str, Any]]] = {
    "muon": (Muon, 3, {}),
    "normuon": (NorMuon, 3, {}),
    "weight decay 0.1": (Muon, 3, {"train.weight_decay": 0.1}),
    "five polar steps": (Muon, 5, {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--work", type=Path, help="keep the tokens here")
    arguments = parser.parse_args()
    tokens = prepare(arguments.work or Path(tempfile.mkdtemp()) / "run")
    threads = usable_cores()[0]
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    size = f"{arguments.layers} x {arguments.width}, {arguments.steps} steps of {BATCH_TOKENS} tokens"
    losses: dict[str, list[float]] = {name: [] for name in ARMS}
    seconds: dict[str, list[float]] = {name: [] for name in ARMS}
    for seed in arguments.seeds:
        for name, (kind, polar_steps, changes) in ARMS.items():
            group.Muon, group.POLAR_STEPS = kind, polar_steps  # type: ignore[misc]
            chosen = settings(
                arguments.layers, arguments.width, BATCH_TOKENS, arguments.steps, {**changes, "seed": seed}
            )
            result = train(tokens, chosen, threads)
            losses[name].append(round(result.held_out, 4))
            seconds[name].append(round(result.seconds, 1))
            print(f"{size}, seed {seed}: {name} {result.held_out:.4f} ({result.seconds:.1f} s)", flush=True)
        kept[size] = {
            name: {"held_out": values, "mean": round(statistics.mean(values), 4), "seconds": seconds[name]}
            for name, values in losses.items()
        }
        RESULT.write_text(
            json.dumps({**kept, "machine": describe(), "date": time.strftime("%Y-%m-%d")}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
