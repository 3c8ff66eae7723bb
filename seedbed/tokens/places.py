"""Where the files of a folder of shards lie: on this disk, or elsewhere with a copy of each fetched when it is needed."""

import os
from pathlib import Path
from typing import Protocol

from seedbed.errors import SeedbedError
from seedbed.tokens.shards import damaged


class Place(Protocol):
    def sizes(self) -> dict[str, int] | None:
        """Bytes of every file, by name; None where that cannot be listed."""

    def path(self, name: str, sha256: str, size: int | None) -> Path:
        """The file on this disk. `size`: bytes it must have, None where the manifest does not say."""

    def damaged(self, name: str, what: str) -> SeedbedError:
        """The error that file `name` `what`, with what to do about it."""


class LocalFolder:
    """A folder on this disk. `linked`: the user's own, which the run only reads."""

    def __init__(self, folder: Path, linked: bool = False) -> None:
        self.folder, self.linked = folder, linked

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
