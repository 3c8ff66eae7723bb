"""What a training step reads: windows of tokens, and beside them what the n-gram expert says of each target."""

from pathlib import Path

import numpy as np
import torch

from seedbed.errors import SeedbedError
from seedbed.tokens.loader import Loader
from seedbed.train.batch import Batch


class TrainingData:
    """Rows of the global batch of any step, as tensors on the CPU. Stateless like the loader."""

    def __init__(self, loader: Loader, prior_path: Path | None, prior_order: int) -> None:
        self.loader = loader
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
        return self.loader.plan.rows_at(step) * self.loader.context

    def rows(self, step: int, start: int, stop: int) -> Batch:
        """Rows [start, stop) of the global batch of `step`."""
        windows = torch.from_numpy(self.loader.rows(step, start, stop))
        inputs, targets = windows[:, :-1].contiguous(), windows[:, 1:].contiguous()
        if self.prior is None:
            return Batch(inputs, targets)
        index = self.loader.positions(step, start, stop)[:, 1:]
        return Batch(inputs, targets, torch.from_numpy(self.prior[index].astype(np.float32)))
