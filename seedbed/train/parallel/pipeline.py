"""Pipeline parallelism: 1F1B over stages (Narayanan et al. 2021), each a `Stage`, by torch.distributed.pipelining."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from seedbed.model.config import TransformerConfig
from seedbed.train.parallel.mesh import Mesh
from seedbed.train.parallel.stage import Stage


class Pipeline:
    def __init__(self, stage: Stage, mesh: Mesh, config: TransformerConfig, device: str) -> None:
        self.stage, self.mesh, self.config, self.device = stage, mesh, config, torch.device(device)
        self.schedules: dict[tuple[int, int], Schedule1F1B] = {}
        self.scale = 1.0
        self.mixed_only = True
        self.losses_R2 = torch.zeros(0, 2)

    def backward(self, micro_batches: list[dict[str, Tensor | None]], scale: float) -> Tensor:
        """Gradients of all micro-batches (of equal size), times `scale`; on the last stage the losses of all R rows [R, 2]."""
        rows = len(micro_batches[0]["tokens_BT"])  # type: ignore[arg-type]
        self.scale = scale
        self.mixed_only = micro_batches[0]["prior_BSP"] is None
        schedule = self.schedule(len(micro_batches), rows)
        joined: dict[str, Any] = {
            name: None if value is None else torch.cat([m[name] for m in micro_batches])  # type: ignore[misc]
            for name, value in micro_batches[0].items()
        }
        tokens = joined.pop("tokens_BT")
        arguments = (tokens,) if self.stage.first else ()
        self.losses_R2 = torch.zeros(len(tokens), 2, device=self.device)
        numbers_R = torch.arange(len(tokens), device=self.device)
        schedule.step(*arguments, target=numbers_R, tokens_BT=tokens, return_outputs=False, **joined)
        return self.losses_R2

    def schedule(self, count: int, rows: int) -> Schedule1F1B:
        if (count, rows) not in self.schedules:
            config, mesh = self.config, self.mesh
            tokens = config.context // mesh.size("cp")
            # the residual stream is float32 under autocast as well
            x = torch.empty(rows, tokens, config.width, device="meta", requires_grad=True)
            between = (x, torch.empty_like(x, requires_grad=True)) if config.residual_scalars else (x,)
            first = (torch.empty(rows, config.context, dtype=torch.int64, device="meta"),)
            stage = PipelineStage(
                self.stage,
                mesh.rank("pp"),
                mesh.size("pp"),
                self.device,
                input_args=first if self.stage.first else between,
                output_args=(torch.empty(rows, 2, device="meta"),) if self.stage.last else between,
                group=mesh.group("pp"),
            )
            self.schedules[count, rows] = Schedule1F1B(stage, count, loss_fn=self.loss, scale_grads=False)
        return self.schedules[count, rows]

    def loss(self, losses_B2: Tensor, numbers_B: Tensor) -> Tensor:
        """What is minimised for the rows with these numbers, whose losses are kept."""
        self.losses_R2[numbers_B] = losses_B2.detach()
        return (losses_B2[:, 0].sum() if self.mixed_only else losses_B2.sum()) * self.scale
