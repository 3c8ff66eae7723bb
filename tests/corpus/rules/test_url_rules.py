"""Block lists and address words: one host however written, every format of list, no innocent page, no crash on noise."""

import contextlib
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.rules import load_group
from seedbed.corpus.rules.blocklists import (
    BlockLists,
    Entries,
    load_lists,
    normal_host,
    parse_line,
    parse_url,
    path_prefixes,
    suffixes,
)
from seedbed.corpus.rules.url import word_match
from seedbed.corpus.view import TextView
from seedbed.errors import InputError
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import UrlRules

LABEL = st.text("ab7-", min_size=1, max_size=4).map(lambda label: f"x{label}y")  # few letters: hosts meet
HOST = st.lists(LABEL, min_size=2, max_size=5).map(".".join).filter(lambda host: not host.split(".")[-1].isdigit())


def lists(**lines: str) -> BlockLists:
    entries = []
    for text in lines.values():
        entries.append(Entries())
        entries[-1].add(text.splitlines())
    return BlockLists(list(lines), entries)


@pytest.mark.parametrize(
    "url",
    [
        "https://bad.example.com/page?q=1#top",
        "HTTP://BAD.Example.COM:8080/",
        "//user:secret@bad.example.com./x",
        "bad.example.com",
        "https://deep.below.bad.example.com",
        "https://bad。example．com/ideographic/stops",
    ],
)
def test_a_listed_host_is_found_however_it_is_written(url: str) -> None:
    assert lists(adult="bad.example.com").find(parse_url(url)) == ("adult", "bad.example.com")


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://notbad.example.com", "https://bad.example.com.de/", ""]
)
def test_neighbours_of_a_listed_host_are_not(url: str) -> None:
    assert lists(adult="bad.example.com").find(parse_url(url)) is None


def test_international_hosts_meet_in_their_ascii_form() -> None:
    found = lists(spam="BÜCHER.example").find(parse_url("https://xn--bcher-kva.example/x"))
    assert (
        found
        == lists(spam="xn--bcher-kva.example").find(parse_url("https://bücher.example"))
        == (
            "spam",
            "xn--bcher-kva.example",
        )
    )


def test_a_listed_path_covers_what_lies_under_it_alone() -> None:
    held = lists(phishing="www.host.example/~bad/\nhttps://other.example/a?id=7")
    assert held.find(parse_url("http://host.example/~bad/deep/page.html?x=1")) == ("phishing", "host.example/~bad")
    assert held.find(parse_url("http://host.example/~badger")) is None
    assert held.find(parse_url("http://host.example/")) is None
    assert held.find(parse_url("https://other.example/a?id=7")) == ("phishing", "other.example/a?id=7")
    assert held.find(parse_url("https://other.example/a?id=8")) is None


@pytest.mark.parametrize(
    ("line", "hosts", "urls"),
    [
        ("ads.example.com", ["ads.example.com"], []),
        ("0.0.0.0 ads.example.com tracker.example.net # two", ["ads.example.com", "tracker.example.net"], []),
        ("127.0.0.1 localhost", [], []),
        ("::1 localhost ads.example.org", ["ads.example.org"], []),
        ("||ads.example.com^", ["ads.example.com"], []),
        ("||ads.example.com^$popup,document", ["ads.example.com"], []),
        ("*.ads.example.com", ["ads.example.com"], []),
        (".ads.example.com", ["ads.example.com"], []),
        ("https://ads.example.com:443/path/", [], ["ads.example.com/path"]),
        ("192.0.2.7", ["192.0.2.7"], []),
        ("ads.example.com # why", ["ads.example.com"], []),
        ("# comment", [], []),
        ("! comment", [], []),
        ("[Adblock Plus 2.0]", [], []),
        ("   ", [], []),
    ],
)
def test_every_format_of_line(line: str, hosts: list[str], urls: list[str]) -> None:
    assert parse_line(line) == (hosts, urls)


@pytest.mark.parametrize(
    "line",
    ["example.com##.banner", "@@||good.example^", "||ads.example^$third-party", "/banner/*/img^", "two words", "word"],
)
def test_lines_that_name_no_page_are_counted_and_not_used(line: str) -> None:
    entries = Entries()
    entries.add([line])
    assert (entries.unused, len(entries.hosts), len(entries.urls)) == (1, 0, 0)


def test_lists_come_from_files_packed_or_not_and_from_ut1_folders(tmp_path: Path) -> None:
    (tmp_path / "spam.txt.gz").write_bytes(gzip.compress(b"spam.example\n"))
    (tmp_path / "blacklists" / "adult").mkdir(parents=True)
    (tmp_path / "blacklists" / "adult" / "domains").write_text("adult.example\n")
    (tmp_path / "blacklists" / "adult" / "urls").write_text("shared.example/adult\n")
    held = load_lists([str(tmp_path / "spam.txt.gz"), str(tmp_path / "blacklists")])
    assert held.names == ("spam", "adult") and len(held) == 3
    assert held.num_bytes == 9 * 3  # as the module says
    assert held.find(parse_url("http://www.spam.example")) == ("spam", "spam.example")
    assert held.find(parse_url("http://shared.example/adult/1")) == ("adult", "shared.example/adult")


@pytest.mark.parametrize(("data", "complaint"), [(None, "no such file"), (b"# nothing\n", "no host or URL")])
def test_a_list_that_cannot_work_is_an_input_error(tmp_path: Path, data: bytes | None, complaint: str) -> None:
    if data is not None:
        (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(InputError, match=complaint):
        load_lists([str(tmp_path / "list.txt")])
    (tmp_path / "list.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(InputError, match="cannot be read"):
        load_lists([str(tmp_path / "list.gz")])


@settings(max_examples=40, deadline=None)
@given(listed=st.lists(HOST, min_size=1, max_size=30), asked=st.lists(HOST, min_size=1, max_size=10), below=LABEL)
def test_hashes_decide_as_plain_strings_would(listed: list[str], asked: list[str], below: str) -> None:
    held = lists(one="\n".join(listed))
    for host in [*asked, *(f"{below}.{host}" for host in listed)]:
        expected = any(host == bad or host.endswith(f".{bad}") for bad in listed)
        assert (held.find(parse_url(f"https://{host}/x")) is not None) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_noise_is_no_crash_and_a_host_is_its_own_normal_form(text: str) -> None:
    parse_line(text)
    address = parse_url(text)
    assert normal_host(address.host) == address.host
    assert word_match(address) is not None and suffixes(address.host or "a.b") and path_prefixes(address) is not None
    lists(one="a.example").find(address)


@pytest.mark.parametrize(
    "url", ["http://a.example/" + "x/" * 10**6, "http://" + "ü" * 10**6, "http://" + "a." * 10**6 + "example"]
)
def test_an_endless_address_takes_no_time(url: str) -> None:
    assert len(path_prefixes(parse_url(url))) < 10_000 and not lists(one="b.example").find(parse_url(url))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_a_file_of_noise_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("lists") / "noise"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        load_lists([str(path)])


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("https://freeporn.example/", "hard word: porn"),
        ("https://x.example/watch/xxx-clips", "hard word: xxx"),
        ("https://example.com/best-casino-bonus", "soft words: bonus+casino"),
        ("https://casino.example/history", ""),
        ("https://en.wikipedia.org/wiki/Sex_education", ""),
        ("https://essex.example/adulthood/analysis-of-cockpit-assessments", ""),
        ("https://example.com/sussex/scunthorpe/cumming/titanic", ""),
    ],
)
def test_hard_words_are_enough_and_soft_ones_need_company(url: str, match: str) -> None:
    assert word_match(parse_url(url)) == match


def test_the_group_names_list_and_entry(tmp_path: Path) -> None:
    (tmp_path / "adult").write_text("bad.example\n")
    group = load_group("url")
    worker = group.start(UrlRules(lists=(str(tmp_path / "adult"),)), CurateConfig())

    def match(url: str | None) -> float | str:
        return worker.examine(TextView("text"), {"url": url})[0][0]

    assert match("https://www.bad.example/a") == "adult: bad.example"
    assert match("https://www.good.example/a") == match("") == match(None) == ""
    assert group.start(UrlRules(words=False), CurateConfig()).examine(TextView(""), {"url": "http://porn.example"})[
        0
    ] == [""]
