"""Pages among records become documents in a child process that may hang or crash; the pages before and after it do not.

Pages go to the child in batches: while it works on one, the reader here prepares the next. When the child ends, the page in
its hands is quarantined and a new child goes on with the next page.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from seedbed.corpus.extract.child import TIMED_OUT
from seedbed.corpus.extract.encoding import decode, find_encoding
from seedbed.corpus.extract.page import RawPage
from seedbed.corpus.records import Document, Quarantined, Record, well_formed
from seedbed.errors import InputError, SeedbedError
from seedbed.recipe.extraction import ExtractConfig

COMMAND = ["-m", "seedbed.corpus.extract.child"]
BATCH_PAGES = 32
BATCH_BYTES = 4 << 20  # of pages: what lies in memory on either side
PIPE_BYTES = 1 << 20  # which Linux allows everybody (/proc/sys/fs/pipe-max-size)
CHILD_BYTES = (
    2 << 30
)  # address space of the child: a page of 10 MB takes about 300 MB parsed, trafilatura's libraries 300 more


def extract_pages(records: Iterable[Record | RawPage], config: ExtractConfig) -> Iterator[Record]:
    """The records with every raw page replaced by its document, or by its quarantine, in the same order."""
    with PageReader(config) as reader:
        waiting: list[Record | RawPage] = []
        sent: list[Record | RawPage] = []
        pages = size = 0
        for record in records:
            if isinstance(record, RawPage) and len(record.data) > config.max_page_bytes:
                record = refuse(
                    record, "too_large", f"a page of {len(record.data):,} bytes (corpus.extract.max_page_bytes)"
                )
            waiting.append(record)
            if isinstance(record, RawPage):
                pages += 1
                size += len(record.data)
            elif isinstance(record, Document):
                size += len(record.text)
            if pages >= BATCH_PAGES or size >= BATCH_BYTES or (not pages and not sent):
                yield from reader.finish(sent)
                reader.start(waiting)
                sent, waiting, pages, size = waiting, [], 0, 0
        yield from reader.finish(sent)
        reader.start(waiting)
        yield from reader.finish(waiting)


class PageReader:
    """A child process, started when the first page comes. Use it in a `with` block."""

    def __init__(self, config: ExtractConfig) -> None:
        self._config = config
        self._child: subprocess.Popen[bytes] | None = None
        self._key = (config.method, config.max_seconds)
        if config.method == "careful" and importlib.util.find_spec("trafilatura") is None:
            raise InputError(
                'corpus.extract.method = "careful" needs trafilatura: pip install \'seedbed[web]\', or choose "fast"'
            )

    def __enter__(self) -> "PageReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """A child that has answered everything waits for the next reader: starting one takes a quarter of a second."""
        if (
            kind is None
            and self._child is not None
            and self._child.poll() is None
            and self._key not in waiting_children
        ):
            waiting_children[self._key], self._child = self._child, None
        self._end()

    def start(self, batch: Sequence[Record | RawPage]) -> None:
        """Send the batch's pages. The child takes them all before it answers: neither side waits for the other's pipe."""
        pages = [record for record in batch if isinstance(record, RawPage)]
        if not pages or self._config.method == "none":
            return
        frames = [{"bytes": len(p.data), "charset": p.charset, "robots": p.robots, "tdm": p.tdm} for p in pages]
        child = self._child or self._begin()
        assert child.stdin is not None
        with suppress(BrokenPipeError):  # it is gone: the first answer that is missing says so
            child.stdin.write(json.dumps(frames).encode() + b"\n")
            child.stdin.writelines(page.data for page in pages)
            child.stdin.flush()

    def finish(self, batch: Sequence[Record | RawPage]) -> Iterator[Record]:
        """The batch with its pages as documents."""
        for index, record in enumerate(batch):
            if not isinstance(record, RawPage):
                yield record
            elif self._config.method == "none":
                yield keep_markup(record)
            else:
                line = self._line()
                if line.endswith(b"\n"):
                    yield to_document(record, json.loads(line))
                else:
                    yield self._failed(record)
                    self.start(batch[index + 1 :])

    def _begin(self) -> "subprocess.Popen[bytes]":
        waiting = waiting_children.pop(self._key, None)
        if waiting is not None and waiting.poll() is None:
            self._child = waiting
            return waiting
        config = self._config
        command = [sys.executable, *COMMAND, config.method, str(config.max_seconds), str(CHILD_BYTES)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with tempfile.TemporaryFile() as errors:
            # A session of its own: Ctrl-C is for the parent, and a page that it would cut short must not count as broken.
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env=environment, start_new_session=True,
            )  # fmt: skip
            self._child = child
            widen(child.stdin)
            if self._line() != b"ready\n":
                child.wait()
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines() or ["nothing"]
                raise SeedbedError(f"the process that extracts text did not start ({said[-1]})")
        return child

    def _line(self) -> bytes:
        assert self._child is not None and self._child.stdout is not None
        return self._child.stdout.readline()

    def _failed(self, page: RawPage) -> Quarantined:
        assert self._child is not None
        status = self._child.wait()
        self._end()
        if status == TIMED_OUT:
            reason = f"took longer than {self._config.max_seconds:g} s to extract (corpus.extract.max_seconds)"
            return refuse(page, "timeout", reason)
        how = signal_name(-status) if status < 0 else f"status {status}"
        return refuse(page, "extraction_failed", f"the parser crashed on it ({how})")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()


waiting_children: dict[tuple[str, float], "subprocess.Popen[bytes]"] = {}  # they end with this process: see child.py


def widen(pipe: Any) -> None:
    """Let the pipe hold more, where the system lets itself be asked (Linux): fewer turns between writer and reader."""
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def refuse(page: RawPage, rule: str, reason: str) -> Quarantined:
    document = page.document
    return Quarantined(document.id, rule, f"{reason}.", document.bytes_in, document.source, document.domain)


def keep_markup(page: RawPage) -> Document:
    """The page as a document of HTML."""
    page.document.text = well_formed(decode(page.data, find_encoding(page.data, page.charset))[0])
    return page.document


def to_document(page: RawPage, reply: dict[str, Any]) -> Record:
    if "rule" in reply:
        return refuse(page, reply["rule"], reply["reason"])
    document = page.document
    document.text, document.opt_out = reply["text"], reply["opt_out"]
    document.title = reply["title"] or document.title
    document.licence = reply["licence"] or document.licence
    document.date = reply["date"] or document.date
    document.metadata["encoding"] = reply["encoding"]
    return document
