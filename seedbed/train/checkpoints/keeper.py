"""The checkpoints of one training: written beside it while it goes on, published whole, thinned, and found again."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seedbed.errors import InputError, SeedbedError
from seedbed.files import publish_folder, require_free_bytes
from seedbed.train.checkpoints.format import (
    PROGRESS_FILE,
    Damaged,
    Manifest,
    Piece,
    PieceReader,
    SavedTensor,
    checkpoint_path,
    list_checkpoints,
    rank_file,
    sound_manifest,
    step_of,
    write_manifest,
)
from seedbed.train.checkpoints.staging import Staging, is_sharded, local_part
from seedbed.train.checkpoints.tensor_file import DTYPE_NAMES, FileRecord, write_tensors
from seedbed.train.parallel import Ranks

Emit = Callable[..., None]
# A shared file system may keep a rank waiting for another that writes; a rank that is gone is noticed by its closed connection.
GROUP_TIMEOUT = timedelta(hours=1)


class Checkpoints:
    """`folder/step-STEP` for every checkpoint. With several ranks, each method is called on all of them at the same step.

    `identity` says what is trained (name of the thing -> hash of it); a checkpoint of another is refused. `emit(kind, **fields)`
    is told of finished checkpoints, and of damaged ones and those that could not be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, str],
        keep: int,
        keep_every_steps: int | None = None,
        ranks: Ranks | None = None,
        emit: Emit = lambda kind, **fields: None,
    ) -> None:
        self.folder, self.identity = folder, identity
        self.keep, self.keep_every_steps = keep, keep_every_steps
        self.ranks, self.emit = ranks or Ranks(), emit
        self._staging = Staging()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._finished: dict[str, Any] = {}
        self._group: Any = None
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # of its own: the thread that writes must not meet the training's collectives
            self._group = torch.distributed.new_group(backend="gloo", timeout=GROUP_TIMEOUT)

    def path(self, step: int) -> Path:
        return checkpoint_path(self.folder, step)

    # saving

    def save(self, step: int, tensors: dict[str, Tensor], progress: dict[str, Any], wait: bool = False) -> None:
        """Checkpoint these values; they may change as soon as this returns. Waits for the checkpoint before, if need be.

        `wait` until it is written, and raise SeedbedError if it could not be. Without, training goes on and `emit` is told.
        """
        began = time.monotonic()
        self.finish()
        waited = time.monotonic() - began
        text = json.dumps(progress, ensure_ascii=False).encode()
        staged = self._staging.copy(tensors)
        copied = time.monotonic() - began - waited
        self._finished = {"step": step, "waited_seconds": round(waited, 4), "copy_seconds": round(copied, 4)}
        self._thread = threading.Thread(
            target=self._write, args=(step, tensors, staged, text), name="checkpoint", daemon=True
        )
        self._thread.start()
        if wait:
            self.finish(strict=True)

    def poll(self) -> None:
        """Tell of the checkpoint under way if it is finished."""
        if self._thread is not None and not self._thread.is_alive():
            self.finish()

    def finish(self, strict: bool = False) -> None:
        """Wait for the checkpoint under way. One that could not be written is told of, or raised if `strict`."""
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        failure, self._failure = self._failure, None
        if failure is None:
            self.emit("checkpoint", **self._finished)
            return
        line = f"the checkpoint of step {self._finished['step']} could not be written ({one_line(failure)})"
        if strict:
            raise SeedbedError(f"{line}: those before it are kept in {self.folder}")
        self.emit("note", message=f"{line}: training goes on, and those before it are kept")

    def _write(self, step: int, tensors: dict[str, Tensor], staged: dict[str, Tensor], progress: bytes) -> None:
        began = time.monotonic()
        final = checkpoint_path(self.folder, step)
        partial = final.with_name(f"{final.name}.partial")
        num_bytes = sum(tensor.nbytes for tensor in tensors.values())  # of a DTensor: the whole, not this rank's part

        def prepare() -> None:
            self.folder.mkdir(exist_ok=True)
            for left in self.folder.glob("step-*.partial"):
                shutil.rmtree(left)
            require_free_bytes(self.folder, num_bytes + len(progress), "a checkpoint")
            partial.mkdir()

        def publish(saved: dict[str, SavedTensor], files: dict[str, FileRecord]) -> None:
            write_manifest(partial, Manifest(step, self.ranks.world, self.identity, saved), progress, files)
            if final.exists():
                shutil.rmtree(final)
            publish_folder(partial, final)
            self._thin(final)

        try:
            if self._group is None:
                prepare()
                file = rank_file(0)
                record = write_tensors(partial / file, {whole(n, t.ndim): t for n, t in staged.items()})
                publish({name: describe(tensor, file) for name, tensor in staged.items()}, {file: record})
            else:
                from seedbed.train.checkpoints.sharded import save_sharded

                save_sharded(tensors, staged, partial, prepare, publish, self._group)
            self._finished |= {"bytes": num_bytes, "write_seconds": round(time.monotonic() - began, 4)}
        except Exception as error:
            self._failure = error
            if self.ranks.leads:
                shutil.rmtree(partial, ignore_errors=True)

    def _thin(self, newest: Path) -> None:
        """Remove what is not to be kept. Later ones than `newest` are of a course of training that was left."""
        past = [path for path in list_checkpoints(self.folder) if path <= newest]
        kept = set(past[-self.keep :])
        if self.keep_every_steps:
            kept |= {path for path in past if step_of(path) % self.keep_every_steps == 0}
        for path in list_checkpoints(self.folder):
            if path not in kept:
                shutil.rmtree(path)

    def require_room(self, tensors: dict[str, Tensor]) -> None:
        """Raise SeedbedError unless the disk holds the checkpoints that are kept, one more while it is written, and the model."""
        if not self.ranks.leads:
            return
        here = sum(f.stat().st_size for path in list_checkpoints(self.folder) for f in path.iterdir())
        model = sum(tensor.nbytes for name, tensor in tensors.items() if name.startswith("model/"))
        each = sum(tensor.nbytes for tensor in tensors.values())
        require_free_bytes(self.folder.parent, max(0, (self.keep + 1) * each - here) + model, "keeping checkpoints")

    # finding

    def steps(self) -> list[int]:
        """Of the checkpoints that are written, oldest first; on all ranks the same."""
        self.finish()
        return self._of_rank_zero([step_of(path) for path in list_checkpoints(self.folder)])

    def forget_after(self, step: int) -> None:
        """Remove the checkpoints of later steps: training leaves that course."""
        self.finish()
        for path in list_checkpoints(self.folder) if self.ranks.leads else ():
            if step_of(path) > step:
                shutil.rmtree(path)

    def load_newest(self, tensors: dict[str, Tensor], at_most: int | None = None) -> dict[str, Any] | None:
        """Fill `tensors` from the newest sound checkpoint (of step `at_most` at most) and give its progress; None without one.

        Damaged ones are passed over, with a note for each. Raises InputError for a sound one that is of another training.
        """
        self.finish()
        steps = [step_of(path) for path in list_checkpoints(self.folder)]
        touched = False
        for step in reversed(self._of_rank_zero(steps)):
            if at_most is not None and step > at_most:
                continue
            path = checkpoint_path(self.folder, step)
            manifest, problem = self._find_sound(path)
            if problem := self._first_said(problem):
                self._pass_over(path, problem)
                continue
            assert manifest is not None
            if problem := self._first_said(misfit(manifest, self.identity, tensors)):
                raise InputError(f"checkpoint {path} {problem}: remove it, or choose another --out folder")
            touched = True
            progress, problem = self._load(path, manifest, tensors)
            if problem := self._first_said(problem):
                self._pass_over(path, problem)
                continue
            if manifest.ranks != self.ranks.world:
                self.emit("note", message=f"checkpoint {path} of {manifest.ranks} ranks is read on {self.ranks.world}")
            return progress
        if touched:
            raise SeedbedError(f"{self.folder}: its checkpoints could not be read to their ends: check the disk")
        return None

    def load_from(self, path: Path, same: tuple[str, ...], tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Fill `tensors` from a checkpoint of another training, which must agree with this one in the things of `same`.

        Gives its progress. Raises InputError for one that is damaged or does not fit.
        """
        manifest, damage = self._find_sound(path)
        if damage := self._first_said(damage):
            raise InputError(f"train.start_from: checkpoint {path} is damaged ({damage}): give another")
        assert manifest is not None
        expected = {name: self.identity[name] if name in same else found for name, found in manifest.identity.items()}
        progress: dict[str, Any] = {}
        if not (problem := self._first_said(misfit(manifest, expected, tensors))):
            progress, problem = self._load(path, manifest, tensors)
        if problem := self._first_said(problem):
            raise InputError(f"train.start_from: checkpoint {path} {problem}: give one that this recipe and data made")
        return progress

    def _pass_over(self, path: Path, problem: str) -> None:
        self.emit("note", message=f"checkpoint {path} is damaged ({problem}): going on from the one before")

    def _find_sound(self, path: Path) -> tuple[Manifest | None, str]:
        """Each rank checks its share of the files."""
        try:
            return sound_manifest(path, slice(self.ranks.rank, None, self.ranks.world)), ""
        except Damaged as error:
            return None, one_line(error)

    def _load(self, path: Path, manifest: Manifest, tensors: dict[str, Tensor]) -> tuple[dict[str, Any], str]:
        try:
            progress = json.loads((path / PROGRESS_FILE).read_bytes())
            if any(map(is_sharded, tensors.values())):
                from seedbed.train.checkpoints.sharded import load_sharded

                load_sharded(path, manifest, tensors)
            else:
                pieces = PieceReader(path)
                for name, tensor in tensors.items():
                    pieces.read_whole(name, manifest.tensors[name], tensor)
            return progress, ""
        except Exception as error:
            return {}, one_line(error)

    # agreeing among ranks

    def _of_rank_zero(self, numbers: list[int]) -> list[int]:
        """Rank 0's numbers on every rank."""
        if self._group is None:
            return numbers
        count = torch.tensor([len(numbers)])
        torch.distributed.broadcast(count, src=0, group=self._group)
        values = torch.tensor(numbers if self.ranks.leads else [0] * int(count), dtype=torch.int64)
        torch.distributed.broadcast(values, src=0, group=self._group)
        return values.tolist()

    def _first_said(self, text: str) -> str:
        """What the first rank that has anything to say says, on every rank."""
        if self._group is None:
            return text
        mine = torch.zeros(1000, dtype=torch.uint8)
        data = text.encode()[:1000]
        mine[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else mine[:0]
        all_said = [torch.empty_like(mine) for _ in range(self.ranks.world)]
        torch.distributed.all_gather(all_said, mine, group=self._group)
        said = (bytes(other.tolist()).rstrip(b"\0").decode(errors="replace") for other in all_said)
        return next(filter(None, said), "")


def whole(name: str, ndim: int) -> str:
    return Piece((0,) * ndim, (), "").name(name)


def describe(tensor: Tensor, file: str) -> SavedTensor:
    """A tensor that lies in one piece in `file`."""
    shape = tuple(tensor.shape)
    return SavedTensor(DTYPE_NAMES[tensor.dtype], shape, (Piece((0,) * len(shape), shape, file),))


def misfit(manifest: Manifest, identity: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """Why a sound checkpoint is not one of this training; "" when it is."""
    for name in sorted(identity.keys() | manifest.identity.keys()):
        if manifest.identity.get(name) != identity.get(name):
            return f"is of another training (its {name} {'differs' if name == 'model' else 'differ'})"
    for name, tensor in tensors.items():
        saved = manifest.tensors.get(name)
        if saved is None:
            return f"lacks the tensor {name}"
        found = (saved.dtype, saved.shape)
        expected = (DTYPE_NAMES[local_part(tensor).dtype], tuple(tensor.shape))
        if found != expected:
            return (
                f"holds {name} as {found[0]} {list(found[1])}, and this training has {expected[0]} {list(expected[1])}"
            )
    return ""


def one_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
