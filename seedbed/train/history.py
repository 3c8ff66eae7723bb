"""What is kept of a training run for its report: losses of every step, and thinned steps, validations and samples."""

from typing import Any

import numpy as np
import torch

from seedbed.train.engine import Outcome

MAX_RECORDS = 1_000
PER_STEP = ("losses", "transformer_losses", "gradient_norms")


class History:
    """float32 [steps]: `losses` and `transformer_losses` in nats per token, of the mixture and of the transformer alone, and
    `gradient_norms`, before clipping. Steps that are not trained (skipped, or still to come) hold nan.
    """

    def __init__(self, steps: int) -> None:
        self.losses = np.full(steps, np.nan, np.float32)
        self.transformer_losses = np.full(steps, np.nan, np.float32)
        self.gradient_norms = np.full(steps, np.nan, np.float32)
        self.records: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []
        self.every = max(1, steps // MAX_RECORDS)

    def add(self, step: int, outcome: Outcome) -> None:
        self.losses[step], self.transformer_losses[step] = outcome.loss, outcome.transformer_loss
        self.gradient_norms[step] = outcome.gradient_norm

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
        return {"steps": self.records, "validations": self.validations, "samples": self.samples}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays, as tensors over the same memory."""
        return {name: torch.from_numpy(getattr(self, name)) for name in PER_STEP}

    def take_over(self, other: "History", step: int) -> None:
        """The losses of another training up to `step`."""
        self.losses[:step], self.transformer_losses[:step] = other.losses[:step], other.transformer_losses[:step]

    def restore(self, tables: dict[str, Any]) -> None:
        self.records, self.validations, self.samples = tables["steps"], tables["validations"], tables["samples"]

    def clear(self) -> None:
        """Back to before the first step."""
        self.restore({"steps": [], "validations": [], "samples": []})
        for name in PER_STEP:
            getattr(self, name).fill(np.nan)
