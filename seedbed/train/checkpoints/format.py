"""What a checkpoint is on the disk, and how it is found sound.

step-000000120/
    rank-00000.safetensors   the pieces of tensors that rank 0 wrote; likewise for every rank that had some to write
    checkpoint.json          format, step, identity, ranks; for each tensor its dtype, shape and pieces
    progress.json            what is no tensor: any JSON
    SHA256SUMS               of the files above, as `sha256sum --check SHA256SUMS` reads it
step-000000140.partial/      one being written

A name in a safetensors file is the tensor's with the piece's place: `model/embedding.weight[2048,0]`.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from seedbed.files import sha256_file
from seedbed.train.checkpoints.tensor_file import DTYPES, Announced, FileRecord

FORMAT = 1
MANIFEST_FILE, PROGRESS_FILE, SUMS_FILE = "checkpoint.json", "progress.json", "SHA256SUMS"
SUMS_LINE = re.compile(r"([0-9a-f]{64})  (checkpoint\.json|progress\.json|rank-\d{5}\.safetensors)")


class Damaged(Exception):
    """This checkpoint cannot be used; the message says why."""


@dataclass(frozen=True)
class Piece:
    """A box of a tensor: where it begins, its shape, and the file it lies in."""

    offsets: tuple[int, ...]
    shape: tuple[int, ...]
    file: str

    def name(self, tensor: str) -> str:
        return piece_name(tensor, self.offsets)


@dataclass(frozen=True)
class SavedTensor:
    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    def announced(self, name: str) -> Announced:
        return Announced(name, DTYPES[self.dtype], self.shape)


@dataclass(frozen=True)
class Manifest:
    """checkpoint.json. `identity` says of what training it is: name of the thing -> its hash."""

    step: int
    ranks: int
    identity: dict[str, str]
    tensors: dict[str, SavedTensor]
    format: int = FORMAT

    @property
    def files(self) -> list[str]:
        """Of tensors."""
        return sorted({piece.file for tensor in self.tensors.values() for piece in tensor.pieces})


def piece_name(tensor: str, offsets: tuple[int, ...]) -> str:
    return f"{tensor}[{','.join(map(str, offsets))}]"


def rank_file(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}"


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*") if re.fullmatch(r"step-\d+", p.name) and p.is_dir())


def write_manifest(folder: Path, manifest: Manifest, progress: bytes, files: dict[str, FileRecord]) -> None:
    """Complete the checkpoint in `folder`, whose tensor files are written. `progress` is JSON."""
    value = {
        "format": manifest.format,
        "step": manifest.step,
        "ranks": manifest.ranks,
        "identity": manifest.identity,
        "tensors": {
            name: [tensor.dtype, tensor.shape, [[p.offsets, p.shape, p.file] for p in tensor.pieces]]
            for name, tensor in manifest.tensors.items()
        },
    }
    sums = {name: record.sha256 for name, record in files.items()}
    for name, data in (
        (MANIFEST_FILE, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()),
        (PROGRESS_FILE, progress),
    ):
        (folder / name).write_bytes(data)
        sums[name] = hashlib.sha256(data).hexdigest()
    (folder / SUMS_FILE).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def read_manifest(path: Path) -> tuple[Manifest, dict[str, str]]:
    """What the checkpoint holds, and the SHA-256 that each of its other files must have.

    Raises Damaged unless checkpoint.json is as it was written and names the files that SHA256SUMS names.
    """
    try:
        sums = read_sums((path / SUMS_FILE).read_bytes())
        data = (path / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise Damaged(f"{Path(error.filename).name} cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != sums.pop(MANIFEST_FILE, ""):
        raise Damaged(f"the checksum of {MANIFEST_FILE} does not match")
    value = json.loads(data)
    if value["format"] != FORMAT:
        raise Damaged(f"its format is {value['format']}, and this version reads {FORMAT}")
    tensors = {
        name: SavedTensor(dtype, tuple(shape), tuple(Piece(tuple(o), tuple(s), f) for o, s, f in pieces))
        for name, (dtype, shape, pieces) in value["tensors"].items()
    }
    manifest = Manifest(value["step"], value["ranks"], value["identity"], tensors)
    if not well_typed(manifest):
        raise Damaged(f"{MANIFEST_FILE} is no manifest (a value of the wrong type)")
    if sorted([PROGRESS_FILE, *manifest.files]) != sorted(sums):
        raise Damaged(f"{MANIFEST_FILE} and {SUMS_FILE} name different files")
    return manifest, sums


def well_typed(manifest: Manifest) -> bool:
    """JSON may hold anything under the right checksum."""
    identity = manifest.identity
    if not isinstance(identity, dict) or not all(isinstance(found, str) for found in identity.values()):
        return False
    numbers: list[object] = [manifest.step, manifest.ranks]
    words: list[object] = []
    for tensor in manifest.tensors.values():
        numbers += tensor.shape
        words.append(tensor.dtype)
        for piece in tensor.pieces:
            numbers += (*piece.offsets, *piece.shape)
            words.append(piece.file)
    return all(type(number) is int for number in numbers) and all(isinstance(word, str) for word in words)


def read_sums(data: bytes) -> dict[str, str]:
    text = data.decode("ascii", errors="replace")
    found: dict[str, str] = {}
    for line in text.removesuffix("\n").split("\n"):
        match = SUMS_LINE.fullmatch(line)
        if match is None or match[2] in found or not text.endswith("\n"):
            raise Damaged(f"{SUMS_FILE} is spoilt")
        found[match[2]] = match[1]
    return found


def file_damage(path: Path, sha256: str) -> str:
    """What is wrong with a file of a checkpoint; "" when nothing is."""
    try:
        return "" if sha256_file(path) == sha256 else f"the checksum of {path.name} does not match"
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"


def sound_manifest(path: Path, share: slice = slice(None)) -> Manifest:
    """The manifest of the checkpoint in `path`, once the files of `share` were found as they were written.

    Raises Damaged for whatever is wrong with it.
    """
    try:
        manifest, sums = read_manifest(path)
    except Damaged:
        raise
    except Exception as error:  # the right checksum, but no version of this code wrote it
        raise Damaged(f"{MANIFEST_FILE} is no manifest ({type(error).__name__}: {error})") from None
    for name in sorted(sums)[share]:
        damage = file_damage(path / name, sums[name])
        if damage:
            raise Damaged(damage)
    return manifest


class PieceReader:
    """Pieces of a checkpoint's tensors, its files opened once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, Any] = {}

    def read(self, tensor: str, piece: Piece, box: tuple[slice, ...] | None = None) -> Tensor:
        """A piece, or a box of it, on the CPU. Only the box is read from the disk."""
        if piece.file not in self._opened:
            self._opened[piece.file] = safe_open(self.folder / piece.file, framework="pt")
        opened, name = self._opened[piece.file], piece.name(tensor)
        return opened.get_slice(name)[box] if box else opened.get_tensor(name)

    def read_whole(self, name: str, saved: SavedTensor, target: Tensor) -> None:
        """Put all pieces of a tensor together in `target`, a plain tensor of its whole shape on any device."""
        target = target.detach()
        for piece in saved.pieces:
            if 0 in piece.shape:
                continue
            box = tuple(slice(start, start + size) for start, size in zip(piece.offsets, piece.shape, strict=True))
            target[box].copy_(self.read(name, piece))
