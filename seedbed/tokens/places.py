"""Where the files of a folder of shards lie: on this disk, or elsewhere with a copy of each fetched when it is needed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from seedbed.errors import InputError, SeedbedError
from seedbed.tokens.shards import damaged


class Place(Protocol):
    fetched: bool  # whether files are copies of what lies elsewhere

    def read(self, name: str) -> bytes:
        """A small file, whole."""

    def sizes(self) -> dict[str, int] | None:
        """Bytes of every file, by name; None where that cannot be listed."""

    def path(self, name: str, sha256: str, size: int | None) -> Path:
        """The file on this disk. `size`: bytes it must have, None where the manifest does not say."""

    def damaged(self, name: str, what: str) -> SeedbedError:
        """The error that file `name` `what`, with what to do about it."""


class LocalFolder:
    """A folder on this disk. `linked`: the user's own, which the run only reads."""

    def __init__(self, folder: Path, linked: bool = False) -> None:
        self.folder, self.linked, self.fetched = folder, linked, False

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise InputError(f"{self.folder}: there is no {name}: give a folder of shards that Seedbed wrote") from None
        except OSError as error:
            raise self.damaged(name, f"cannot be read ({error.strerror})") from None

    def sizes(self) -> dict[str, int] | None:
        try:
            with os.scandir(self.folder) as items:
                return {item.name: item.stat().st_size for item in items if item.is_file()}
        except OSError as error:
            raise self.damaged("", f"cannot be listed ({error.strerror})") from None

    def path(self, name: str, sha256: str, size: int | None) -> Path:
        return self.folder / name

    def damaged(self, name: str, what: str) -> SeedbedError:
        if self.linked:
            return SeedbedError(f"{self.folder / name} {what}: copy the folder again from where it was made")
        return damaged(self.folder / name, what)


def open_places(folder: Path, manifest: dict[str, Any]) -> Sequence[Place]:
    """The places of a manifest in `folder`: that folder itself, or those it links."""
    if "folders" not in manifest:
        return [LocalFolder(folder)]
    return [open_place(entry["path"], manifest["cache_bytes"]) for entry in manifest["folders"]]


def open_place(path: str, cache_bytes: int) -> Place:
    """A user's folder of shards, by its path or its URL."""
    if not is_remote(path):
        return LocalFolder(Path(path), linked=True)
    from seedbed.tokens.remote import RemoteFolder, shard_cache

    return RemoteFolder(path, shard_cache(cache_bytes))


def is_remote(path: str) -> bool:
    return "://" in path
