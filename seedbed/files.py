"""Reading and writing that a power cut cannot spoil: a file or folder appears whole or not at all."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from seedbed.errors import InputError, SeedbedError
from seedbed.quantities import byte_size


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, flush it to the disk, and rename it into place."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def check_place(option: str, path: Path) -> None:
    """Before the work: whether a file that an option names can be written. Raises InputError."""
    if not path.name or path.is_dir():
        raise InputError(f"{option}: {path} is a folder: give a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(
            f"{option}: {path}: {path.parent} is no folder that can be written to: give a file in one that is"
        )


def write_asked(option: str, path: Path, text: str) -> None:
    """Write a file that an option names. Raises InputError where it cannot be."""
    check_place(option, path)
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{option}: {path}: {error.strerror}: give a file in another folder") from None


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path, remedy: str = "delete it and run the same command again") -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SeedbedError(
            f"{path} is missing: delete the folder {path.parent} and run the same command again"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SeedbedError(f"{path} is not valid JSON ({error}): {remedy}") from None


def publish_folder(partial: Path, final: Path) -> None:
    """Rename the finished folder `partial` to `final`, after everything in it reached the disk."""
    for path in [p for p in partial.rglob("*") if p.is_file()]:
        sync(path)
    sync(partial)
    partial.rename(final)
    sync(final.parent)


def sync(path: Path) -> None:
    """Flush one file or folder to the disk (folders cannot be flushed on Windows, where renames are journalled)."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def require_free_bytes(folder: Path, needed: int, purpose: str) -> None:
    """Raise SeedbedError unless the disk under `folder` has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SeedbedError(
            f"{folder}: {purpose} needs {byte_size(needed)} and the disk has {byte_size(free)} free: "
            "free some space or choose another disk with --out"
        )
