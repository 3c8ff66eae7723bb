"""Optimizers on parameters spread over ranks move them as one process does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from seedbed.train.optimizers.adamw import AdamW, RowAdamW
from seedbed.train.optimizers.muon import Muon

STEPS = 3
# three matrices of seven rows: neither divides among two ranks
MATRICES = {"a": (7, 12), "b": (7, 12), "c": (7, 12), "d": (12, 8), "experts": (4, 6, 10)}
TABLE = (9, 4)


def draw(name: str, step: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(name.encode()) + 1000 * step)
    return torch.randn(*shape, generator=generator)


def table_gradient(step: int) -> Tensor:
    gradient = draw("table", step, *TABLE)
    gradient[step::3] = 0  # rows that this batch did not touch
    return gradient


def move(place: Callable[[Tensor], Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and state after some steps of each optimizer, on parameters and gradients laid out by `place`."""
    parameters = {name: place(draw(name, 0, *shape)) for name, shape in MATRICES.items()}
    vectors = {"matrix": place(draw("matrix", 0, 5, 3)), "vector": place(draw("vector", 0, 5))}
    table = {"table": place(draw("table", 0, *TABLE))}
    muon = Muon(parameters, weight_decay=0.1, polar_steps=3)
    adamw, rows = AdamW(vectors, (0.9, 0.95), 1e-8, 0.1), RowAdamW(table, 0.995, 1e-10)
    for step in range(1, STEPS + 1):
        for name, value in [*parameters.items(), *vectors.items()]:
            value.grad = place(draw(name, step, *value.shape))
        table["table"].grad = place(table_gradient(step))
        muon.step(0.02, 0.9)
        adamw.step(0.01, step)
        rows.step(0.1)
        if step == 2:  # what was saved goes on elsewhere
            for optimizer in (muon, adamw, rows):
                optimizer.load_state({name: value.clone() for name, value in optimizer.state().items()})
    return parameters | vectors | table, muon.state() | adamw.state() | rows.state()


def on_a_rank(rank: int, world: int, folder: str, layout: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    if layout == "rows by columns":
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        placements: Any = lambda t: [Shard(0), Shard(t.ndim - 1) if t.ndim > 1 else Replicate()]  # noqa: E731
    elif layout == "copies of rows":
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("copies", "shards"))
        placements = lambda t: [Replicate(), Shard(0)]  # noqa: E731
    else:
        mesh = init_device_mesh("cpu", (world,))
        placements = lambda t: [Shard(0)]  # noqa: E731

    def place(tensor: Tensor) -> Tensor:
        # a table's rows stay whole, as tensor parallelism splits the vocabulary
        chosen = [Replicate(), Shard(0)] if tuple(tensor.shape) == TABLE and mesh.ndim == 2 else placements(tensor)
        return distribute_tensor(tensor, mesh, chosen)

    weights, state = move(place)
    whole = {name: value.full_tensor() for name, value in (weights | state).items()}
    if rank == 0:
        torch.save(whole, f"{folder}/{layout}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("layout", "world"),
    [
        ("rows", 2),
        pytest.param("rows by columns", 4, marks=pytest.mark.slow),
        pytest.param("copies of rows", 4, marks=pytest.mark.slow),
    ],
)
def test_spread_parameters_move_as_whole_ones_do(layout: str, world: int, tmp_path: Path) -> None:
    mp.spawn(on_a_rank, (world, str(tmp_path), layout), world)
    found = torch.load(tmp_path / f"{layout}.pt", weights_only=True)
    weights, state = move(lambda tensor: tensor)
    assert found.keys() == (weights | state).keys()
    for name, expected in (weights | state).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=2e-6, msg=lambda text, n=name: f"{n}: {text}")
