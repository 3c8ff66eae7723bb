"""Main text of a page: fast by resiliparse, careful by trafilatura."""

from typing import Any

from seedbed.errors import InputError


def fast_text(tree: Any) -> str:
    """The main content of a parsed page (resiliparse HTMLTree), a block a line."""
    from resiliparse.extract.html2text import extract_plain_text

    return str(
        extract_plain_text(tree, main_content=True, preserve_formatting=True, alt_texts=False, list_bullets=False)
    )


def careful_text(html: str) -> str:
    """trafilatura's reading of a page, its fallbacks to other extractors included."""
    try:
        import trafilatura
    except ImportError:
        raise InputError(
            'corpus.extract.method = "careful" needs trafilatura: pip install \'seedbed[web]\', or choose "fast"'
        ) from None
    return trafilatura.extract(html, include_comments=False, deduplicate=False) or ""
