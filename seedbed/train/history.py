"""What is kept of a training run for its report: losses of every step, and thinned steps, validations and samples."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from seedbed.train.engine import Outcome

MAX_RECORDS = 1_000
PER_STEP = ("losses", "transformer_losses", "gradient_norms", "batches")


class History:
    """float32 [steps]: `losses` and `transformer_losses` in nats per token, of the mixture and of the transformer alone, and
    `gradient_norms`, before clipping. Steps that are not trained (skipped, or still to come) hold nan.

    int64 [steps]: `batches`, the digest of each global batch that was trained on (batch_digest.py), -1 where none was. It is
    known from `settle` on; until then `own_rows` holds those of this rank's rows.
    """

    def __init__(self, steps: int) -> None:
        self.losses = np.full(steps, np.nan, np.float32)
        self.transformer_losses = np.full(steps, np.nan, np.float32)
        self.gradient_norms = np.full(steps, np.nan, np.float32)
        self.batches = np.full(steps, -1, np.int64)
        self.own_rows = np.full(steps, -1, np.int64)
        self.settled = 0
        self.records: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []
        self.norms: list[dict[str, Any]] = []
        self.every = max(1, steps // MAX_RECORDS)

    def add(self, step: int, outcome: Outcome, rows_digest: int) -> None:
        self.losses[step], self.transformer_losses[step] = outcome.loss, outcome.transformer_loss
        self.gradient_norms[step] = outcome.gradient_norm
        self.own_rows[step] = rows_digest

    def settle(self, step: int, sum_over_ranks: Callable[[np.ndarray], np.ndarray]) -> None:
        """Make the digests of the steps before `step` those of the global batches. On all ranks at the same step."""
        own = self.own_rows[self.settled : step]
        self.batches[self.settled : step] = np.where(own < 0, -1, sum_over_ranks(own.clip(0)))
        self.settled = step

    def smoothed(self, step: int, window: int = 50) -> float:
        """Mean loss of the trained ones among the last `window` steps up to `step`."""
        values = self.losses[max(0, step + 1 - window) : step + 1]
        values = values[np.isfinite(values)]
        return float(values.mean()) if values.size else float("nan")

    def last_norm(self, step: int) -> float | None:
        """Gradient norm of `step`; None if it was not trained."""
        value = float(self.gradient_norms[step])
        return float(f"{value:.5g}") if np.isfinite(value) else None

    def tables(self) -> dict[str, Any]:
        return {
            "steps": self.records,
            "validations": self.validations,
            "samples": self.samples,
            "norms": self.norms,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays, as tensors over the same memory."""
        return {name: torch.from_numpy(getattr(self, name)) for name in PER_STEP}

    def take_over(self, other: "History", step: int) -> None:
        """What another training recorded of its steps before `step`."""
        theirs = other.tensors()
        for name, values in self.tensors().items():
            values[:step] = theirs[name][:step]

    def restore(self, tables: dict[str, Any], step: int) -> None:
        """Go on from `step`; `tensors()` are filled."""
        self.settled = step
        self.records, self.validations, self.samples = tables["steps"], tables["validations"], tables["samples"]
        self.norms = tables["norms"]

    def clear(self) -> None:
        """Back to before the first step."""
        self.restore({"steps": [], "validations": [], "samples": [], "norms": []}, 0)
        for values in (self.losses, self.transformer_losses, self.gradient_norms):
            values.fill(np.nan)
        for digests in (self.batches, self.own_rows):
            digests.fill(-1)
