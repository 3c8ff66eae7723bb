"""Copies of this rank's tensors in main memory, so that training may go on while they are written."""

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor: asked without importing them, which takes a second."""
    return hasattr(tensor, "device_mesh")


def local_part(tensor: Tensor) -> Tensor:
    """What of the tensor lies on this rank."""
    tensor = tensor.detach()
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


class Staging:
    """Buffers that are kept from one checkpoint to the next: as much main memory as this rank's part of a checkpoint.

    Those for tensors of a GPU are pinned, and filled by its copy engine while the CPU queues the next copies.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def copy(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The values of this moment. They stand until the next call."""
        on_gpu = False
        for name, tensor in tensors.items():
            local = local_part(tensor)
            buffer = self._buffers.get(name)
            if buffer is None or (buffer.shape, buffer.dtype) != (local.shape, local.dtype):
                buffer = torch.empty(local.shape, dtype=local.dtype, pin_memory=local.is_cuda)
                self._buffers[name] = buffer
            on_gpu |= local.is_cuda
            buffer.copy_(local, non_blocking=local.is_cuda)
        if on_gpu:
            torch.cuda.current_stream().synchronize()
        return {name: self._buffers[name] for name in tensors}
