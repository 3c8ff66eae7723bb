"""Title, date, licence and opt-out signals of a parsed page.

Signals, each a word of the column `opt_out`: `noindex` (robots meta, X-Robots-Tag; the word `none` implies it), `noai` and
`noimageai` (the words that DeviantArt proposed in 2022 and others took up), `tdm` (TDM Reservation Protocol, W3C community
report of 2024: `tdm-reservation` is 1). A directive for one named robot is not for everybody, and is passed over.
"""

import json
import re
from collections.abc import Iterator
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
LD_BYTES = 1 << 18  # of JSON-LD: more is a shop's catalogue
SPACES = re.compile(r"\s+")
TITLE_CHARACTERS = 300


def head_of(tree: Any) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """(meta tags by lower-case name, the first of each; JSON-LD objects). `tree`: a resiliparse HTMLTree."""
    metas: dict[str, str] = {}
    for element in tree.document.query_selector_all("meta[content]"):
        name = element.getattr("name") or element.getattr("property") or element.getattr("itemprop") or ""
        name, content = name.strip().lower(), (element.getattr("content") or "").strip()
        if name == "robots" and name in metas:
            metas[name] += f",{content}"
        elif name and content:
            metas.setdefault(name, content)
    return metas, list(linked_data(tree))


def linked_data(tree: Any) -> Iterator[dict[str, Any]]:
    for element in tree.document.query_selector_all('script[type="application/ld+json"]'):
        text = element.text
        if len(text) > LD_BYTES:
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
    title = next((metas[name] for name in TITLES if metas.get(name)), "") or (tree.title or "")
    return well_formed(SPACES.sub(" ", title).strip())[:TITLE_CHARACTERS]


def find_date(metas: dict[str, str], items: list[dict[str, Any]]) -> str:
    """When the page says it was published, ISO 8601; "" when it does not say."""
    stated = [metas.get(name, "") for name in DATES]
    stated += [
        item[key] for item in items for key in ("datePublished", "dateCreated") if isinstance(item.get(key), str)
    ]
    return next((date for text in stated if (date := clean_date(text))), "")


def clean_date(text: str) -> str:
    match = DATE.match(text.strip())
    if not match or not 1 <= int(match[2]) <= 12 or not 1 <= int(match[3]) <= 31 or not 1900 <= int(match[1]) <= 2100:
        return ""
    return match[0].replace(" ", "T")


def find_licence(tree: Any, metas: dict[str, str], items: list[dict[str, Any]]) -> str:
    """The licence of the page as a whole: rel=license, meta tags, JSON-LD. Creative Commons as SPDX, others as they stand."""
    stated = [
        element.getattr("href") or ""
        for element in tree.document.query_selector_all('a[rel~="license"], link[rel~="license"]')
    ]
    stated += [metas[name] for name in LICENCES if metas.get(name)]
    for item in items:
        value = item.get("license")
        value = value.get("url") or value.get("@id") if isinstance(value, dict) else value
        if isinstance(value, str):
            stated.append(value)
    known = next((name for text in stated if (name := creative_commons(text))), "")
    other = next((text for text in stated if re.match(r"https?://\S{4,200}$", text)), "")
    return well_formed(known or other)


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
