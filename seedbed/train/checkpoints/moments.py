"""When to checkpoint and when to leave: rank 0's clock and any rank's signals, heard by all ranks at the same step."""

import time
from collections.abc import Callable
from typing import Any

import torch

from seedbed.train.parallel import Ranks


class Moments:
    """Asked once a step on every rank. Alone the answer is for this step; with others it is what was said at the step before."""

    def __init__(
        self, ranks: Ranks, seconds: float, every_steps: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ranks, self.seconds, self.every_steps, self.clock = ranks, seconds, every_steps, clock
        self._last = clock()
        self._under_way: Any = None
        self._word = torch.zeros(2, dtype=torch.uint8)
        # of its own: its messages are under way while the training's collectives run
        self._group = torch.distributed.new_group(backend="gloo") if ranks.world > 1 else None

    def ask(self, step: int, leave: bool) -> tuple[bool, bool]:
        """Whether to save after `step` steps, and whether to leave; `leave` is what this rank heard of signals."""
        save = self.ranks.leads and self.clock() - self._last > self.seconds
        if self._group is not None:
            save, leave = self._of_the_step_before(save, leave)
        if self.every_steps:
            save |= step % self.every_steps == 0
        if save:
            self._last = self.clock()
        return save, leave

    def _of_the_step_before(self, save: bool, leave: bool) -> tuple[bool, bool]:
        heard = self.close()
        self._word = torch.tensor([save, leave], dtype=torch.uint8)
        most = torch.distributed.ReduceOp.MAX
        self._under_way = torch.distributed.all_reduce(self._word, most, group=self._group, async_op=True)
        return heard

    def close(self) -> tuple[bool, bool]:
        """Wait for the word under way."""
        if self._under_way is None:
            return False, False
        self._under_way.wait()
        self._under_way = None
        save, leave = self._word.tolist()
        return bool(save), bool(leave)
