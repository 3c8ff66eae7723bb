"""The whole model on rank 0, for looks and autopsies: every rank gives its parts, one weight at a time."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from seedbed.model.config import TransformerConfig
from seedbed.model.transformer import Transformer
from seedbed.train.parallel.mesh import Mesh


class WholeModel:
    def __init__(self, config: TransformerConfig, part: Transformer, mesh: Mesh, device: str) -> None:
        self.part, self.mesh, self.leads = part, mesh, dist.get_rank() == 0
        with torch.device("meta"):
            model = Transformer(config)
        self.names = [name for name in model.state_dict() if not (config.tied_head and name == "head.weight")]
        self.model: Transformer | None = None
        if self.leads:
            self.model = model.to_empty(device=roomy(model, device))
            self.model.tie_head()
            self.model.set_rope_tables(config.context)

    @torch.no_grad()
    def gather(self) -> Transformer | None:
        """Called on all ranks; rank 0 gets a model that is overwritten by the next call, the others None."""
        here = self.part.state_dict()
        stages = self.mesh.size("pp")
        holders = self.holders(here)
        target = self.model.state_dict() if self.model is not None else {}
        for name, holder in zip(self.names, holders, strict=True):
            value: Tensor | None = None
            if name in here and self.mesh.rank("pp") == holder:
                value = here[name].full_tensor() if isinstance(here[name], DTensor) else here[name]
            if stages > 1 and holder > 0:
                value = self.carry(name, value, holder)
            if self.leads:
                assert value is not None
                target[name].copy_(value)
        return self.model

    def holders(self, here: dict[str, Tensor]) -> list[int]:
        """The first stage that holds each name, in every rank of this one's column of stages."""
        mine = torch.tensor([self.mesh.rank("pp") if name in here else 10**6 for name in self.names])
        device = next(iter(here.values())).device
        mine = mine.to(device)
        dist.all_reduce(mine, dist.ReduceOp.MIN, group=self.mesh.group("pp"))
        return mine.tolist()

    def carry(self, name: str, value: Tensor | None, holder: int) -> Tensor | None:
        """From a stage to rank 0, in the column of stages that rank 0 belongs to."""
        group = self.mesh.group("pp")
        ranks = dist.get_process_group_ranks(group)
        if ranks[0] != 0:
            return None
        if self.leads:
            assert self.model is not None
            like = self.model.state_dict()[name]
            buffer = torch.empty_like(like, device=next(self.part.parameters()).device)
            dist.recv(buffer, src=ranks[holder], group=group)
            return buffer
        if value is not None:
            dist.send(value.contiguous(), dst=0, group=group)
        return None


def roomy(model: Transformer, device: str) -> str:
    """`device` where the whole model fits beside the part that trains, else the CPU."""
    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    free, _ = torch.cuda.mem_get_info()
    needed = sum(p.numel() * p.element_size() for p in model.parameters())
    return device if free > 3 * needed else "cpu"
