"""The loss by source of a mixture, summed where it is computed and read once a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seedbed.train.batch import IGNORED

if TYPE_CHECKING:  # a GPU machine may have torch and NumPy alone (bench/gpu_train.py)
    from seedbed.tokens.loader import Loader


class SourceLosses:
    """Sums since the last `take`: of the steps that were kept, and of the step under way, which may yet be dropped."""

    def __init__(self, loader: Loader, device: str) -> None:
        self.names = [group.name for group in loader.shards.groups] if loader.mixture else []
        self.kept_2S = torch.zeros(2, len(self.names), device=device)
        self.step_2S = torch.zeros_like(self.kept_2S)

    def add(self, sources_B: Tensor | None, targets_BT: Tensor, losses_B: Tensor) -> None:
        """Of a micro-batch each row's source, targets and the sum of their losses. Nothing happens without a mixture.

        Of a row that is cut among ranks, the targets here and their losses.
        """
        if not self.names or sources_B is None:
            return
        device = self.step_2S.device
        asked_B = (targets_BT != IGNORED).sum(1).to(device)
        self.step_2S.index_add_(1, sources_B.to(device), torch.stack((losses_B.float(), asked_B.float())))

    def keep(self) -> None:
        if self.names:
            self.kept_2S += self.step_2S
            self.step_2S.zero_()

    def drop(self) -> None:
        self.step_2S.zero_()

    def take(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Mean nats per target of each source that was seen, and begin anew. On all ranks at the same step."""
        if not self.names:
            return {}
        losses, targets = sum_over_ranks(self.kept_2S.clone()).tolist()
        self.kept_2S.zero_()
        seen = zip(self.names, losses, targets, strict=True)
        return {name: round(loss / count, 4) for name, loss, count in seen if count}
