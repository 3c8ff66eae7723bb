"""Scaling laws on published points: the golden values beside what we fit, how well intervals hold, and how long fits take.

    python bench/laws.py [--data FOLDER] [--bootstraps 1000]

Reads the points of Besiroglu et al., Llama 3, Marin and Muennighoff et al. (default: ../shared/data/laws).
Writes bench/results/laws.json.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.files import write_json
from seedbed.laws import PUBLISHED, Points
from seedbed.laws.compare import held_out_errors
from seedbed.laws.design import next_run
from seedbed.laws.fit import Outliers, best_fit, fit_law
from seedbed.laws.forms import CHINCHILLA, KAPLAN, REPETITION, TIED
from seedbed.laws.isoflop import analyse
from seedbed.laws.points import parse_points
from seedbed.laws.text import plain_json
from seedbed.run.machine import describe

GOLDEN = {"E": 1.8172, "A": 477.8, "B": 2143.0, "alpha": 0.3473, "beta": 0.3672}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, round(time.perf_counter() - start, 3)


def read(folder: Path, name: str, where: Sequence[str] = ()) -> Points:
    """The points under their file's bare name: results say nothing of this machine's folders."""
    return parse_points((folder / name).read_text(encoding="utf-8"), name, where)


def covered(points: Points, share: float) -> dict[str, float]:
    """The share of the largest runs inside a law of the rest, with plain intervals and as the rest's own largest widen them."""
    rest, largest = points.split_largest(share)
    found = {}
    for name, calibrate in (("plain", False), ("widened", True)):
        law = fit_law(rest, CHINCHILLA, Outliers(5), 300, calibrate=calibrate)
        low, high = law.ends(largest.inputs, 0.9)
        found[name] = round(float(((low <= largest.loss) & (largest.loss <= high)).mean()), 3)
    return found


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "laws"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--bootstraps", type=int, default=1000)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]

    chinchilla = read(options.data, "chinchilla_points.csv")
    five = Outliers(5)
    (theta, cost, share), start_seconds = timed(lambda: best_fit(CHINCHILLA, five.kept(chinchilla)))
    found = {name: float(value) for name, value in CHINCHILLA.natural(theta).items()}
    law, fit_seconds = timed(lambda: fit_law(chinchilla, CHINCHILLA, five, options.bootstraps))
    everything, _, _ = best_fit(CHINCHILLA, chinchilla)
    held = held_out_errors(chinchilla, [CHINCHILLA, TIED, KAPLAN], five)
    coverage = {share: covered(chinchilla, share) for share in (0.1, 0.2, 0.3)}
    proposal, next_seconds = timed(lambda: next_run(law, 1e21, 7e10, 1.4e12))

    llama = analyse(read(options.data, "extract_llama_3_isoflops.csv", ["condition=raw_loss"]))
    marin = analyse(read(options.data, "extract_marin_202603_isoflops.csv", ["dataset=nemotron"]))

    runs = read(options.data, "datablations_runs.csv")
    base = PUBLISHED["muennighoff"]
    fixed = frozenset({"E", "A", "B", "alpha"})
    repetition = {}
    for drop in (0, 20):
        fitted, seconds = timed(
            lambda drop=drop: fit_law(
                runs, REPETITION, Outliers(drop), options.bootstraps, start=base.theta, fixed=fixed, calibrate=False
            )
        )
        ends = fitted.intervals()
        repetition[f"{drop} highest dropped"] = {
            name: {"value": fitted.parameters[name], "interval": ends[name]} for name in ("R_D", "R_N")
        } | {"seconds": seconds}

    machine = describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "numpy": np.__version__,
        "load_before": round(load_before, 2),
        "chinchilla": {
            "golden": GOLDEN,
            "found": found,
            "share_of_starts_in_the_minimum": share,
            "objective": cost,
            "intervals": law.intervals(),
            "beta_with_all_points": float(everything[4]),
            "widening": law.widening,
            "range": vars(law.fitted),
            "covariance": np.cov(law.draws.T).tolist(),
            "residuals_68%": float(np.quantile(np.abs(law.residuals), 0.683)),
            "held_out_largest": held,
            "held_out_inside_90%": coverage,
            "next_run": proposal,
        },
        "llama_3": {"tokens": llama.tokens, "golden": "0.299 C^0.537", "bias": llama.bias},
        "marin_nemotron": {"tokens": marin.tokens, "bias": marin.bias},
        "muennighoff": {
            "golden": 2.22564409,
            "found": base.loss(6.34e9, 242e9, unique_tokens=25e9),
            "published": {"R_D": 15.388, "R_N": 5.310},
            **repetition,
        },
        "seconds": {
            f"fit, {options.bootstraps} bootstraps, calibrated": fit_seconds,
            "27 starts": start_seconds,
            "next run": next_seconds,
        },
    }
    write_json(Path(__file__).parent / "results" / "laws.json", plain_json(result))
    print(json.dumps(plain_json(result), indent=1))


if __name__ == "__main__":
    main()
