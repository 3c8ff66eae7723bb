"""Sources behind URLs: a web server on this machine, with and without ranges, and fsspec's file system in memory."""

import gzip
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed import remote
from seedbed.corpus.records import Document, Quarantined
from seedbed.corpus.sources import read_source, source_fingerprint, source_pieces
from seedbed.errors import InputError, SeedbedError
from seedbed.recipe.schema import SourceConfig

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


class Whole(http.server.SimpleHTTPRequestHandler):
    """Python's own server: it sends a file whole, whatever range was asked for."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Ranges(Whole):
    failures = 0

    def do_GET(self) -> None:
        match = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if match and Ranges.failures > 0:
            Ranges.failures -= 1
            self.send_error(503)
        elif match:
            data = Path(self.translate_path(self.path)).read_bytes()
            part = data[int(match[1]) : int(match[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {match[1]}-{int(match[1]) + len(part) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)
        else:
            super().do_GET()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    servers = []

    def start(folder: Path, handler: type[Whole] = Ranges) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    Ranges.failures = 0
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "READ_AHEAD_BYTES", 500)
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """JSON lines packed, text, Parquet, and a WARC file of ten conversions."""
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "a.jsonl.gz").write_bytes(gzip.compress(b"".join(b'{"text": "line %d"}\n' % n for n in range(300))))
    (root / "sub" / "b.txt").write_text("text of b")
    pq.write_table(pa.table({"text": [f"row {n} " * 20 for n in range(100)]}), root / "c.parquet", row_group_size=10)
    record = "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://x/{}\r\nContent-Length: {}\r\n\r\n{}\r\n\r\n"
    texts = [f"conversion {n} " * 30 for n in range(10)]
    members = [gzip.compress(record.format(n, len(text), text).encode()) for n, text in enumerate(texts)]
    (root / "d.warc.wet.gz").write_bytes(b"".join(members))
    return root


def read(path: str) -> list[Document | Quarantined]:
    return list(read_source(SourceConfig(path=path, name="s")))


def texts(path: str) -> list[tuple[str, str]]:
    return [(record.id, getattr(record, "text", "")) for record in read(path)]


@pytest.mark.parametrize("kind", ["memory", "ranges", "whole"])
def test_a_source_reads_alike_wherever_it_lies(folder: Path, serve: Callable[..., str], kind: str) -> None:
    if kind == "memory":
        files = fsspec.filesystem("memory")
        files.store.clear()
        for path in folder.rglob("*"):
            if path.is_file():
                files.pipe_file(f"/bucket/{path.relative_to(folder).as_posix()}", path.read_bytes())
        url = "memory://bucket"
    else:
        url = serve(folder, Ranges if kind == "ranges" else Whole)
    here = texts(str(folder))
    assert len(here) == 411
    assert texts(url) == here
    files = [f"{url.rstrip('/')}/{name}" for name in ("c.parquet", "d.warc.wet.gz")]
    for file in files:
        assert [text for _, text in texts(file)] == [text for _, text in texts(str(folder / file.rpartition("/")[2]))]


def test_only_what_can_be_entered_in_the_middle_is_split(folder: Path, serve: Callable[..., str]) -> None:
    parts = {
        handler: [piece.relative for piece in source_pieces(SourceConfig(path=serve(folder, handler), name="s"), 900)]
        for handler in (Ranges, Whole)
    }
    assert parts[Ranges].count("c.parquet") > 2 and parts[Ranges].count("d.warc.wet.gz") > 1
    assert parts[Ranges].count("a.jsonl.gz") == 1
    assert parts[Whole].count("c.parquet") == parts[Whole].count("d.warc.wet.gz") == 1


def test_a_connection_that_fails_is_tried_again_and_then_named(folder: Path, serve: Callable[..., str]) -> None:
    url = serve(folder)
    expected = texts(f"{url}a.jsonl.gz")
    Ranges.failures = 3
    assert texts(f"{url}a.jsonl.gz") == expected
    Ranges.failures = 1000
    with pytest.raises(SeedbedError, match=r"a\.jsonl\.gz cannot be fetched \(.*503.*\): check the network") as caught:
        read(f"{url}a.jsonl.gz")
    assert not isinstance(caught.value, InputError)


def test_a_url_that_leads_nowhere_is_refused(folder: Path, serve: Callable[..., str]) -> None:
    url = serve(folder)
    for path in (f"{url}nothing.txt", "memory://nothing/here"):
        with pytest.raises(InputError, match="no such file or folder"):
            read(path)
    with pytest.raises(InputError, match="Protocol not known"):
        read("nosuch://x/y")


def test_a_fingerprint_changes_with_a_file_behind_a_url(folder: Path) -> None:
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pipe_file("/print/a.txt", b"one")
    source = SourceConfig(path="memory://print", name="s")
    before = source_fingerprint(source)
    assert source_fingerprint(source) == before
    files.pipe_file("/print/a.txt", b"another")
    assert source_fingerprint(source) != before
