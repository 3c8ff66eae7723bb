"""Shards in an object store or on a web server: each file fetched whole when it is needed, checked, kept in a bounded cache.

    URL of a folder --fsspec--> parts of FETCH_BYTES, each asked again when the connection fails --> SHA-256 --> cache

The cache names files by their SHA-256, so two runs share copies and a file that changed at its source is never taken for
the old one. A copy made by an earlier process is checked again before it is first used. The copies used longest ago go
first; a copy that is mapped stays readable after it went.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from seedbed.errors import InputError, SeedbedError
from seedbed.files import require_free_bytes, sha256_file
from seedbed.remote import Unreachable, fetch_part, open_file_system

FETCH_BYTES = 32 << 20  # a request
FIRST_PAUSE_SECONDS = 0.5  # before the second attempt; doubled before each later one


class Corrupted(Exception):
    """What was fetched is not what the manifest says."""


class ShardCache:
    """Copies of files on this disk, of at most `limit` bytes together. Processes may share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.sound: set[str] = set()  # copies that this process fetched or checked

    def get(self, sha256: str, size: int | None, fetch: Callable[[], Iterator[bytes]]) -> Path:
        """The file with this hash; `fetch` gives its bytes if no sound copy is here. Raises Corrupted."""
        path = self.folder / sha256
        if sha256 in self.sound and path.is_file():
            os.utime(path)
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{sha256}.lock"):
            if not path.is_file() or sha256_file(path) != sha256:
                self._fetch(path, sha256, size, fetch)
            os.utime(path)
        self.sound.add(sha256)
        return path

    def _fetch(self, path: Path, sha256: str, size: int | None, fetch: Callable[[], Iterator[bytes]]) -> None:
        self.make_room(size or 0)
        require_free_bytes(self.folder, size or 0, "a copy of a shard")
        partial = path.with_name(f"{path.name}.partial")
        digest = hashlib.sha256()
        try:
            with partial.open("wb") as file:
                for part in fetch():
                    file.write(part)
                    digest.update(part)
            if size is not None and partial.stat().st_size != size:
                raise Corrupted(f"has {partial.stat().st_size:,} bytes where the manifest says {size:,}")
            if digest.hexdigest() != sha256:
                raise Corrupted("is corrupted (its SHA-256 is not the manifest's)")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def make_room(self, size: int) -> None:
        """Remove the copies used longest ago until `size` bytes more are within the limit."""
        if size > self.limit:
            raise InputError(
                f"tokens.cache_bytes: {self.limit:,} bytes cannot hold a shard of {size:,}: raise it above the bytes "
                "that are read at a time"
            )
        copies = []
        for path in self.folder.iterdir():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process removed it
            if not path.suffix:
                copies.append((status.st_mtime_ns, status.st_size, path))
        total = sum(copy[1] for copy in copies)
        for _, freed, path in sorted(copies):
            if total + size <= self.limit:
                return
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # Windows keeps a file that is mapped
            self.sound.discard(path.name)
            total -= freed


@lru_cache(maxsize=4)
def shard_cache(limit: int) -> ShardCache:
    """The user's cache: in SEEDBED_CACHE, or where the system keeps such things."""
    from seedbed.run.machine import cache_dir

    return ShardCache(cache_dir() / "shards", limit)


class RemoteFolder:
    """A folder of shards behind a URL."""

    fetched = True

    def __init__(self, url: str, cache: ShardCache, pause: Callable[[float], None] = time.sleep) -> None:
        self.url, self.cache, self.pause = url.rstrip("/"), cache, pause
        self.files, self.root = open_file_system(self.url)

    def sizes(self) -> dict[str, int] | None:
        """None: listing 10,000 objects takes seconds at every start, so sizes are compared once, when shards are linked."""
        return None

    def listed_sizes(self, names: Sequence[str]) -> dict[str, int | None]:
        """Bytes of these files at their source, None where one is missing; servers that list nothing are asked for each."""
        found: dict[str, int | None] = {}
        try:
            listing = self.files.ls(self.root, detail=True)
            found = {entry["name"].rstrip("/").rpartition("/")[2]: entry.get("size") for entry in listing}
        except Exception:  # each file system has its own errors; asking for the files one by one tells what is there
            pass
        unknown = [name for name in names if found.get(name) is None]
        for name, entry in zip(unknown, self._info(unknown), strict=True):
            found[name] = entry
        return {name: found[name] for name in names}

    def read(self, name: str) -> bytes:
        return b"".join(self._parts(name))

    def path(self, name: str, sha256: str, size: int | None) -> Path:
        try:
            try:
                return self.cache.get(sha256, size, lambda: self._parts(name))
            except Corrupted:  # once more: it may have been the way here
                return self.cache.get(sha256, size, lambda: self._parts(name))
        except Corrupted as error:
            raise self.damaged(name, str(error)) from None

    def damaged(self, name: str, what: str) -> SeedbedError:
        return SeedbedError(f"{self.url}/{name} {what}: upload the folder again from where it was made")

    def _parts(self, name: str) -> Iterator[bytes]:
        """The file's bytes, in order."""
        path, done = f"{self.root}/{name}", 0
        while True:
            part, whole = self._part(name, path, done)
            yield part
            done += len(part)
            if whole or len(part) < FETCH_BYTES:
                return

    def _part(self, name: str, path: str, start: int) -> tuple[bytes, bool]:
        """Up to FETCH_BYTES from `start` on, and whether that is the rest of the file."""
        try:
            return fetch_part(self.files, path, start, FETCH_BYTES, self.pause, FIRST_PAUSE_SECONDS)
        except FileNotFoundError:
            raise InputError(f"{self.url}: there is no {name}: give the URL of a folder of shards") from None
        except Unreachable as error:
            raise SeedbedError(
                f"{self.url}/{name} cannot be fetched ({error}): check the network and your credentials, and run the same "
                "command again"
            ) from None

    def _info(self, names: Sequence[str]) -> list[int | None]:
        paths = [f"{self.root}/{name}" for name in names]
        if not paths:
            return []
        try:
            return list(self.files.sizes(paths))
        except FileNotFoundError:
            return [self.files.size(path) if self.files.exists(path) else None for path in paths]
