"""Main text of a page: fast by resiliparse and a second look at its blocks, careful by trafilatura.

resiliparse finds the part of a page that is content and leaves in it what surrounds an article: the date line, links to other
articles, the form for comments. `clean_blocks` looks at each block's length and share of links and at its neighbours, in the
way of jusText (Pomikálek 2011, section 3): long text is good, short text is what its neighbours are, and nothing follows
the last good block. The bounds were chosen on every second of 990 labelled pages and checked on the others: accuracy of the
strings that must and must not appear rises from 83% to 90% on both halves (bench/extraction.py), for a tenth of the time.
"""

import re
from html import unescape
from typing import Any, NamedTuple

LONG = 150  # characters of a block that is text whatever it holds
SENTENCE = 60  # characters of a paragraph that is text when it ends as a sentence does
CAPTION = 50  # characters below which a block outside a paragraph is furniture
PARAGRAPH_LINKS = 0.4  # share of characters in links that makes a paragraph a list of links
BLOCK_LINKS = 0.25, 0.1  # the same of a long block, and of a short one, outside a paragraph
HEADING_LINKS = 0.5
ENDING_SHARE, ENDING_CHARACTERS = 0.6, 250  # of good text that lies before a heading which ends an article
ENDING_LENGTH = 100

ANCHOR = re.compile(r"<a\b[^>]*>(.*?)</a>", re.DOTALL)
TAG = re.compile(r"</?(?:h[1-6]|p|a|ul|ol|li|pre|br)(?:\s[^>]*)?/?>")
OPENING = re.compile(r"<(h[1-6]|p|pre)\b")
SENTENCE_END = re.compile(r"[.!?…:;。！？][\"'»”’)]*$")
# Words that begin what stands under an article: comments, related articles, authors, tags. English and the larger languages
# of the web; in others the neighbours alone decide.
ENDING = re.compile(
    r"(?:\d*\s*(?:comments?|responses?|thoughts on|kommentare?|antworten|reaktionen|gedanken zu|commentaires?|comentarios?)"
    r"|leave a|post a|add a|join the (?:discussion|conversation)|share (?:this|on)|related|similar|read (?:more|next)|see also"
    r"|more (?:from|on|about)|you (?:may|might)|about the author|tags?|categories|newsletter|subscribe|post navigation"
    r"|hinterlasse|schreibe? (?:einen|uns)|deine? meinung|ähnliche|verwandte|weitere|das könnte|auch interessant"
    r"|mehr (?:zum|zu|dazu)|lesen sie auch|teilen|über den autor|schlag(?:wort|wörter)|kategorien?"
    r"|beitragsnavigation|meistgelesen"
    r"|laisser un|à lire (?:aussi|également)|articles? (?:liés|similaires)|sur le même"
    r"|deja (?:un|tu)|artículos? relacionad|notas relacionadas|te puede interesar|lea también"
    r"|leia (?:também|mais)|deixe um|leggi anche|lascia un|lees ook|reacties|czytaj także"
    r"|zobacz (?:też|także)|читайте также|похожие)\b",
    re.IGNORECASE,
)


class Block(NamedTuple):
    """`kind`: the tag that opens it (h1 to h6, p, pre) or ""; `links`: share of its characters that are in links."""

    kind: str
    text: str
    links: float


def fast_text(tree: Any) -> str:
    """The main content of a parsed page (resiliparse HTMLTree), an empty line between blocks."""
    from resiliparse.extract.html2text import extract_plain_text

    markup = extract_plain_text(
        tree, main_content=True, preserve_formatting="minimal_html", links=True, alt_texts=False, list_bullets=False
    )
    return clean_blocks(split_blocks(markup))


def careful_text(html: str) -> str:
    """trafilatura's reading of a page, its fallbacks to other extractors included, without the comments of readers."""
    import trafilatura

    return trafilatura.extract(html, include_comments=False) or ""


def split_blocks(markup: str) -> list[Block]:
    """The blocks of resiliparse's minimal HTML, which an empty line divides."""
    blocks = []
    for raw in markup.split("\n\n"):
        if "<" not in raw and "&" not in raw:
            if text := raw.strip():
                blocks.append(Block("", text, 0.0))
            continue
        opening = OPENING.match(raw.lstrip())
        linked = sum(len(TAG.sub("", inside).strip()) for inside in ANCHOR.findall(raw)) if "<a" in raw else 0
        text = unescape(TAG.sub("", raw)).strip()
        if text:
            blocks.append(Block(opening[1] if opening else "", text, linked / len(text)))
    return blocks


def clean_blocks(blocks: list[Block]) -> str:
    """The text without what surrounds an article; all of it where no block is good."""
    kinds = [judge(block) for block in blocks]
    if "good" not in kinds:
        return "\n\n".join(block.text for block in blocks)
    stop = ending(blocks, kinds)
    kept: list[str] = []
    following = ""  # the kind of the next block that is not short
    wanted: list[bool | None] = []  # from the last block to the first; None: only if some block before is kept
    for kind in reversed(kinds[:stop]):
        with_text = kind == "good" or (kind == "heading" and following == "good")
        wanted.append(None if kind == "short" and following in ("good", "heading") else with_text)
        following = following if kind == "short" else kind
    for block, choice in zip(blocks, reversed(wanted), strict=False):
        if choice or (choice is None and kept):
            kept.append(block.text)
    return "\n\n".join(kept)


def judge(block: Block) -> str:
    """`good`, `short` (as its neighbours), `heading` (as what follows), `ending`, or `bad`."""
    kind, text, links = block
    size = len(text)
    if kind in ("p", "pre"):
        full = size >= LONG or (size >= SENTENCE and SENTENCE_END.search(text))
        verdict = "bad" if links > PARAGRAPH_LINKS else "good" if full else "short"
    elif kind:
        verdict = "heading" if links < HEADING_LINKS else "bad"
    elif size >= LONG and links < BLOCK_LINKS[0]:
        verdict = "good"
    else:
        verdict = "bad" if links > BLOCK_LINKS[1] or size < CAPTION else "short"
    return "ending" if verdict != "good" and size < ENDING_LENGTH and ENDING.match(text) else verdict


def ending(blocks: list[Block], kinds: list[str]) -> int:
    """How many blocks lie before the article's end: up to its last good one, or that before the words that end it."""
    good = [number for number, kind in enumerate(kinds) if kind == "good"]
    total = sum(len(blocks[number].text) for number in good)
    before, last = 0, -1
    for number, kind in enumerate(kinds):
        if kind == "good":
            before, last = before + len(blocks[number].text), number
        elif kind == "ending" and before >= max(ENDING_CHARACTERS, ENDING_SHARE * total):
            return last + 1
    return good[-1] + 1
