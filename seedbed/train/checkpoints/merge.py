"""Whole tensors out of the pieces that many ranks wrote: one file, one tensor in memory at a time."""

from pathlib import Path

import torch

from seedbed.train.checkpoints.format import PieceReader, sound_manifest
from seedbed.train.checkpoints.tensor_file import FileRecord, TensorFile


def merge_tensors(checkpoint: Path, prefix: str, target: Path) -> FileRecord:
    """Write those tensors of a checkpoint whose names begin with `prefix` (left out of the new names) to `target`.

    Needs no device, no process group and no model: any layout becomes the plain file that one process would have saved.
    Raises Damaged when the checkpoint is not sound.
    """
    saved = {n.removeprefix(prefix): s for n, s in sound_manifest(checkpoint).tensors.items() if n.startswith(prefix)}
    reader = PieceReader(checkpoint)
    with TensorFile(target, [saved[name].announced(name) for name in sorted(saved)]) as file:
        for entry in file.order:
            tensor = torch.empty(entry.shape, dtype=entry.dtype)
            reader.read_whole(prefix + entry.name, saved[entry.name], tensor)
            file.write(tensor)
        return file.finish()
