"""The local executors: this process alone, or a pool of processes that outlives a killed worker."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from seedbed.corpus.executors.tasks import DEATHS_OF_A_TASK, LOOK_SECONDS, Task, do_task, too_many_deaths


class Inline:
    """One task after the other in this process."""

    def run(self, function: str, tasks: Sequence[tuple[int, Task]], folder: Path) -> Iterator[int]:
        for number, task in tasks:
            yield do_task(function, number, task, folder)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Processes that begin in here never hear Ctrl-C, not while they import either; this one hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def quiet_worker() -> None:
    """Ctrl-C reaches the whole group of processes: the parent decides what becomes of it. One thread a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["POLARS_MAX_THREADS"] = "1"


class Processes:
    """`workers` processes, each with a task in hand. When one is killed, the others' work stands and its task is repeated."""

    def __init__(self, workers: int, check_stop: Callable[[], None]) -> None:
        self.workers = workers
        self.check_stop = check_stop

    def run(self, function: str, tasks: Sequence[tuple[int, Task]], folder: Path) -> Iterator[int]:
        waiting, deaths = list(tasks), dict.fromkeys((number for number, _ in tasks), 0)
        while waiting:
            in_hand: dict[Future[int], tuple[int, Task]] = {}
            pool = open_pool(self.workers)
            try:
                while waiting or in_hand:
                    while waiting and len(in_hand) < self.workers:
                        number, task = waiting.pop(0)
                        with interrupts_held_back():
                            future = pool.submit(do_task, function, number, task, folder)
                        in_hand[future] = (number, task)
                    done, _ = wait(in_hand, LOOK_SECONDS, FIRST_COMPLETED)
                    self.check_stop()
                    for future in done:
                        yield future.result()
                        del in_hand[future]
            except BrokenProcessPool:
                for number, task in in_hand.values():
                    deaths[number] += 1
                    if deaths[number] > DEATHS_OF_A_TASK:
                        raise too_many_deaths(number, task, deaths[number]) from None
                close_pool()
                waiting = [*in_hand.values(), *waiting]
            except BaseException:
                close_pool()
                raise


# The pool outlives one call, since stages follow one another and a worker's imports take about a second.
_open: dict[int, ProcessPoolExecutor] = {}


def open_pool(workers: int) -> ProcessPoolExecutor:
    """The pool of that many processes; another size's is closed."""
    if workers not in _open:
        close_pool()
        # spawn: a fork of a process that runs threads (torch, pyarrow) may hang
        _open[workers] = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), quiet_worker)
    return _open[workers]


def close_pool() -> None:
    """End the workers now; what they have in hand is repeated another time."""
    while _open:
        _, pool = _open.popitem()
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
