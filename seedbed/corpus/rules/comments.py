"""Characters in comments of a program's text, by its language, and the visible text of an HTML page. No parser: one pass
over strings and comments, so that a quote in a comment or a comment sign in a string misleads neither."""

import html
import re
from functools import cache

C_LIKE = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
C_STRINGS = r'"(?:\\.|[^"\\\n])*"?|\'(?:\\.|[^\'\\\n])*\'?'
# language -> (comments, strings) as patterns. A Python docstring is a comment: a triple-quoted string that begins a line.
PYTHON = (
    r'#[^\n]*|^[ \t]*[rRuU]?(?:"""(?:\\.|[^\\])*?(?:"""|\Z)|\'\'\'(?:\\.|[^\\])*?(?:\'\'\'|\Z))',
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)|\'\'\'(?:\\.|[^\\])*?(?:\'\'\'|\Z)|' + C_STRINGS,
)
LANGUAGES = {
    "python": PYTHON,
    "java": (C_LIKE, C_STRINGS),
    "javascript": (C_LIKE, C_STRINGS + r"|`(?:\\.|[^`\\])*`?"),
}


@cache
def scanner(language: str) -> re.Pattern[str]:
    comments, strings = LANGUAGES[language]
    return re.compile(f"(?P<comment>{comments})|{strings}", re.DOTALL | re.MULTILINE)


def find_comments(text: str, language: str) -> list[tuple[int, int]]:
    """Where comments stand, in order; `language` is one of LANGUAGES."""
    return [match.span() for match in scanner(language).finditer(text) if match.lastgroup]


TAG = re.compile(r"<[^<>]*>")
HIDDEN = {
    "script": re.compile(r"</script", re.IGNORECASE),
    "style": re.compile(r"</style", re.IGNORECASE),
    "": re.compile("-->"),
}
OPENS = re.compile(r"<(script|style)\b|<!--", re.IGNORECASE)


def visible_text(page: str) -> str:
    """The text of an HTML page without scripts, styles, comments and tags."""
    pieces, at = [], 0
    while match := OPENS.search(page, at):
        pieces.append(page[at : match.start()])
        close = HIDDEN[(match[1] or "").lower()].search(page, match.end())
        if close is None:
            return html.unescape(TAG.sub("", "".join(pieces)))
        at = close.start() if match[1] else close.end()
    pieces.append(page[at:])
    return html.unescape(TAG.sub("", "".join(pieces)))
