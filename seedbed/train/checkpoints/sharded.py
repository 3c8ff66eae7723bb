"""Checkpoints of many ranks through torch.distributed.checkpoint (DCP): its planners decide who writes and who reads what.

DCP's own FileSystemWriter pickles its metadata, and its Hugging Face reader trusts every header it finds. The pair here stores
what `format.py` describes: tensors in safetensors, all else in JSON, a checksum for each file.

The objects that DCP sends between living ranks while it plans a save go through torch's collectives, which pickle them. What is
read from a disk is never unpickled, and loading needs no collective of objects.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from seedbed.train.checkpoints.format import Manifest, Piece, PieceReader, SavedTensor, piece_name, rank_file
from seedbed.train.checkpoints.tensor_file import DTYPE_NAMES, DTYPES, FileRecord, write_tensors

# each rank loads by itself, on purpose
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")

Publish = Callable[[dict[str, SavedTensor], dict[str, FileRecord]], None]


@dataclass(frozen=True)
class Written:
    """Where a rank put a piece, and what its file must be found to be."""

    file: str
    record: FileRecord


class ShardWriter(StorageWriter):
    """Writes each rank's pieces into `partial`; `publish` is called on the coordinator when all ranks have written theirs."""

    def __init__(self, partial: Path, prepare: Callable[[], None], publish: Publish) -> None:
        self.partial, self.prepare, self.publish = partial, prepare, publish
        self.rank = 0

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        raise NotImplementedError("one writer, one checkpoint")

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.rank = kwargs["rank"]

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        self.prepare()  # on the coordinator, and no rank writes before it has its part of what this returns
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        done: Future[list[WriteResult]] = Future()
        if not plan.items:
            done.set_result([])
            return done
        pieces: dict[str, Tensor] = {}
        for item in plan.items:
            resolved = planner.resolve_data(item)
            assert isinstance(resolved, Tensor), item.index.fqn
            pieces[piece_name(item.index.fqn, tuple(item.index.offset or ()))] = resolved
        name = rank_file(self.rank)
        written = Written(name, write_tensors(self.partial / name, pieces))
        done.set_result([WriteResult(item.index, 0, written) for item in plan.items])
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        placed = {(r.index.fqn, tuple(r.index.offset or ())): r.storage_data for rank in results for r in rank}
        tensors: dict[str, SavedTensor] = {}
        for name, entry in metadata.state_dict_metadata.items():
            assert isinstance(entry, TensorStorageMetadata), name
            pieces = tuple(
                Piece(tuple(c.offsets), tuple(c.sizes), placed[name, tuple(c.offsets)].file) for c in entry.chunks
            )
            tensors[name] = SavedTensor(DTYPE_NAMES[entry.properties.dtype], tuple(entry.size), pieces)
        self.publish(tensors, {written.file: written.record for written in placed.values()})

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return False


class ShardReader(StorageReader):
    """Reads the boxes that the planner asks for. The checkpoint was found sound before."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.pieces = PieceReader(folder)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        raise NotImplementedError("one reader, one checkpoint")

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        tensors: dict[str, Any] = {
            name: TensorStorageMetadata(
                TensorProperties(dtype=DTYPES[saved.dtype]),
                torch.Size(saved.shape),
                [ChunkStorageMetadata(torch.Size(p.offsets), torch.Size(p.shape)) for p in saved.pieces],
            )
            for name, saved in self.manifest.tensors.items()
        }
        stored = {MetadataIndex(n, p.offsets): p for n, saved in self.manifest.tensors.items() for p in saved.pieces}
        return Metadata(tensors, storage_data=stored)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.stored: dict[MetadataIndex, Piece] = metadata.storage_data

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        for item in plan.items:
            if 0 in item.lengths:
                continue
            box = tuple(slice(s, s + n) for s, n in zip(item.storage_offsets, item.lengths, strict=True))
            target = planner.resolve_tensor(item).detach()
            target.copy_(self.pieces.read(item.storage_index.fqn, self.stored[item.storage_index], box))
            planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return False


class StagedPlanner(DefaultSavePlanner):
    """Plans from the living tensors, whose layout stays; takes the data from the copies that were made of their local parts."""

    def __init__(self, staged: dict[str, Tensor]) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self.staged = staged

    def lookup_object(self, index: MetadataIndex) -> Tensor:
        return self.staged[index.fqn]


def save_sharded(
    tensors: dict[str, Tensor],
    staged: dict[str, Tensor],
    partial: Path,
    prepare: Callable[[], None],
    publish: Publish,
    group: dist.ProcessGroup | None,
) -> None:
    """Write this rank's part of a checkpoint; returns when all ranks have, raises on all when one could not.

    `group` is of a CPU backend and used for nothing else meanwhile, so that this may run in a thread.
    """
    writer = ShardWriter(partial, prepare, publish)
    try:
        dcp.save(tensors, storage_writer=writer, planner=StagedPlanner(staged), process_group=group)
    except dcp.CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise cause from None


def load_sharded(folder: Path, manifest: Manifest, tensors: dict[str, Tensor]) -> None:
    """Fill this rank's tensors, whatever layout they have and whatever layout the checkpoint was written on."""
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    dcp.load(dict(tensors), storage_reader=ShardReader(folder, manifest), planner=planner, no_dist=True)
