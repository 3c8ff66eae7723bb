"""Checkpoints: one folder each, whole or absent, checksummed; the newest that is sound is where training goes on."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from seedbed.files import publish_folder, read_json, sha256_file, write_json

STATE_FILE = "state.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` by name, and `progress`: the next step, the history and the seconds spent."""

    tensors: dict[str, Tensor]
    progress: dict[str, Any]


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint, keep: int) -> None:
    """Write `folder/step-STEP` and remove all but the newest `keep`."""
    folder.mkdir(exist_ok=True)
    final = folder / f"step-{step:09d}"
    partial = folder / f"{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file({name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}, partial / STATE_FILE)
    write_json(partial / "progress.json", {"sha256": sha256_file(partial / STATE_FILE), **checkpoint.progress})
    shutil.rmtree(final, ignore_errors=True)
    publish_folder(partial, final)
    sound = [path for path in list_checkpoints(folder) if path <= final]  # later ones were found damaged
    for path in list_checkpoints(folder):
        if path not in sound[-keep:]:
            shutil.rmtree(path)


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and not p.name.endswith(".partial"))


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound checkpoint, and one line for each damaged one that was passed over."""
    damaged: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            progress = read_json(path / "progress.json")
            if sha256_file(path / STATE_FILE) != progress.pop("sha256"):
                raise ValueError("its checksum does not match")
            return Checkpoint(load_file(path / STATE_FILE), progress), damaged
        except Exception as error:  # whatever is wrong with it, an older one may serve
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            damaged.append(f"checkpoint {path} is damaged ({reason}): going on from the one before")
    return None, damaged
