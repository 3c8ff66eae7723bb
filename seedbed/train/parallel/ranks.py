"""Data parallelism: ranks hold the same weights, each works on its rows of the global batch, and gradients are summed.

`torchrun` starts the ranks. Sparse gradients of the tables are gathered, dense ones reduced in one flat buffer.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from seedbed.errors import InputError, SeedbedError

BROKEN = re.compile(r"Connection \w+( by peer)?|[Tt]imed out[^.\n]*|remote process exited")


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, rows: int) -> tuple[int, int]:
        """First and last + 1 row of this rank's share of a global batch."""
        if rows % self.world:
            raise InputError(f"train.batch_tokens: {rows} rows do not divide among {self.world} ranks: change either")
        each = rows // self.world
        return self.rank * each, (self.rank + 1) * each


def join_ranks() -> Ranks:
    """Join the process group that torchrun describes in the environment; alone without one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks()
    if not dist.is_initialized():
        use_cuda = torch.cuda.is_available()
        if use_cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # the first stages run on rank 0 alone while the others wait
        backend, patience = "nccl" if use_cuda else "gloo", timedelta(hours=12)
        if os.environ.get("GROUP_WORLD_SIZE") == "1" and "TORCHELASTIC_RESTART_COUNT" in os.environ:
            # ranks that torchrun started again find the same store as before, and in it the addresses of those that are gone
            store, rank, world = next(rendezvous("env://", timeout=patience))
            store = dist.PrefixStore(f"start-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
            dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=patience)
        else:
            dist.init_process_group(backend, timeout=patience)
    return Ranks(dist.get_rank(), dist.get_world_size())


@contextmanager
def lost_ranks() -> Iterator[None]:
    """Around work with other ranks: a broken connection to one of them ends it in one line."""
    try:
        yield
    except RuntimeError as error:  # torch's, of NCCL and its stores, are of this type; gloo's have no type of their own
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        found = BROKEN.search(str(error))
        why = found[0] if found else next(iter(str(error).splitlines()), "")
        raise SeedbedError(
            f"the connection to another rank broke ({why}), whose own message says more: "
            "run the same command again to go on from the last checkpoint"
        ) from None


def sum_gradients(model: nn.Module, ranks: Ranks) -> None:
    """Sum every gradient over the ranks, in place."""
    if ranks.world == 1:
        return
    dense: list[Tensor] = []
    for parameter in model.parameters():
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            parameter.grad = gather_sparse(gradient, ranks)
        else:
            dense.append(gradient)
    flat = torch.cat([g.flatten() for g in dense])
    dist.all_reduce(flat)
    for gradient, summed in zip(dense, flat.split([g.numel() for g in dense]), strict=True):
        gradient.copy_(summed.view_as(gradient))


def gather_sparse(gradient: Tensor, ranks: Ranks) -> Tensor:
    """All ranks' rows of a table's gradient. Ranks may hold different numbers of them: micro-batches are merged when added."""
    indices, values = gradient._indices(), gradient._values()
    counts = torch.zeros(ranks.world, dtype=torch.int64, device=values.device)
    counts[ranks.rank] = values.shape[0]
    dist.all_reduce(counts)
    held = counts.tolist()
    most = max(held)
    sent_indices = indices.new_zeros(1, most)
    sent_values = values.new_zeros(most, values.shape[1])
    sent_indices[:, : held[ranks.rank]], sent_values[: held[ranks.rank]] = indices, values
    all_indices = [torch.empty_like(sent_indices) for _ in held]
    all_values = [torch.empty_like(sent_values) for _ in held]
    dist.all_gather(all_indices, sent_indices)
    dist.all_gather(all_values, sent_values)
    rows = torch.cat([part[:, :n] for part, n in zip(all_indices, held, strict=True)], dim=1)
    found = torch.cat([part[:n] for part, n in zip(all_values, held, strict=True)])
    return torch.sparse_coo_tensor(rows, found, gradient.shape, check_invariants=False)


def sum_scalars(values: Tensor, ranks: Ranks) -> Tensor:
    if ranks.world > 1:
        dist.all_reduce(values)
    return values


def gather_rows(values: Tensor, ranks: Ranks, device: str) -> Tensor:
    """The whole of a tensor [n, rows, ...] on the CPU, of which each rank has its share of the rows. On every rank."""
    if ranks.world == 1:
        return values
    mine = values.to(device).contiguous()  # NCCL reads the GPU's memory only
    parts = [torch.empty_like(mine) for _ in range(ranks.world)]
    dist.all_gather(parts, mine)
    return torch.cat(parts, 1).cpu()
