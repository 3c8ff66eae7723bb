"""Extraction: from a page's bytes to its text, title, date, licence and signals against training on it.

Takes raw pages among records and gives documents in their place, in the same order. A page that hangs, crashes the
parser or holds no text is quarantined with the reason; nothing it contains ends the process that reads the crawl.
"""

from seedbed.corpus.extract.guard import extract_pages
from seedbed.corpus.extract.page import RawPage

VERSION = 1  # of what a page becomes: raise it with every change of the text

__all__ = ["VERSION", "RawPage", "extract_pages"]
