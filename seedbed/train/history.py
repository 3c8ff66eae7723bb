"""What is kept of a training run for its report: losses of every step, and thinned steps, validations and samples."""

from typing import Any

import numpy as np
import torch

MAX_RECORDS = 1_000


class History:
    """`losses` and `transformer_losses` are float32 [steps], nats per token, of the mixture and of the transformer alone."""

    def __init__(self, steps: int) -> None:
        self.losses = np.full(steps, np.nan, np.float32)
        self.transformer_losses = np.full(steps, np.nan, np.float32)
        self.records: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []
        self.every = max(1, steps // MAX_RECORDS)

    def add(self, step: int, loss: float, transformer_loss: float) -> None:
        self.losses[step], self.transformer_losses[step] = loss, transformer_loss

    def smoothed(self, step: int, window: int = 50) -> float:
        """Mean loss of the last `window` steps up to `step`."""
        return float(self.losses[max(0, step + 1 - window) : step + 1].mean())

    def tables(self) -> dict[str, Any]:
        return {"steps": self.records, "validations": self.validations, "samples": self.samples}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays, as tensors over the same memory."""
        return {
            "losses": torch.from_numpy(self.losses),
            "transformer_losses": torch.from_numpy(self.transformer_losses),
        }

    def restore(self, tables: dict[str, Any]) -> None:
        self.records, self.validations, self.samples = tables["steps"], tables["validations"], tables["samples"]
