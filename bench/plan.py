"""How long the planner's questions take: a query, and a full Pareto search over devices, regions and kinds of model.

    python bench/plan.py

Each in a process of its own as a user would start it, the best of three, and in one process without the start. Writes
bench/results/plan.json.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.files import write_json
from seedbed.plan.query import answer
from seedbed.plan.question import Question
from seedbed.run.machine import describe

ROUNDS = 3
QUERY = Question(budget="100000", chip=("h100",), deadline="14d", traffic="2e9/day")
SEARCH = Question(
    budget="100000",
    chip=("h100", "h200", "mi300x"),
    deadline="14d",
    traffic="2e9/day",
    region=("any",),
    experts=(8, 32),
)
COMMAND = ["plan", "query", "--budget-usd", "100000", "--chip", "h100", "--deadline", "14d", "--traffic", "2e9/day"]


def best_seconds(work: Callable[[], Any]) -> float:
    found = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        found = min(found, time.perf_counter() - began)
    return round(found, 3)


def main() -> None:
    full = answer(SEARCH, full=True)
    machine = describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "load_before": round(os.getloadavg()[0], 2),
        "query_s": best_seconds(lambda: answer(QUERY)),
        "query_command_s": best_seconds(
            lambda: subprocess.run([sys.executable, "-m", "seedbed", *COMMAND], check=True, capture_output=True)
        ),
        "full_search_s": best_seconds(lambda: answer(SEARCH, full=True)),
        "full_search_plans": len(full["pareto"]),
    }
    write_json(Path(__file__).parent / "results" / "plan.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
