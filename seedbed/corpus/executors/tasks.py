"""Tasks with marks: which are done, running the others through an executor, and their results in order."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from seedbed.errors import InputError, SeedbedError
from seedbed.files import read_json, sha256_json, sync, write_json

EXECUTORS = ("local", "ray", "slurm")
DEATHS_OF_A_TASK = 2  # workers that may die with a task in hand; one more, and it counts as the task's fault
LOOK_SECONDS = 0.5  # how often a wish to stop is looked for
SMALL_BYTES = 4 << 20  # starting two workers takes about a second, their imports included; curating this about as long
MARKS = "checkpoints/tasks"  # beneath a stage's folder: `checkpoints` is no part of its output
Task = dict[str, Any]
ShardFunction = Callable[[Task, Path], dict[str, Any]]


@dataclass(frozen=True)
class Execution:
    """Who maps the tasks: `executor` is local, ray or slurm, `workers` processes or jobs at a time (None: as many as
    there are cores). No part of a recipe, since no result depends on it; `options` are the executor's own.
    """

    executor: str = "local"
    workers: int | None = None
    options: dict[str, str] = field(default_factory=dict)


class Executor(Protocol):
    def run(self, function: str, tasks: Sequence[tuple[int, Task]], folder: Path) -> Iterator[int]:
        """Have `do_task` done for every (number, task), and give each number as it finishes, in any order."""
        ...


def load_function(name: str) -> ShardFunction:
    """`package.module:function` -> the function."""
    module, _, attribute = name.partition(":")
    function = getattr(import_module(module), attribute)
    assert callable(function)
    return function


def mark_path(folder: Path, function: str, number: int) -> Path:
    return folder / MARKS / f"{function.rpartition(':')[2]}-{number:06d}.json"


def do_task(function: str, number: int, task: Task, folder: Path) -> int:
    """Run one task here and leave its mark: the result, and a digest of what was asked.

    What the task wrote reaches the disk first: after a power cut a mark must not stand beside half a file.
    """
    before = file_states(folder)
    result = load_function(function)(task, folder)
    for name, _ in file_states(folder).items() - before.items():
        with suppress(FileNotFoundError):
            sync(folder / name)
    sync(folder)
    path = mark_path(folder, function, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"task": sha256_json(task), "result": result})
    return number


def file_states(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Of each file in the folder what changes when it is written: inode, time, bytes."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another worker's file, renamed into place since
                if entry.is_file(follow_symlinks=False):
                    stat = entry.stat()
                    found[entry.name] = stat.st_ino, stat.st_mtime_ns, stat.st_size
    return found


def is_done(function: str, number: int, task: Task, folder: Path) -> bool:
    path = mark_path(folder, function, number)
    try:
        return path.is_file() and bool(read_json(path)["task"] == sha256_json(task))
    except (ValueError, KeyError):  # a mark that a power cut tore
        return False


def run_tasks(
    function: str,
    tasks: Sequence[Task],
    folder: Path,
    execution: Execution | None = None,
    on_done: Callable[[int], None] = lambda number: None,
    check_stop: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """The results of `function` over `tasks`, in the tasks' order; `on_done` hears every task's number as it finishes.

    A task's `bytes` (0 where there is none) says how large it is: work too small for a second process stays in this one.
    """
    waiting = []
    for number, task in enumerate(tasks):
        if is_done(function, number, task, folder):
            on_done(number)
        else:
            waiting.append((number, task))
    if waiting:
        executor = make_executor(execution or Execution(), waiting, check_stop)
        for number in executor.run(function, waiting, folder):
            on_done(number)
            check_stop()
    return [read_json(mark_path(folder, function, number))["result"] for number in range(len(tasks))]


def make_executor(
    execution: Execution, waiting: Sequence[tuple[int, Task]], check_stop: Callable[[], None]
) -> Executor:
    if execution.executor == "slurm":
        from seedbed.corpus.executors.slurm import Slurm

        return Slurm(execution.workers, execution.options, check_stop)
    workers = min(execution.workers or available_cores(), len(waiting))
    if execution.executor == "ray":
        from seedbed.corpus.executors.ray import Ray

        return Ray(execution.workers or available_cores(), execution.options.get("address"), check_stop)
    if execution.executor != "local":
        raise InputError(f"--executor {execution.executor}: no such executor: there are {', '.join(EXECUTORS)}")
    from seedbed.corpus.executors.local import Inline, Processes

    small = sum(task.get("bytes", 0) for _, task in waiting) < SMALL_BYTES
    return Inline() if workers < 2 or (small and execution.workers is None) else Processes(workers, check_stop)


def too_many_deaths(number: int, task: Task, deaths: int) -> SeedbedError:
    return SeedbedError(
        f"{task.get('what', f'task {number}')}: {deaths} workers died over it (killed, or out of memory): give fewer "
        "workers (--workers 1) or leave that input out"
    )


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def close_executors() -> None:
    """End the worker processes that wait for more tasks."""
    from seedbed.corpus.executors.local import close_pool

    close_pool()
