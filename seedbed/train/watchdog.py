"""Notices a step that does not end: a rank that waits for another, a driver or a disk that hangs.

It writes the stacks of all threads into the stage's folder and says so. Under torchrun it then ends the process, so that the
launcher starts all ranks again and they go on from the last checkpoint; alone, it leaves the decision to the user.
"""

import faulthandler
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

USUAL_STEPS = 20.0  # a step is stuck after so many times its usual duration
UNUSUAL_SECONDS = 1800.0  # for what is long by nature: the first steps, which compile, looks, checkpoints, going back
FIRST_STEPS = 3
PATIENT_FACTOR = (
    10.0  # ranks beyond the first cannot tell a stuck rank 0 from one that looks or saves: they wait longer
)
TELLING_SECONDS = 5.0
LEAVING_STATUS = 1


class Watchdog:
    """`with Watchdog(...) as watchdog:` around the steps, `watchdog.beat()` after each.

    `least_seconds` 0 switches it off. `leave` ends the process; None where no launcher would start it again.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        least_seconds: float,
        emit: Callable[..., None],
        leave: Callable[[int], Any] | None,
        tick_seconds: float = 1.0,
    ) -> None:
        self.path = folder / f"stuck-rank-{rank}.txt"
        self.rank, self.least_seconds, self.emit, self.leave = rank, least_seconds, emit, leave
        self.tick_seconds = tick_seconds
        self.step = 0
        self.durations: deque[float] = deque(maxlen=128)
        self.told = False
        self._quiet = (
            0.0  # seconds since the last beat in which this process was running: a stopped process is not stuck
        )
        self._last = time.monotonic()
        self._unusual = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self.least_seconds:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()

    def beat(self, step: int) -> None:
        """`step` steps are done."""
        now = time.monotonic()
        self.durations.append(now - self._last)
        self.step, self._last, self._quiet = step, now, 0.0
        if self.told:
            self.told = False
            self._tell("went on", f"training went on after step {step - 1}, which had seemed stuck")

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Around work between the steps that may take long."""
        self._unusual, self._quiet = True, 0.0
        yield
        self._unusual, self._quiet, self._last = False, 0.0, time.monotonic()

    def limit(self) -> float:
        """Seconds after which the present step counts as stuck."""
        if self._unusual or len(self.durations) < FIRST_STEPS:
            return max(UNUSUAL_SECONDS, self.least_seconds)
        return max(self.least_seconds, USUAL_STEPS * statistics.median(list(self.durations)))

    def _watch(self) -> None:
        while not self._end.wait(self.tick_seconds):
            self._quiet += self.tick_seconds
            limit = self.limit()
            if self._quiet > limit and not self.told:
                self.told = True
                self._dump(limit)
            if self._quiet > limit * (PATIENT_FACTOR if self.rank else 1.0) and self.leave is not None:
                self.leave(LEAVING_STATUS)

    def _dump(self, limit: float) -> None:
        line = f"step {self.step} has not ended for {limit:.0f} s"
        with self.path.open("a", encoding="utf-8") as file:
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", file=file, flush=True)
            faulthandler.dump_traceback(file, all_threads=True)
        action = "restart" if self.leave is not None and not self.rank else "none"
        then = "; this process ends, for the launcher to start again" if action == "restart" else ""
        # by another thread: the stuck one may hold what telling needs
        teller = threading.Thread(target=self._tell, args=(action, f"{line}: stacks in {self.path}{then}"), daemon=True)
        teller.start()
        teller.join(TELLING_SECONDS)

    def _tell(self, action: str, message: str) -> None:
        self.emit("intervention", step=self.step, cause="stuck", action=action, message=message)


def launcher_exit() -> Callable[[int], Any] | None:
    """What ends this process at once, where torchrun would start it again."""
    return os._exit if "TORCHELASTIC_RUN_ID" in os.environ else None
