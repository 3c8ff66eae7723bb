"""A checkpoint of two ranks is read on one, and one of one on two: tensors whole, spread by rows or columns, or by FSDP2."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seedbed.errors import InputError, SeedbedError
from seedbed.train.checkpoints import Checkpoints, Moments, list_checkpoints, merge_tensors
from seedbed.train.parallel import Ranks

Events = list[tuple[str, dict[str, Any]]]
WORLD = 2


def full(value: float) -> dict[str, torch.Tensor]:
    """Whole tensors; five rows do not divide among two ranks, and one row leaves a rank with none."""
    return {
        "model/rows": torch.arange(15.0).reshape(5, 3) * value,
        "model/columns": torch.arange(8.0).reshape(2, 4) + value,
        "model/one": torch.full((1, 2), value, dtype=torch.bfloat16),
        "optimizer/step": torch.tensor(float(value)),
    }


def spread(value: float, mesh: Any, rows_and_columns: tuple[int, int]) -> dict[str, torch.Tensor]:
    from torch.distributed.tensor import Shard, distribute_tensor

    tensors = full(value)
    for name, dim in zip(("model/rows", "model/columns"), rows_and_columns, strict=True):
        tensors[name] = distribute_tensor(tensors[name], mesh, [Shard(dim)])
    tensors["model/one"] = distribute_tensor(tensors["model/one"], mesh, [Shard(0)])
    return tensors


def zeroed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


def assert_whole(tensors: dict[str, torch.Tensor], value: float) -> None:
    for name, expected in full(value).items():
        found = tensors[name]
        found = found.full_tensor() if hasattr(found, "full_tensor") else found
        assert torch.equal(found, expected), name


class Recorder:
    """Checkpoints in `folder` on this rank, and what they tell of."""

    def __init__(self, folder: Path, ranks: Ranks, keep: int = 3) -> None:
        self.told: Events = []
        self.checkpoints = Checkpoints(
            folder, {"model": "m"}, keep, None, ranks, lambda kind, **fields: self.told.append((kind, fields))
        )

    def notes(self) -> list[str]:
        return [fields["message"] for kind, fields in self.told if kind == "note"]


def make_fsdp(mesh: Any) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    if mesh is not None:
        for layer in model:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model, {f"model/{name}": tensor for name, tensor in model.state_dict().items()}


def on_each_rank(rank: int, folder: Path, scenario: Callable[[Path, Ranks, Any], None]) -> None:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=WORLD)
    scenario(folder, Ranks(rank, WORLD), init_device_mesh("cpu", (WORLD,)))
    dist.barrier()
    dist.destroy_process_group()


def run_ranks(folder: Path, scenario: Callable[[Path, Ranks, Any], None]) -> None:
    (folder / "rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(on_each_rank, (folder, scenario), nprocs=WORLD)


def save_on_two(folder: Path, ranks: Ranks, mesh: Any) -> None:
    recorder = Recorder(folder / "two", ranks)
    living = spread(2.0, mesh, (0, 1))
    recorder.checkpoints.save(1, living, {"step": 1})
    for tensor in living.values():
        tensor.mul_(0)
    recorder.checkpoints.save(2, spread(3.0, mesh, (1, 0)), {"step": 2}, wait=True)
    assert [kind for kind, _ in recorder.told] == ["checkpoint", "checkpoint"]
    again = zeroed(living)
    assert recorder.checkpoints.load_newest(again, at_most=1) == {"step": 1}
    assert_whole(again, 2.0)

    fail_on_rank_one(recorder, ranks, mesh)
    _, tensors = make_fsdp(mesh)
    Recorder(folder / "fsdp", ranks).checkpoints.save(1, tensors, {}, wait=True)
    plain = full(5.0)  # as under plain data parallelism: each rank writes a part of what all hold
    Recorder(folder / "replicated", ranks).checkpoints.save(1, plain, {}, wait=True)
    hear_of_one_rank(ranks)


def fail_on_rank_one(recorder: Recorder, ranks: Ranks, mesh: Any) -> None:
    """A disk that is full for one rank: all hear of it, and nothing is lost."""
    from seedbed.train.checkpoints import sharded

    write = sharded.write_tensors
    if ranks.rank == 1:

        def fail(path: Path, tensors: dict[str, torch.Tensor]) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        sharded.write_tensors = fail  # type: ignore[assignment]
    with pytest.raises(SeedbedError, match=r"step 3 could not be written .*No space left"):
        recorder.checkpoints.save(3, spread(4.0, mesh, (0, 1)), {}, wait=True)
    sharded.write_tensors = write
    assert [path.name for path in list_checkpoints(recorder.checkpoints.folder)] == ["step-000000001", "step-000000002"]


def hear_of_one_rank(ranks: Ranks) -> None:
    """One rank's clock and one rank's signal decide, and all act at the same step."""
    moments = Moments(ranks, 1e-9 if ranks.leads else 1e9)
    answers = [moments.ask(step, leave=not ranks.leads and step == 3) for step in range(1, 5)]
    assert answers == [(False, False), (True, False), (True, False), (True, True)]
    moments.close()


def load_on_two(folder: Path, ranks: Ranks, mesh: Any) -> None:
    for rows_and_columns in ((0, 1), (1, 0)):
        recorder = Recorder(folder / "one", ranks)
        tensors = zeroed(spread(1.0, mesh, rows_and_columns))
        with pytest.MonkeyPatch.context() as patch:
            for name in ("load", "loads", "Unpickler"):
                patch.setattr(pickle, name, None)
            patch.setattr(torch, "load", None)
            assert recorder.checkpoints.load_newest(tensors) == {"step": 2}
        assert_whole(tensors, 6.0)
        assert any("of 1 ranks is read on 2" in line for line in recorder.notes())
    recorder = Recorder(folder / "damaged", ranks)
    tensors = zeroed(spread(1.0, mesh, (0, 1)))
    assert recorder.checkpoints.load_newest(tensors) == {"step": 1}
    assert_whole(tensors, 2.0)
    assert len(recorder.notes()) == 1 and "rank-00001.safetensors does not match" in recorder.notes()[0]
    other = full(1.0) | {"model/more": torch.zeros(1)} if ranks.rank == 1 else full(1.0)
    with pytest.raises(InputError, match="lacks the tensor model/more"):
        Recorder(folder / "one", ranks).checkpoints.load_newest(other)
    _, tensors = make_fsdp(mesh)
    for tensor in tensors.values():
        tensor.zero_()
    assert Recorder(folder / "plain", ranks).checkpoints.load_newest(tensors) == {}
    _, expected = make_fsdp(None)
    for name, tensor in tensors.items():
        assert torch.equal(tensor.full_tensor(), expected[name])


@pytest.mark.slow
def test_checkpoints_cross_between_one_rank_and_two(tmp_path: Path) -> None:
    run_ranks(tmp_path, save_on_two)

    recorder = Recorder(tmp_path / "two", Ranks())
    tensors = zeroed(full(0.0))
    assert recorder.checkpoints.load_newest(tensors) == {"step": 2}
    assert_whole(tensors, 3.0)
    assert recorder.notes() == [f"checkpoint {recorder.checkpoints.path(2)} of 2 ranks is read on 1"]
    files = sorted(path.name for path in recorder.checkpoints.path(2).glob("rank-*"))
    assert files == ["rank-00000.safetensors", "rank-00001.safetensors"]
    merge_tensors(recorder.checkpoints.path(2), "model/", tmp_path / "merged")

    replicated = zeroed(full(0.0))
    folder = Recorder(tmp_path / "replicated", Ranks())
    folder.checkpoints.load_newest(replicated)
    assert_whole(replicated, 5.0)
    sizes = [path.stat().st_size for path in folder.checkpoints.path(1).glob("rank-*")]
    assert len(sizes) == 2 and sum(sizes) < 2 * max(sizes)

    _, expected = make_fsdp(None)
    tensors = zeroed(expected)
    Recorder(tmp_path / "fsdp", Ranks()).checkpoints.load_newest(tensors)
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor)

    Recorder(tmp_path / "one", Ranks()).checkpoints.save(2, full(6.0), {"step": 2}, wait=True)
    Recorder(tmp_path / "plain", Ranks()).checkpoints.save(1, expected, {}, wait=True)
    (tmp_path / "two").rename(tmp_path / "damaged")
    file = tmp_path / "damaged" / "step-000000002" / "rank-00001.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    run_ranks(tmp_path, load_on_two)
