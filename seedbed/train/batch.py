"""Some rows of a global batch, as the engine takes them: what goes in, what is asked, and what each position belongs to.

Objective, packing and loader decide the contents; the engine and the model only follow them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from seedbed.model.head_loss import IGNORED

__all__ = ["IGNORED", "Batch"]


@dataclass(frozen=True)
class Batch:
    """B rows of T positions, on the CPU unless moved.

    `inputs_BT`: int64 tokens. `targets_BT`: int64, the token asked at each position, `IGNORED` where none is.
    `prior_BTP`: float32, what the n-gram expert says of each target; None without an expert.
    `documents_BT`: int64, the number of each position's document within its row, -1 for padding; None where attention
    may cross documents. `sources_B`: int64, the number of each row's source; None where it is not known.
    """

    inputs_BT: Tensor
    targets_BT: Tensor
    prior_BTP: Tensor | None = None
    documents_BT: Tensor | None = None
    sources_B: Tensor | None = None

    def to(self, device: str | torch.device) -> "Batch":
        """The same rows on `device`. A GPU copies them from pinned memory, for otherwise the CPU would wait until it does."""
        pinned = torch.device(device).type == "cuda"

        def moved(t: Tensor) -> Tensor:
            return (t.pin_memory() if pinned and t.device.type == "cpu" else t).to(device, non_blocking=True)

        return Batch(*(None if t is None else moved(t) for t in vars(self).values()))  # type: ignore[arg-type]
