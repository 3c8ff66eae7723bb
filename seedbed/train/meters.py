"""What training reached and what its time went into: tokens per second, MFU, seconds by kind of work."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
    """`tokens_before(step)`: those of all batches before it. `peak`: FLOP/s that the ranks' devices reach together."""

    def __init__(
        self,
        tokens_before: Callable[[int], int],
        flops_per_token: float,
        peak: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens_before, self.flops_per_token, self.peak = tokens_before, flops_per_token, peak
        self.clock = clock
        self.seconds = 0.0  # of training up to the last step's end, in all processes that it went on in
        self.spent: dict[str, float] = {}  # of this process's seconds, those beside the steps, by kind
        self.restart(0, 0.0)

    def restart(self, step: int, seconds: float) -> None:
        """Training goes on from `step`, reached after `seconds`."""
        self.began = self.clock() - seconds
        self.seconds = seconds
        self.rated = (step, seconds - sum(self.spent.values()))  # steps and working seconds when a rate was last taken

    def step_done(self) -> None:
        self.seconds = self.clock() - self.began

    @contextmanager
    def time(self, kind: str) -> Iterator[None]:
        """Count the seconds of the block under `kind`, apart from the steps'."""
        before = self.clock()
        yield
        self.spent[kind] = self.spent.get(kind, 0.0) + self.clock() - before

    def standing(self, step: int) -> dict[str, Any]:
        """Where training is after `step` steps."""
        return {
            "step": step,
            "tokens": self.tokens_before(step),
            "seconds": round(self.seconds, 3),
            "flops": self.tokens_before(step) * self.flops_per_token,
        }

    def rate(self, step: int) -> dict[str, float]:
        """Tokens per second and MFU of the steps since the last call, without the work beside them."""
        working = self.seconds - sum(self.spent.values())
        tokens = self.tokens_before(step) - self.tokens_before(self.rated[0])
        rate = tokens / max(1e-9, working - self.rated[1])
        self.rated = (step, working)
        return {
            "tokens_per_second": round(rate, 1),
            "mfu": round(rate * self.flops_per_token / self.peak, 4),
        }
