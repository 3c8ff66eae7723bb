"""Lines are boilerplate by the share of a site's pages that have them, counted over all shards."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.dedup.boilerplate import Boilerplate, count_lines, find_boilerplate, host_key


def find(documents, folder, *, shards=1, parts=1, min_pages=3, min_share=0.5):
    folder.mkdir(exist_ok=True)
    bounds = [len(documents) * n // shards for n in range(shards + 1)]
    for shard, (start, end) in enumerate(itertools.pairwise(bounds)):
        count_lines(documents[start:end], shard, folder)
    task = {"parts": parts, "shards": shards, "min_pages": min_pages, "min_share": min_share}
    for part in range(parts):
        find_boilerplate(task | {"part": part}, folder)
    return Boilerplate(folder, parts)


def clean(found, url, text):
    for span in reversed(found.spans(url, text)):
        text = text[: span.start] + text[span.end :]
    return text


PAGES = [
    (f"https://www.example.org/{n}", f"Menu\n\nArticle {n} says something.\nSee also\n  © Example {'' if n else '!'}")
    for n in range(6)
]
OTHERS = [("https://other.org/1", "Menu\nWhat is for lunch"), ("", "Menu\n© Example")]


def test_lines_of_most_pages_of_a_site_go_and_stay_elsewhere(tmp_path):
    found = find(PAGES + OTHERS, tmp_path, shards=3, parts=2)
    assert clean(found, *PAGES[1]) == "\nArticle 1 says something.\n"
    assert clean(found, *PAGES[0]) == "\nArticle 0 says something.\n  © Example !"
    assert [clean(found, *page) for page in OTHERS] == [text for _, text in OTHERS]
    kinds = [span.kind for span in found.spans(*PAGES[1])]
    assert kinds[0] == "boilerplate on 6 pages (100% of the site)"
    assert kinds[-1] == "boilerplate on 5 pages (83% of the site)"


def test_thresholds_are_at_least_pages_and_more_than_a_share(tmp_path):
    pages = [(f"http://a.org/{n}", "half" if n < 3 else "other half\nonce") for n in range(6)]
    assert not len(find(pages, tmp_path / "share", min_share=0.5).lines)
    assert len(find(pages, tmp_path / "less", min_share=0.49).lines) == 3
    assert not len(find(pages, tmp_path / "pages", min_pages=4, min_share=0.0).lines)


def test_a_line_repeated_on_one_page_counts_once(tmp_path):
    assert not len(find([("http://a.org", "x\nx\nx\nx")], tmp_path, min_share=0.1).lines)


LINES = st.lists(st.sampled_from(["a", "b", " a ", "", "c c"]), max_size=6).map("\n".join)
URLS = st.sampled_from(["http://a.org/1", "http://b.org/1", "", "http://[::1"])


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(URLS, LINES), max_size=12), st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.0, 0.4]))
def test_what_goes_is_what_plain_counting_says(tmp_path_factory, pages, shards, min_pages, min_share):
    found = find(
        pages, tmp_path_factory.mktemp("lines"), shards=shards, parts=shards, min_pages=min_pages, min_share=min_share
    )
    for url, text in pages:
        same = [{line.strip() for line in other.split("\n")} for at, other in pages if host_key(at) == host_key(url)]

        def stays(line, url=url, same=same):
            count = sum(line.strip() in lines for lines in same)
            return not host_key(url) or not line.strip() or count < min_pages or count <= min_share * len(same)

        kept = [line for line in text.split("\n") if stays(line)]
        assert clean(found, url, text).rstrip("\n") == "\n".join(kept).rstrip("\n")


@pytest.mark.parametrize("url", ["http://www.a.org/x", "https://a.org:8080/y?z", "//A.ORG"])
def test_a_site_is_its_host(url):
    assert host_key(url) == host_key("http://a.org/") != 0
