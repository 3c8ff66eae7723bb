"""Title, date, licence and opt-out signals of a page, from the tags that state them.

The tags are found by pattern: asking the parsed tree for them one by one takes as long as parsing the page did.

Signals, each a word of the column `opt_out`: `noindex` (robots meta, X-Robots-Tag; the word `none` implies it), `noai` and
`noimageai` (the words that DeviantArt proposed in 2022 and others took up), `tdm` (TDM Reservation Protocol, W3C community
report of 2024: `tdm-reservation` is 1). A directive for one named robot is not for everybody, and is passed over.
"""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

from seedbed.corpus.licences import creative_commons
from seedbed.corpus.records import well_formed

SIGNALS = ("noai", "noimageai", "noindex", "tdm")
# Directives that have a colon of their own: anything else before a colon is a robot's name.
VALUED = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")
TITLES = ("og:title", "twitter:title", "dc.title")
DATES = ("article:published_time", "datepublished", "date", "dc.date", "dcterms.created", "dc.date.issued", "pubdate")
LICENCES = ("dc.rights", "dcterms.license", "dcterms.rights", "dc.license", "license", "licence", "rights")
DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?)?")
# Patterns that begin with one certain sign are looked for some ten times faster than those that ignore case.
BODY = re.compile(r"<[bB][oO][dD][yY]\b")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
META = re.compile(r"<[mM][eE][tT][aA]\s([^>]+)>")
# What the names that are asked for hold: other tags are not taken apart.
ASKED = ("title", "date", "publi", "created", "issued", "licen", "rights", "robots", "tdm", "&")
ATTRIBUTE = re.compile(r"([a-zA-Z:-]{1,40})\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
LINKED_DATA = re.compile(
    r"<script\b[^>]{0,400}?application/ld\+json[^>]{0,400}>(.*?)</script", re.IGNORECASE | re.DOTALL
)
HEAD_CHARACTERS = 1 << 17  # where a head without a body's tag is taken to end
TAG_CHARACTERS = 4096
LD_TAG_CHARACTERS = 450
LD_DATES, LD_LICENCE = ("datePublished", "dateCreated"), ("license",)
LD_CHARACTERS = 1 << 18  # of JSON-LD: more is a shop's catalogue
SPACES = re.compile(r"\s+")
TITLE_CHARACTERS = 300


def find_metas(html: str) -> dict[str, str]:
    """Meta tags of the head that are asked for here by lower-case name, the first of each; those named robots together."""
    end = BODY.search(html, 0, HEAD_CHARACTERS)
    head = html[: end.start() if end else HEAD_CHARACTERS]
    if "<!--" in head:
        head = COMMENT.sub("", head)
    metas: dict[str, str] = {}
    for tag in META.findall(head):
        lowered = tag.lower()
        if not any(map(lowered.__contains__, ASKED)):
            continue
        attributes = read_attributes(tag)
        name = attributes.get("name") or attributes.get("property") or attributes.get("itemprop") or ""
        name, content = name.strip().lower(), attributes.get("content", "").strip()
        if name == "robots" and name in metas:
            metas[name] += f",{content}"
        elif name and content:
            metas.setdefault(name, content)
    return metas


def read_attributes(tag: str) -> dict[str, str]:
    """Of a start tag's inside: `name="robots" content=noai`."""
    found: dict[str, str] = {}
    for name, double, single, bare in ATTRIBUTE.findall(tag[:TAG_CHARACTERS]):
        found.setdefault(name.lower(), unescape(double or single or bare))
    return found


def linked_data_texts(html: str) -> Iterator[str]:
    at = html.find("ld+json")
    while at >= 0:
        start = html.rfind("<", max(0, at - LD_TAG_CHARACTERS), at)
        match = LINKED_DATA.match(html, start) if start >= 0 else None
        if match:
            yield match[1]
        at = html.find("ld+json", max(at + 1, match.end() if match else 0))


def linked_data(html: str, metas: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Objects of the page's JSON-LD, where it may say what the meta tags do not: taking it apart takes its time."""
    asked = LD_LICENCE if find_date(metas, []) else (*LD_DATES, *LD_LICENCE)
    for text in linked_data_texts(html):
        if len(text) > LD_CHARACTERS or not any(map(text.__contains__, asked)):
            continue
        try:
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield item
                graph = item.get("@graph")
                yield from (node for node in (graph if isinstance(graph, list) else []) if isinstance(node, dict))


def find_title(tree: Any, metas: dict[str, str]) -> str:
    title = next((metas[name] for name in TITLES if metas.get(name)), "") or tree.title or ""
    return well_formed(SPACES.sub(" ", title).strip())[:TITLE_CHARACTERS]


def find_date(metas: dict[str, str], items: list[dict[str, Any]]) -> str:
    """When the page says it was published, ISO 8601; "" when it does not say."""
    stated = [metas.get(name, "") for name in DATES]
    stated += [item[key] for item in items for key in LD_DATES if isinstance(item.get(key), str)]
    return next((date for text in stated if (date := clean_date(text))), "")


def clean_date(text: str) -> str:
    match = DATE.match(text.strip())
    if not match or not 1 <= int(match[2]) <= 12 or not 1 <= int(match[3]) <= 31 or not 1900 <= int(match[1]) <= 2100:
        return ""
    return match[0].replace(" ", "T")


def find_licence(html: str, metas: dict[str, str], items: list[dict[str, Any]]) -> str:
    """The licence of the page as a whole: rel=license, meta tags, JSON-LD. Creative Commons as SPDX, others as they stand."""
    stated = []
    for tag in tags_around(html, "license"):
        attributes = read_attributes(tag)
        if "license" in attributes.get("rel", "").lower().split():
            stated.append(attributes.get("href", ""))
    stated += [metas[name] for name in LICENCES if metas.get(name)]
    for item in items:
        value = item.get("license")
        value = value.get("url") or value.get("@id") if isinstance(value, dict) else value
        if isinstance(value, str):
            stated.append(value)
    known = next((name for text in stated if (name := creative_commons(text))), "")
    other = next((text for text in stated if re.match(r"https?://\S{4,200}$", text)), "")
    return well_formed(known or other)


def tags_around(html: str, word: str) -> Iterator[str]:
    """The insides of tags that hold `word`."""
    at = html.find(word)
    while at >= 0:
        start, end = html.rfind("<", max(0, at - TAG_CHARACTERS), at), html.find(">", at, at + TAG_CHARACTERS)
        if start >= 0 and end >= 0 and ">" not in html[start:at]:
            yield html[start + 1 : end]
        at = html.find(word, max(at, end) + 1)


def find_opt_out(metas: dict[str, str], robots: str, tdm: str) -> str:
    """Signals of the page and of its HTTP headers (`robots`: X-Robots-Tag, `tdm`: TDM-Reservation)."""
    words = {*robots_words(metas.get("robots", "")), *robots_words(robots)}
    if "none" in words:
        words.add("noindex")
    if "1" in (metas.get("tdm-reservation", "").strip(), tdm.strip()):
        words.add("tdm")
    return " ".join(name for name in SIGNALS if name in words)


def robots_words(directives: str) -> set[str]:
    """The directives for everybody, a header a line. `googlebot: noindex, nofollow` is for one robot, up to the next name."""
    words: set[str] = set()
    for line in directives.lower().splitlines():
        mine = True
        for part in line.split(","):
            name, colon, value = part.strip().partition(":")
            if colon and name.strip() not in VALUED:
                mine, name = name.strip() == "*", value
            if mine:
                words |= set(name.split())
    return words
