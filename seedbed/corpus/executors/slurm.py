"""The Slurm executor: an array job over the tasks, on machines that share the run folder's file system.

`sbatch` gets a script that runs `python -m seedbed.corpus.executors.slurm TASKS.json` in every element of the array; the marks
that tasks leave in the folder say what is done. Elements that ended without theirs are submitted again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from seedbed.corpus.executors.tasks import DEATHS_OF_A_TASK, Task, do_task, is_done, too_many_deaths
from seedbed.errors import InputError, SeedbedError
from seedbed.files import write_json, write_text

MAX_ARRAY = 1000  # elements of one array job; Slurm's default MaxArraySize is 1001
OPTION = re.compile(r"[a-z][a-z-]*")


class Slurm:
    """`options`: passed to sbatch as --KEY=VALUE (partition, account, time, mem, ...). `poll_seconds`: between looks."""

    def __init__(
        self, workers: int | None, options: dict[str, str], check_stop: Callable[[], None], poll_seconds: float = 5.0
    ) -> None:
        for key in options:
            if not OPTION.fullmatch(key) or key in ("array", "output", "wrap"):
                raise InputError(f"--executor-option {key}: not an option for sbatch here: give such as partition=cpu")
        if shutil.which("sbatch") is None:
            raise InputError("--executor slurm: there is no sbatch here: run it on a machine that submits to Slurm")
        self.workers = workers
        self.options = options
        self.check_stop = check_stop
        self.poll_seconds = poll_seconds

    def run(self, function: str, tasks: Sequence[tuple[int, Task]], folder: Path) -> Iterator[int]:
        waiting = dict(tasks)
        deaths = dict.fromkeys(waiting, 0)
        while waiting:
            logs = folder / "checkpoints" / "slurm"
            job = self.submit(function, list(waiting.items()), folder.resolve(), logs)
            try:
                while True:
                    running = self.is_running(job)  # asked first: what ends after this is seen in the next round
                    for number in [n for n, task in waiting.items() if is_done(function, n, task, folder)]:
                        del waiting[number]
                        yield number
                    self.check_stop()
                    if not waiting or not running:
                        break
                    time.sleep(self.poll_seconds)
            finally:
                if waiting:
                    subprocess.run(["scancel", job], capture_output=True, check=False)
            for number, task in waiting.items():
                deaths[number] += 1
                if deaths[number] > DEATHS_OF_A_TASK:
                    raise SeedbedError(f"{too_many_deaths(number, task, deaths[number])} (logs: {logs})")

    def submit(self, function: str, tasks: list[tuple[int, Task]], folder: Path, logs: Path) -> str:
        """Submit an array job over `tasks` and give its number."""
        logs.mkdir(parents=True, exist_ok=True)
        elements = min(len(tasks), MAX_ARRAY)
        listed = (logs / f"{function.rpartition(':')[2]}.json").resolve()
        write_json(listed, {"function": function, "folder": str(folder), "elements": elements, "tasks": tasks})
        limit = f"%{self.workers}" if self.workers else ""
        options = {"cpus-per-task": "1", "job-name": "seedbed", **self.options}
        lines = [f"#SBATCH --{key}={value}" for key, value in options.items()]
        lines += [f"#SBATCH --array=0-{elements - 1}{limit}", f"#SBATCH --output={logs.resolve()}/%A-%a.log"]
        command = f"exec {json.dumps(sys.executable)} -m seedbed.corpus.executors.slurm {json.dumps(str(listed))}"
        script = logs / "array.sh"
        write_text(script, "\n".join(["#!/bin/sh", *lines, command, ""]))
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SeedbedError(f"sbatch refused the job ({done.stderr.strip()}): see --executor-option KEY=VALUE")
        return done.stdout.strip().partition(";")[0]

    def is_running(self, job: str) -> bool:
        """Whether any element of the array is still queued or at work."""
        found = subprocess.run(["squeue", "--noheader", "--jobs", job], capture_output=True, text=True, check=False)
        return found.returncode == 0 and bool(found.stdout.strip())


def run_element(listed: Path, element: int) -> None:
    """Every task of one element of the array that has no mark yet."""
    asked = json.loads(listed.read_text(encoding="utf-8"))
    folder = Path(asked["folder"])
    for number, task in asked["tasks"][element :: asked["elements"]]:
        if not is_done(asked["function"], number, task, folder):
            do_task(asked["function"], number, task, folder)


if __name__ == "__main__":
    run_element(Path(sys.argv[1]), int(os.environ["SLURM_ARRAY_TASK_ID"]))
