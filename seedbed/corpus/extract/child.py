"""The process that takes pages apart: bytes in, JSON out, and an end by its own hand when a page takes too long.

    python -m seedbed.corpus.extract.child METHOD SECONDS BYTES

Parsers are native code that Python's signal handlers do not interrupt, and a page can be made to hang or crash them. So they run
here, and the system's alarm clock, which asks nobody, ends the process when one page has had SECONDS (without one, a
watchdog thread of faulthandler's); whoever waits sees the pipe close and knows which page it was.

A batch in: a line of JSON, a list of {"bytes": n, "charset", "robots", "tdm"}, then the pages' bytes. Out: a line of JSON
for each page, a Page's fields or {"rule", "reason"}.
"""

import faulthandler
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from seedbed.corpus.extract.encoding import decode, find_encoding
from seedbed.corpus.extract.page import Page

ALARM: int | None = getattr(signal, "SIGALRM", None)
TIMED_OUT = (
    1 if ALARM is None else -ALARM
)  # the exit status of a child whose time was up: faulthandler's, or the signal


def read_page(data: bytes, method: str, charset: str = "", robots: str = "", tdm: str = "") -> Page:
    """Everything that a page says. `method`: fast or careful."""
    from resiliparse.parse.html import HTMLTree

    from seedbed.corpus.extract import metadata
    from seedbed.corpus.extract.main_text import careful_text, fast_text
    from seedbed.corpus.records import well_formed

    html, encoding = decode(data, find_encoding(data, charset))
    tree = HTMLTree.parse(html)
    metas = metadata.find_metas(html)
    items = list(metadata.linked_data(html, metas))
    title, date = metadata.find_title(tree, metas), metadata.find_date(metas, items)
    licence, opt_out = metadata.find_licence(html, metas, items), metadata.find_opt_out(metas, robots, tdm)
    text = careful_text(html) if method == "careful" else fast_text(tree)
    return Page(well_formed(text), title, date, licence, opt_out, encoding)


def answer(data: bytes, method: str, frame: dict[str, Any]) -> dict[str, Any]:
    try:
        page = read_page(data, method, frame["charset"], frame["robots"], frame["tdm"])
    except Exception as error:  # whatever a parser throws at a page is that page's reason
        detail = next(iter(str(error).splitlines()), "")[:200]
        return {"rule": "extraction_failed", "reason": f"{type(error).__name__}: {detail}"}
    if not page.text.strip():
        return {"rule": "no_text", "reason": "no main content was found"}
    return {
        "text": page.text,
        "title": page.title,
        "date": page.date,
        "licence": page.licence,
        "opt_out": page.opt_out,
        "encoding": page.encoding,
    }


def make_alarm() -> Callable[[float], None]:
    """A function that ends this process in so many seconds, unless it is called again before: 0 for never."""
    if ALARM is None:
        nowhere = open(os.devnull, "w")  # noqa: PTH123, SIM115

        def set_watchdog(seconds: float) -> None:
            faulthandler.cancel_dump_traceback_later()
            if seconds:
                faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)

        return set_watchdog

    signal.signal(ALARM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [ALARM])

    def set_clock(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    return set_clock


def limit_memory(num_bytes: int) -> None:
    """No more address space than this, where the system knows such limits: an allocation fails, and the page with it."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))


def serve(source: BinaryIO, sink: BinaryIO, method: str, seconds: float) -> None:
    set_alarm = make_alarm()
    while line := source.readline():
        frames = json.loads(line)
        pages = [source.read(frame["bytes"]) for frame in frames]
        for frame, data in zip(frames, pages, strict=True):
            set_alarm(seconds)
            reply = answer(data, method, frame)
            set_alarm(0)
            sink.write(json.dumps(reply).encode() + b"\n")
            sink.flush()


def main() -> None:
    method, seconds, num_bytes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    logging.disable(logging.CRITICAL)  # trafilatura has a line for every page that it finds wanting
    read_page(b"<p>Everything that is imported later is imported now.</p>", method)
    limit_memory(num_bytes)
    sink.write(b"ready\n")
    sink.flush()
    serve(sys.stdin.buffer, sink, method, seconds)


if __name__ == "__main__":
    main()
