"""Files behind URLs (https://, s3://, gs://, hf://, ...) by fsspec: found, listed, and read in parts that are asked for again."""

import io
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from seedbed.errors import InputError, SeedbedError

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5  # before the second attempt; doubled before each later one
READ_AHEAD_BYTES = 8 << 20  # a request of a file that is read in order: some tenths of a second on 200 Mbit/s
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # two letters at least: C:\ is a drive


def is_url(path: str) -> bool:
    return URL.match(path) is not None


Answer = TypeVar("Answer")


class Unreachable(Exception):
    """A part could not be fetched, however often it was asked for; the message is the last answer."""


def open_file_system(url: str) -> tuple[Any, str]:
    """(fsspec file system, path in it) of a URL. Raises InputError where the package for it is not there."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise InputError(f"{url}: URLs need fsspec: pip install 'seedbed[remote]'") from None
    try:
        files, root = url_to_fs(url)
    except ImportError as error:
        raise InputError(f"{url}: {error}") from None
    except ValueError as error:
        raise InputError(f"{url}: {error}: give a URL such as s3://bucket/folder or https://host/folder") from None
    return files, root.rstrip("/")


def fetch_part(
    files: Any, path: str, start: int, size: int, pause: Callable[[float], None], first_pause: float
) -> tuple[bytes, bool]:
    """Up to `size` bytes from `start` on, and whether that is the rest of the file.

    Raises FileNotFoundError, or Unreachable after ATTEMPTS.
    """

    def ask() -> tuple[bytes, bool]:
        try:
            data = files.cat_file(path, start=start, end=start + size)
        except Exception as error:
            if start and is_past_the_end(error):
                return b"", True
            raise
        if len(data) <= size:
            return data, False
        return data[start:], True  # a server that knows no ranges sends the whole

    return insist(ask, pause, first_pause)


def insist(ask: Callable[[], Answer], pause: Callable[[float], None], first_pause: float) -> Answer:
    """The answer of a store, asked up to ATTEMPTS times. Raises FileNotFoundError, or Unreachable with its last complaint."""
    wait = first_pause
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except FileNotFoundError:
            raise
        except Exception as error:  # each file system has its own errors of connection and permission
            if attempt == ATTEMPTS:
                raise Unreachable(next(iter(str(error).splitlines()), "") or type(error).__name__) from None
            pause(wait)
            wait *= 2
    raise AssertionError("unreachable")


def is_past_the_end(error: Exception) -> bool:
    """Whether a server refused a range that begins at the file's end."""
    return getattr(error, "status", None) == 416 or "InvalidRange" in str(error)


class RemoteFile(io.RawIOBase):
    """A file behind a URL to read and seek in, one part of READ_AHEAD_BYTES in memory at a time.

    A server that knows no ranges is read as a stream from its beginning (seeking back begins anew). Raises SeedbedError
    when the connection does not come back: the task is repeated later, and nothing is taken for missing.
    """

    def __init__(self, url: str, size: int, pause: Callable[[float], None] = time.sleep) -> None:
        self.url, self.size, self._pause = url, size, pause
        self._files, self._path = open_file_system(url)
        self._position = self._part_start = 0
        self._part = b""
        self._stream: Any = None
        try:
            self._ranges = size <= READ_AHEAD_BYTES or knows_ranges(self._files, self._path, size, pause)
        except Unreachable as error:
            raise self._lost(error) from None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if not 0 <= self._position - self._part_start < len(self._part):
            self._fetch()
        at = self._position - self._part_start
        piece = self._part[at : at + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _fetch(self) -> None:
        if self._position >= self.size:
            self._part, self._part_start = b"", self._position
            return
        try:
            if self._ranges:
                wanted = min(READ_AHEAD_BYTES, self.size - self._position)
                start = self._position
                self._part, _ = fetch_part(self._files, self._path, start, wanted, self._pause, FIRST_PAUSE_SECONDS)
                self._part_start = start
            else:
                self._read_stream()
            if not self._part:
                raise Unreachable(f"it ends at byte {self._position:,} of {self.size:,}")
        except FileNotFoundError:
            raise SeedbedError(f"{self.url} is gone since it was listed: run the same command again") from None
        except Unreachable as error:
            raise self._lost(error) from None

    def _lost(self, error: Unreachable) -> SeedbedError:
        return SeedbedError(
            f"{self.url} cannot be fetched ({error}): check the network and your credentials, and run the same command again"
        )

    def _read_stream(self) -> None:
        """The part of an answer without ranges that holds the position."""
        if self._stream is None or self._position < self._part_start:
            self._stream = self._files.open(self._path, "rb", block_size=0)
            self._part, self._part_start = b"", 0
        while self._part_start + len(self._part) <= self._position:
            self._part_start += len(self._part)
            try:
                self._part = self._stream.read(READ_AHEAD_BYTES)
            except Exception as error:  # each file system has its own
                raise Unreachable(str(error) or type(error).__name__) from None
            if not self._part:
                return

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        super().close()


def knows_ranges(files: Any, path: str, size: int, pause: Callable[[float], None] = time.sleep) -> bool:
    """Whether a file can be read from its middle. Object stores can; a web server is asked for its last byte."""
    protocols = files.protocol if isinstance(files.protocol, (tuple, list)) else (files.protocol,)
    if not {"http", "https"} & set(protocols):
        return True

    def ask() -> bool:
        with files.open(path, "rb", block_size=1 << 16, size=size) as file:
            try:
                file.seek(size - 1)
                return len(file.read(1)) == 1
            except ValueError:  # fsspec's way to say that the answer would be the whole file
                return False

    return insist(ask, pause, FIRST_PAUSE_SECONDS)


def has_ranges(url: str, size: int) -> bool:
    """Whether the file behind `url` can be read from its middle."""
    files, path = open_file_system(url)
    return knows_ranges(files, path, size)


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """A file behind a URL; `stamp` changes when its content does, as far as its store tells."""

    relative: str
    url: str
    size: int | None
    stamp: str


STAMPS = (
    "ETag",
    "etag",
    "blob_id",
    "sha",
    "LastModified",
    "last_modified",
    "Last-Modified",
    "updated",
    "mtime",
    "created",
)


def list_files(url: str) -> list[RemoteEntry]:
    """The file behind `url`, or the files in the folder it names, by name. A web folder is its index: a URL that ends in /.

    Raises InputError when there is nothing, SeedbedError when the store does not answer.
    """
    files, root = open_file_system(url)
    protocols = files.protocol if isinstance(files.protocol, (tuple, list)) else (files.protocol,)
    web = bool({"http", "https"} & set(protocols))
    folder = f"{root}/"
    try:
        if web and not url.endswith("/"):
            return [entry_of("", url, files.info(root))]
        if not web and files.isfile(root):
            return [entry_of("", url, files.info(root))]
        found = files.find(folder if web else root, detail=True)
        entries = []
        for name, info in sorted(found.items()):
            if web and not name.startswith(folder):
                continue  # an index may link anywhere
            info = files.info(name) if web else info
            entries.append(entry_of(name.removeprefix(folder), files.unstrip_protocol(name), info))
    except FileNotFoundError:
        entries = []
    except Exception as error:  # each file system has its own
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise SeedbedError(f"{url} cannot be listed ({reason}): check the network and your credentials") from None
    if not entries:
        raise InputError(f"{url}: no such file or folder: check the URL of the source (a web folder ends in /)")
    return entries


def entry_of(relative: str, url: str, info: dict[str, Any]) -> RemoteEntry:
    stamp = next((str(info[name]) for name in STAMPS if info.get(name)), "")
    return RemoteEntry(relative, url, info.get("size"), stamp)
