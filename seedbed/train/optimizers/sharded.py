"""Parameters that are spread over ranks (DTensor), as optimizers see them.

What is elementwise (AdamW, momentum, weight decay) or row by row (tables) works on the local part as if it were alone. The
polar step needs whole matrices: `orthogonalize_shards` brings them together.

    rank 0 holds rows 0..r of matrices A B C D        all-to-all         rank 0 iterates whole A B
    rank 1 holds rows r..R of matrices A B C D   ------------------->    rank 1 iterates whole C D   -- and back

So each matrix is sent and received once, in the precision of the iteration, and no rank does the work of another.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from seedbed.train.optimizers.polar import orthogonalize

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "device_mesh")  # a DTensor; importing its class costs a second that one device need not pay


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a DTensor, sharing its memory; any other tensor itself."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def local_gradient(name: str, parameter: Tensor) -> Tensor:
    """This rank's part of the gradient, laid out like the parameter."""
    gradient = parameter.grad
    assert gradient is not None, f"{name} has no gradient: every parameter must take part in the loss"
    if is_sharded(gradient) and gradient.placements != parameter.placements:  # type: ignore[attr-defined]
        gradient = gradient.redistribute(parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]
    return local(gradient)


def laid_out_like(parameter: Tensor, part: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`part`, this rank's part of a state of that global `shape`, as a tensor spread over the ranks like the parameter."""
    if not is_sharded(parameter):
        return part
    from torch.distributed.tensor import DTensor

    stride = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    return DTensor.from_local(
        part,
        parameter.device_mesh,  # type: ignore[attr-defined]
        parameter.placements,  # type: ignore[attr-defined]
        run_check=False,
        shape=torch.Size(shape),
        stride=stride,
    )


def layout_of(parameter: Tensor) -> tuple[Any, ...]:
    """Equal for parameters that are spread alike; empty for one that is whole."""
    return (parameter.device_mesh, parameter.placements) if is_sharded(parameter) else ()  # type: ignore[attr-defined]


def orthogonalize_shards(local_NRC: Tensor, like: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """`orthogonalize` of matrices of which this rank holds parts: [N, r, c] -> [N, r, c].

    `like` is a parameter of that shape and layout: a matrix, or a stack [E, R, C] of matrices. Every rank of its mesh must call.
    """
    if not is_sharded(like):
        return orthogonalize(local_NRC, steps, dtype)
    split = [i for i, placement in enumerate(like.placements) if not placement.is_replicate()]  # type: ignore[attr-defined]
    dims = {like.placements[i].dim for i in split}  # type: ignore[attr-defined]
    if dims <= {like.ndim - 3}:
        return orthogonalize(
            local_NRC, steps, dtype
        )  # a stack is spread by whole matrices, or every rank holds everything
    if len(split) == 1 and dims == {0} and type(like.placements[split[0]]).__name__ == "Shard":  # type: ignore[attr-defined]
        return exchange(local_NRC, like.shape[0], like.device_mesh.get_group(split[0]), steps, dtype)  # type: ignore[attr-defined]
    return gather(local_NRC, like, steps, dtype)  # type: ignore[arg-type]


def exchange(local_NRC: Tensor, rows: int, group: dist.ProcessGroup, steps: int, dtype: torch.dtype) -> Tensor:
    """Rows of matrices are spread over the group in chunks, as `Shard(0)` does: every rank gets its share of whole matrices."""
    ranks = dist.get_world_size(group)
    count, held, columns = local_NRC.shape
    share, chunk = -(-count // ranks), -(-rows // ranks)
    sent = local_NRC.new_zeros((ranks * share, chunk, columns), dtype=dtype)
    sent[:count, :held] = local_NRC
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    # [rank, matrix, row, column]: chunks are filled from the first rank on, so only the last rows are padding
    whole = received.view(ranks, share, chunk, columns).transpose(0, 1).reshape(share, ranks * chunk, columns)
    whole[:, :rows] = orthogonalize(whole[:, :rows], steps, dtype)
    back = whole.view(share, ranks, chunk, columns).transpose(0, 1).reshape_as(sent)
    dist.all_to_all_single(sent, back.contiguous(), group=group)  # `back` may still be `received`'s memory
    return sent[:count, :held].to(local_NRC.dtype)


def gather(local_NRC: Tensor, like: "DTensor", steps: int, dtype: torch.dtype) -> Tensor:
    """Any other layout: every rank gets every matrix, iterates it and keeps its own part."""
    from torch.distributed.tensor import Replicate

    parts = []
    each = local_NRC if like.ndim == 2 else local_NRC.view(-1, *like.to_local().shape)
    for part in each:
        whole = laid_out_like(like, part.to(dtype), tuple(like.shape)).full_tensor()  # type: ignore[attr-defined]
        result = orthogonalize(whole if whole.ndim == 3 else whole[None], steps, dtype)
        mesh = like.device_mesh
        everywhere = type(like).from_local(result.view_as(whole), mesh, [Replicate()] * mesh.ndim, run_check=False)
        parts.append(everywhere.redistribute(mesh, like.placements).to_local().to(local_NRC.dtype))
    return torch.stack(parts).view_as(local_NRC)
