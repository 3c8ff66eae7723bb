"""The devices of a layout, in order: (pp, dp, ep, fsdp, cp, tp), the last varying fastest, so that tensor parallelism,
which talks most, stays inside a machine.

`ep` is cut out of `fsdp` (or of `dp` where nothing is sharded): its ranks read different rows like the others there.
"""

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from seedbed.recipe.layout import Layout
from seedbed.train.parallel.ranks import Ranks


class Mesh:
    def __init__(self, layout: Layout, device_type: str, ends: bool = False) -> None:
        """`ends`: also make groups of the first and the last stage."""
        self.layout = layout
        sharded = layout.fsdp > 1
        sizes = {
            "pp": layout.pp,
            "dp": layout.dp if sharded else layout.dp // layout.ep,
            "ep": layout.ep,
            "fsdp": layout.fsdp // layout.ep if sharded else 1,
            "cp": layout.cp,
            "tp": layout.tp,
        }
        self.mesh = init_device_mesh(device_type, tuple(sizes.values()), mesh_dim_names=tuple(sizes))
        # what holds different tokens; and with FSDP, what cuts the weights: ranks of cp hold the same ones, so they share too
        self.data = self.mesh["dp", "ep", "fsdp", "cp"]._flatten("data")
        self.shards = self.mesh["ep", "fsdp", "cp"]._flatten("shards")
        self.expert_shards = self.mesh["fsdp", "cp"]._flatten("expert_shards")
        self.expert_data = self.mesh["dp", "fsdp", "cp"]._flatten("expert_data")
        self.ends: dist.ProcessGroup | None = None
        for column in self.mesh.mesh.flatten(1).T.tolist() if ends else []:
            group = dist.new_group([column[0], column[-1]])  # all ranks take part in making each
            if dist.get_rank() in (column[0], column[-1]):
                self.ends = group

    def size(self, name: str) -> int:
        return self[name].size()

    def rank(self, name: str) -> int:
        return self[name].get_local_rank()

    def group(self, name: str) -> dist.ProcessGroup:
        if name == "ends":
            assert self.ends is not None
            return self.ends
        return self[name].get_group()

    def __getitem__(self, name: str) -> DeviceMesh:
        return getattr(self, name) if name in ("data", "shards", "expert_shards", "expert_data") else self.mesh[name]

    @property
    def row_share(self) -> Ranks:
        """This rank among those that read different rows."""
        rank = (self.rank("dp") * self.size("ep") + self.rank("ep")) * self.size("fsdp") + self.rank("fsdp")
        return Ranks(rank, self.layout.row_ways)

    def weights_mesh(self, experts: bool = False) -> DeviceMesh:
        """What FSDP is given: the shards, under copies where there are any (HSDP)."""
        shards = self.expert_shards if experts else self.shards
        return DeviceMesh._concatenate([self.mesh["dp"], shards]) if self.size("dp") > 1 else shards
