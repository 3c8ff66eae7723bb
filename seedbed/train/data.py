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
        self.objective = objective or Causal(loader.context, loader.masks)
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
        if self.loader.masks or self.loader.pads:
            if isinstance(self.objective, Causal):
                return max(1, self.loader.num_targets(step))
            each = None
        rows = self.loader.plan.rows_at(step)
        if each is None:  # rows differ: every rank counts them all, so that none has to ask the others
            return max(1, int((self.rows(step, 0, rows).targets_BT != IGNORED).sum()))
        return rows * each

    def rows(self, step: int, start: int, stop: int) -> Batch:
        """Rows [start, stop) of the global batch of `step`."""
        read = self.loader.read(step, start, stop)
        asked = self.objective.rows(read.tokens, step, start, read.documents)
        inputs, targets = torch.from_numpy(asked.inputs_BT), torch.from_numpy(asked.targets_BT)
        documents = sources = prior = None
        if asked.documents_BT is not None and self.loader.masks:
            documents = torch.from_numpy(asked.documents_BT)
        if read.sources is not None:
            sources = torch.from_numpy(read.sources)
        if self.prior is not None:
            index = self.loader.positions(step, start, stop)[:, 1:]
            prior = torch.from_numpy(self.prior[index].astype(np.float32))
        return Batch(inputs, targets, prior, documents, sources)
