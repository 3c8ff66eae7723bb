"""A layout built for real on the meta device, as one rank of a process group that is not there: no memory, no messages.

The modules are those that train, cut and wrapped in the same way, so what they say they hold is what a device would hold.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch.distributed as dist

from seedbed.model.config import TransformerConfig
from seedbed.recipe.layout import Layout


@dataclass(frozen=True)
class Constructed:
    weight_bytes: int  # on this rank
    tensors: int
    seconds: float


@contextmanager
def imagined_ranks(rank: int, world: int) -> Iterator[None]:
    """A process group whose collectives do nothing."""
    # the only backend of torch that needs no peers; torchtitan and torch's own tests use it for this
    from torch.testing._internal.distributed.fake_pg import FakeStore

    assert not dist.is_initialized(), "a plan is made outside of training"
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def construct(config: TransformerConfig, layout: Layout, rank: int = 0) -> Constructed:
    """Rank 0 is the first of the first stage and holds as much of that stage as any."""
    from seedbed.train.parallel.sharded import Sharded

    began = time.monotonic()
    with imagined_ranks(rank, layout.devices):
        sharded = Sharded(config, layout, "cpu", bfloat16=True)
        held = [p.to_local() if hasattr(p, "to_local") else p for p in sharded.model.parameters()]
    return Constructed(sum(t.numel() * t.element_size() for t in held), len(held), time.monotonic() - began)
