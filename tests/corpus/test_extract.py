"""Extraction: encodings, what a page says of itself, its main text, and pages that hang or crash a parser."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.extract import RawPage, extract_pages, guard
from seedbed.corpus.extract.child import read_page
from seedbed.corpus.extract.encoding import decode, find_encoding
from seedbed.corpus.extract.metadata import robots_words
from seedbed.corpus.records import Document, Quarantined, Record
from seedbed.corpus.sources import read_source
from seedbed.recipe.extraction import ExtractConfig
from seedbed.recipe.schema import SourceConfig

PARAGRAPH = (
    "The harbour froze over in the winter of that year, and the boats lay still until the ice went out in March. "
)
ARTICLE = f"""<!doctype html><html><head><title>Ice in the harbour</title></head><body>
<nav><a href=/>Home</a> <a href=/news>News</a></nav><article><h1>Ice in the harbour</h1><p>{PARAGRAPH * 3}</p>
<h2>The boats</h2><p>{PARAGRAPH * 2}</p></article><h3>Leave a comment</h3><p>Your name</p>
<footer><a href=/imprint>Imprint</a></footer></body></html>"""


def raw(data: bytes, number: int = 0, **fields: str) -> RawPage:
    return RawPage(Document(f"p{number}", "", len(data), "s"), data, **fields)


def extract(pages: Iterable[Record | RawPage], **config: object) -> list[Record]:
    return list(extract_pages(pages, ExtractConfig.model_validate(config)))


@pytest.mark.parametrize("method", ["fast", "careful"])
def test_the_article_stays_and_what_surrounds_it_goes(method: str) -> None:
    page = read_page(ARTICLE.encode(), method)
    assert page.title == "Ice in the harbour"
    assert page.text.count(PARAGRAPH.strip()) == 5 and "The boats" in page.text
    assert not any(word in page.text for word in ("Home", "Imprint", "Leave a comment", "Your name"))


def test_a_page_without_an_article_keeps_what_it_has() -> None:
    assert read_page(b"<p>One</p><p>Two</p>", "fast").text.split() == ["One", "Two"]


@pytest.mark.parametrize(
    ("data", "charset", "encoding"),
    [
        ("<p>Grüße".encode(), "", "utf-8"),
        ("<p>Grüße".encode("utf-16"), "iso-8859-1", "utf-16-le"),  # the mark wins over the header
        ("<p>日本語の文章です。".encode("shift_jis"), "Shift_JIS", "shift_jis"),
        ('<meta charset="euc-jp"><p>日本語の文章です。'.encode("euc_jp"), "", "euc_jp"),
        (
            '<meta charset="utf-8"><p>Grüße aus Köln und schöne Tage überall für alle'.encode("latin-1"),
            "",
            "windows-1252",
        ),
        ("<p>Grüße".encode(), "no-such-charset", "utf-8"),
    ],
)
def test_the_encoding_is_found(data: bytes, charset: str, encoding: str) -> None:
    text, used = decode(data, find_encoding(data, charset))
    assert "\ufffd" not in text and ("ü" in text or "日本語" in text)
    assert used.replace("-", "_").replace("cp", "windows_") == encoding.replace("-", "_") or text.encode(used)


@pytest.mark.parametrize(
    ("head", "field", "value"),
    [
        ('<a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/deed.en">', "licence", "CC-BY-SA-4.0"),
        ("<link href=http://creativecommons.org/publicdomain/zero/1.0/ rel='license'>", "licence", "CC0-1.0"),
        ('<script type="application/ld+json">{"@graph": [{"license": "https://creativecommons.org/licenses/by/3.0/"}]}</script>',
         "licence", "CC-BY-3.0"),
        ('<meta name="dc.rights" content="https://example.org/terms">', "licence", "https://example.org/terms"),
        ('<p>A photo under <a href="https://creativecommons.org/licenses/by/2.0/">CC BY</a></p>', "licence", ""),
        ('<meta name="robots" content="noindex, nofollow"><meta content=NoAI name=ROBOTS>', "opt_out", "noai noindex"),
        ('<meta name=robots content=none><meta name="tdm-reservation" content="1">', "opt_out", "noindex tdm"),
        ('<meta name="googlebot" content="noindex">', "opt_out", ""),
        ('<!-- <meta name="robots" content="noai"> -->', "opt_out", ""),
        ('<meta property="article:published_time" content="2021-03-04T05:06:07+01:00">', "date", "2021-03-04T05:06:07+01:00"),
        ('<meta name="date" content="4th of March"><script type="application/ld+json">{"datePublished": "2020-01-02"}</script>',
         "date", "2020-01-02"),
        ('<meta property="og:title" content="A &amp; B"><title>A | Site</title>', "title", "A & B"),
    ],
)  # fmt: skip
def test_what_a_page_says_of_itself(head: str, field: str, value: str) -> None:
    assert getattr(read_page(f"<html><head>{head}</head><body><p>{PARAGRAPH}".encode(), "fast"), field) == value


def test_headers_speak_for_a_page_too() -> None:
    page = read_page(ARTICLE.encode(), "fast", robots="googlebot: noindex, nofollow\nnoai, noimageai", tdm="1")
    assert page.opt_out == "noai noimageai tdm"
    assert robots_words("unavailable_after: 25 Jun 2025, noindex") >= {"noindex"}
    assert robots_words("*: noindex") == {"noindex"}


def test_pages_become_documents_in_the_order_they_came() -> None:
    records: list[Record | RawPage] = []
    for number in range(200):
        if number % 3:
            records.append(raw(ARTICLE.replace("harbour", f"harbour {number}").encode(), number))
        else:
            records.append(Document(f"p{number}", "text", 4))
    found = extract(records)
    assert [record.id for record in found] == [f"p{number}" for number in range(200)]
    assert all(f"harbour {n}" in r.text for n, r in enumerate(found) if n % 3 and isinstance(r, Document))


def test_a_page_too_large_or_without_text_is_quarantined() -> None:
    large, empty, good = extract(
        [raw(b"x" * 5000, 0), raw(b"<html></html>", 1), raw(ARTICLE.encode(), 2)], max_page_bytes=4000
    )
    assert isinstance(large, Quarantined) and large.rule == "too_large"
    assert isinstance(empty, Quarantined) and empty.rule == "no_text"
    assert isinstance(good, Document)


def test_markup_is_kept_where_the_recipe_says_so() -> None:
    (document,) = extract([raw(ARTICLE.encode())], method="none")
    assert isinstance(document, Document) and document.text == ARTICLE


# A child that sleeps, dies or eats memory over certain pages, as a parser in native code may: read_page is replaced in it.
HOSTILE = """
import ctypes, os, signal
from seedbed.corpus.extract import child
real = child.read_page
def read_page(data, *rest, **more):
    if b"HANG" in data:
        while True: ctypes.PyDLL(None).sleep(1000)  # within the interpreter's lock: no handler of Python's runs
    if b"CRASH" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"EAT" in data:
        return bytearray(8 << 30)
    return real(data, *rest, **more)
child.read_page = read_page
child.main()
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "hostile.py"
    script.write_text(HOSTILE)
    monkeypatch.setattr(guard, "COMMAND", [str(script)])


def test_a_page_that_hangs_crashes_or_eats_memory_is_the_only_one_lost(hostile: None) -> None:
    texts = ["good", "HANG", "good", "CRASH", "CRASH", "EAT", "good"]
    pages = [raw(ARTICLE.replace("winter", text).encode(), number) for number, text in enumerate(texts)]
    found = extract(pages, max_seconds=1.5)
    assert [getattr(record, "rule", "") for record in found] == [
        "", "timeout", "", "extraction_failed", "extraction_failed", "extraction_failed", "",
    ]  # fmt: skip
    hung, crashed = found[1], found[3]
    assert isinstance(hung, Quarantined) and "1.5 s" in hung.reason
    assert isinstance(crashed, Quarantined) and "SIGSEGV" in crashed.reason


def test_a_child_ends_with_its_parent() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "seedbed.corpus.extract.child", "fast", "5", str(2 << 30)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.stdin.close()
    assert child.wait(timeout=60) == 0
    child.stdout.close()


def test_an_html_file_is_read_as_a_page(tmp_path: Path) -> None:
    (tmp_path / "ice.html").write_text(ARTICLE)
    (document,) = read_source(SourceConfig(path=str(tmp_path / "ice.html")))
    assert isinstance(document, Document)
    assert (document.id, document.domain, document.title) == ("ice", "web", "Ice in the harbour")
    assert "Imprint" not in document.text


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from(["<p>", "</p>", "<a href=x>", "<meta name=robots content=", "<!--", "<script>", "<table>", "&#x0;"])
        | st.text(max_size=30) | st.binary(max_size=20),
        max_size=30,
    )
)  # fmt: skip
def test_any_markup_gives_a_page_that_can_be_written(pieces: list[str | bytes]) -> None:
    data = b"".join(piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else piece for piece in pieces)
    page = read_page(data, "fast")
    for text in (page.text, page.title, page.date, page.licence, page.opt_out):
        text.encode()


def test_deep_nesting_does_not_end_the_process() -> None:
    deep = b"<div>" * 200_000 + b"deep" + b"</div>" * 200_000
    first, second = extract([raw(deep, 0), raw(ARTICLE.encode(), 1)], max_seconds=2)
    assert isinstance(second, Document)
    assert isinstance(first, Document) or first.rule in ("timeout", "extraction_failed", "no_text")


def test_signals_for_the_parent_do_not_reach_the_child() -> None:
    with guard.PageReader(ExtractConfig()) as reader:
        reader.start([raw(ARTICLE.encode())])
        child = reader._child
        assert child is not None and os.getpgid(child.pid) != os.getpgid(0)
        (document,) = reader.finish([raw(ARTICLE.encode())])
        assert isinstance(document, Document)


def test_a_child_that_answered_everything_waits_for_the_next_reader_and_no_other() -> None:
    def read(fail: bool = False) -> int:
        with guard.PageReader(ExtractConfig()) as reader:
            reader.start([raw(ARTICLE.encode())])
            assert reader._child is not None
            number = reader._child.pid
            if fail:
                raise KeyboardInterrupt  # its answer is unread: it must not reach another page's reader
            assert isinstance(next(reader.finish([raw(ARTICLE.encode())])), Document)
        return number

    first = read()
    assert read() == first
    with pytest.raises(KeyboardInterrupt):
        read(fail=True)
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert read() != first
