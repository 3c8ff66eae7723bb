"""What training reached and what its time went into: tokens per second, MFU, memory, and every second by kind of work.

    step         forward, backward and optimizer; `useful` are those seconds of them that the weights still hold
    data         waiting for the next rows
    compile      what the first step took beyond the second
    record look checkpoint guard rewind resume       the loop's work beside the steps

A step that is trained again, after a kill or after going back, counts as useful once. Seconds of kinds lie side by side: what is
timed within another kind is taken from it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psutil
import torch

WORK = ("step", "data")
Advance = Literal["trained", "passed", "back"]  # how a step went: passed over, or training went back instead


@dataclass
class Timed:
    how: Advance = "trained"
    waited: float = 0.0


def load_meters(loads: dict[int, list[float]]) -> dict[str, Any]:
    """Of the loads of each layer's experts (1: the mean): the least and the most in any layer, and both by layer."""
    if not loads:
        return {}
    extremes = [(round(min(load), 3), round(max(load), 3)) for load in loads.values()]
    return {
        "expert_load_least": min(least for least, _ in extremes),
        "expert_load_most": max(most for _, most in extremes),
        "expert_loads": extremes,
    }


class Meters:
    """`tokens_before(step)`: those of all trained batches before it. `peak`: FLOP/s that the ranks' devices reach together,
    as measured; `datasheet_peak` as their maker says, where it is known.
    """

    def __init__(
        self,
        tokens_before: Callable[[int], int],
        flops_per_token: float,
        peak: float,
        datasheet_peak: float | None = None,
        device: str = "cpu",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens_before, self.flops_per_token = tokens_before, flops_per_token
        self.peak, self.datasheet_peak, self.device = peak, datasheet_peak, device
        self.clock = clock
        self.process = psutil.Process()
        self.spent: dict[str, float] = {}  # this process's seconds by kind
        self._inner: list[float] = []  # seconds timed within each of the open kinds
        self._steps: list[float] = []  # seconds of the first steps
        self.restart(0, 0.0, 0.0)

    def restart(self, step: int, seconds: float, useful: float) -> None:
        """Training goes on from `step`, reached after `seconds` in all, of which `useful` in its steps."""
        self.began = self.clock() - seconds
        self.seconds = seconds  # of training up to the last step's end, in all processes that it went on in
        self._useful_before = useful - self.spent.get("step", 0.0)
        self._rated = (step, self.working())

    @property
    def useful(self) -> float:
        """Seconds in the steps that made the weights what they are, in all processes."""
        return self._useful_before + self.spent.get("step", 0.0)

    def working(self) -> float:
        return sum(self.spent.get(kind, 0.0) for kind in WORK)

    @contextmanager
    def time(self, kind: str) -> Iterator[None]:
        """Count the block's seconds under `kind`."""
        began = self.clock()
        self._inner.append(0.0)
        try:
            yield
        finally:
            elapsed = self.clock() - began
            self.spend(kind, elapsed - self._inner.pop())
            if self._inner:
                self._inner[-1] += elapsed

    def spend(self, kind: str, seconds: float) -> None:
        self.spent[kind] = self.spent.get(kind, 0.0) + seconds

    @contextmanager
    def step(self) -> Iterator["Timed"]:
        """Count a step's seconds; `how` it went and what it `waited` for rows are filled in by the block."""
        timed, before = Timed(), self.spent.get("step", 0.0)
        with self.time("step"):
            yield timed
        self.now()
        seconds = self.spent["step"] - before
        if timed.how != "trained":
            self.move("guard", seconds)
            return
        self.move("data", timed.waited)
        if len(self._steps) < 2:
            self._steps.append(seconds - timed.waited)
            if len(self._steps) == 2:
                compiling = max(0.0, self._steps[0] - self._steps[1])
                self.move("compile", compiling)
                self._rated = (self._rated[0], self._rated[1] - compiling)

    def now(self) -> None:
        self.seconds = self.clock() - self.began

    def move(self, kind: str, seconds: float) -> None:
        """Seconds counted as the step's were of another kind."""
        self.spend("step", -seconds)
        self.spend(kind, seconds)

    def standing(self, step: int) -> dict[str, Any]:
        """Where training is after `step` steps."""
        tokens = self.tokens_before(step)
        return {
            "step": step,
            "tokens": tokens,
            "seconds": round(self.seconds, 3),
            "flops": tokens * self.flops_per_token,
        }

    def rate(self, step: int) -> dict[str, float]:
        """Tokens per second and MFU of the steps since the last call, without the work beside them."""
        working = self.working()
        tokens = self.tokens_before(step) - self.tokens_before(self._rated[0])
        rate = tokens / max(1e-9, working - self._rated[1])
        self._rated = (step, working)
        found = {
            "tokens_per_second": round(rate, 1),
            "mfu": round(rate * self.flops_per_token / self.peak, 4),
        }
        if self.datasheet_peak:
            found["mfu_datasheet"] = round(rate * self.flops_per_token / self.datasheet_peak, 4)
        return found

    def memory(self) -> dict[str, int]:
        """Bytes: this process's resident memory, and the most that tensors took of its GPU."""
        found = {"memory_bytes": self.process.memory_info().rss}
        if self.device == "cuda":
            found["device_memory_bytes"] = torch.cuda.max_memory_allocated()
        return found

    def times(self) -> dict[str, Any]:
        """This process's seconds by kind, and the useful ones of all processes."""
        return {
            "useful_seconds": round(self.useful, 4),
            "spent": {kind: round(seconds, 4) for kind, seconds in self.spent.items()},
        }
