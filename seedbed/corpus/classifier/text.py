"""What the classifier reads of a document: the same words in training and when it is applied."""

import re

VERSION = 1  # raise it when words change: models of another version are refused
MAX_CHARACTERS = 20_000  # of a document, from its beginning: a book weighs no more than a long article
# Words of letters and digits, and every other sign alone. An underscore is a sign: no text can spell __label__ or </s>.
TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")


def model_text(text: str) -> str:
    """A normalised text as one line of lower-case words and signs, separated by single spaces; "" when there is none."""
    return " ".join(TOKEN.findall(text[:MAX_CHARACTERS].lower()))
