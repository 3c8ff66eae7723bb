"""A rank that is gone ends the others' work at once, and in one line."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from seedbed.errors import SeedbedError
from seedbed.train.parallel import lost_ranks


def sum_twice(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    dist.all_reduce(torch.ones(1))
    if rank == 1:
        os._exit(0)  # as a kill does: nothing is closed or said
    with (
        pytest.raises(
            SeedbedError, match=r"^the connection to another rank broke \(Connection \w+ by peer\), .* to go on"
        ),
        lost_ranks(),
    ):
        dist.all_reduce(torch.ones(10**6))
    (folder / "told").touch()
    os._exit(0)  # gloo's threads outlive their connection, and Python's end waits for them in vain


def test_a_rank_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    mp.spawn(sum_twice, (tmp_path,), 2)
    assert (tmp_path / "told").exists()


def test_errors_of_this_rank_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), lost_ranks():
        raise RuntimeError("shapes do not match")
