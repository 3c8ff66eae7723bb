"""What a training step reads: windows of text as its objective turns them, and what the n-gram expert says of each target."""

from pathlib import Path

import numpy as np
import torch

from seedbed.errors import SeedbedError
from seedbed.tokens.loader import Loader
from seedbed.train.batch import IGNORED, Batch
from seedbed.train.objectives import Causal, Objective


class TrainingData:
    """Rows of the global batch of any step, as tensors on the CPU. Stateless like the loader."""

    def __init__(
        self, loader: Loader, prior_path: Path | None, prior_order: int, objective: Objective | None = None
    ) -> None:
        self.loader = loader
        self.objective = objective or Causal(loader.context)
        self.prior: np.ndarray | None = None
        if prior_path is not None:
            expected = loader.num_tokens * prior_order * 2
            if not prior_path.is_file() or prior_path.stat().st_size != expected:
                raise SeedbedError(
                    f"{prior_path}: expected {expected:,} bytes: delete {prior_path.parent} and run the same command again"
                )
            self.prior = np.memmap(prior_path, np.float16, mode="r", shape=(loader.num_tokens, prior_order))

    def num_targets(self, step: int) -> int:
        """Targets of the whole global batch: its loss is a mean over them, however the rows are shared out."""
        each = self.objective.targets_per_row
        if each is None:  # rows differ: every rank counts them all, so that none has to ask the others
            _, targets_BT = self.objective.rows(self.loader.batch(step), step, 0)
            return max(1, int((targets_BT != IGNORED).sum()))
        return self.loader.plan.rows_at(step) * each

    def rows(self, step: int, start: int, stop: int) -> Batch:
        """Rows [start, stop) of the global batch of `step`."""
        asked = self.objective.rows(self.loader.rows(step, start, stop), step, start)
        inputs, targets = map(torch.from_numpy, asked)
        if self.prior is None:
            return Batch(inputs, targets)
        index = self.loader.positions(step, start, stop)[:, 1:]
        return Batch(inputs, targets, torch.from_numpy(self.prior[index].astype(np.float32)))
