"""A page before and after extraction."""

from dataclasses import dataclass

from seedbed.corpus.records import Document


@dataclass(slots=True)
class RawPage:
    """HTML as it came. `document` has everything but the text; `charset`, `robots` and `tdm` are the HTTP headers'."""

    document: Document
    data: bytes
    charset: str = ""
    robots: str = ""  # X-Robots-Tag
    tdm: str = ""  # TDM-Reservation


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says. `opt_out`: signals with spaces between (noai, noimageai, noindex, tdm)."""

    text: str
    title: str = ""
    date: str = ""
    licence: str = ""
    opt_out: str = ""
    encoding: str = ""
