"""The Ray executor: tasks on a Ray cluster whose machines share the run folder's file system."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seedbed.corpus.executors.tasks import DEATHS_OF_A_TASK, LOOK_SECONDS, Task, do_task, too_many_deaths
from seedbed.errors import InputError, SeedbedError

ANSWER_SECONDS = 10


class Ray:
    """`address`: a running cluster's ("auto", or host:port); without one, a cluster of `workers` processes is started here.

    Workers import seedbed from where they run: install it on every machine of the cluster.
    """

    def __init__(self, workers: int, address: str | None, check_stop: Callable[[], None]) -> None:
        self.workers = workers
        self.address = address
        self.check_stop = check_stop

    def run(self, function: str, tasks: Sequence[tuple[int, Task]], folder: Path) -> Iterator[int]:
        try:
            import ray
        except ImportError:
            raise InputError("--executor ray: Ray is not installed: pip install 'seedbed[ray]'") from None

        started = not ray.is_initialized()
        if started:
            check_reachable(self.address or "")
            where: dict[str, Any] = {"address": self.address} if self.address else {"num_cpus": self.workers}
            try:
                ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:  # a node that does not start in time is no narrower one
                if self.address:
                    raise InputError(f"--executor ray: no cluster at {self.address} ({error}): start one") from None
                raise SeedbedError(
                    f"--executor ray: Ray did not start here ({error}): try again, or leave it out"
                ) from None
        # a task is repeated here, not by Ray: a mark says whether it was done, and the number of deaths is limited
        remote = ray.remote(num_cpus=1, max_retries=0)(do_task)
        waiting, deaths = list(tasks), dict.fromkeys((number for number, _ in tasks), 0)
        in_hand: dict[Any, tuple[int, Task]] = {}
        try:
            while waiting or in_hand:
                while waiting and len(in_hand) < self.workers:
                    number, task = waiting.pop(0)
                    in_hand[remote.remote(function, number, task, folder)] = (number, task)
                done, _ = ray.wait(list(in_hand), num_returns=1, timeout=LOOK_SECONDS)
                self.check_stop()
                for reference in done:
                    number, task = in_hand.pop(reference)
                    try:
                        yield ray.get(reference)
                    except (
                        ray.exceptions.WorkerCrashedError,
                        ray.exceptions.NodeDiedError,
                        ray.exceptions.OutOfMemoryError,
                    ):
                        deaths[number] += 1
                        if deaths[number] > DEATHS_OF_A_TASK:
                            raise too_many_deaths(number, task, deaths[number]) from None
                        waiting.insert(0, (number, task))
                    except ray.exceptions.RayTaskError as error:
                        raise error.as_instanceof_cause() from None
        finally:
            for reference in in_hand:
                ray.cancel(reference, force=True)
            if started:
                ray.shutdown()


def check_reachable(address: str) -> None:
    """Raise InputError where nothing answers at HOST:PORT: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in host:
        return  # "auto", "ray://...": Ray knows
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--executor ray: nothing answers at {address} ({error}): start a cluster there with `ray start --head`, or leave "
            "the address out"
        ) from None
