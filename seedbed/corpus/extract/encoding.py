"""The encoding of a page: a byte-order mark, the HTTP header, the page's own word, else by statistics; and its decoding.

The order is the HTML standard's (section 13.2.3.2, determining the character encoding), which also says what labels mean.
"""

import codecs

from seedbed.corpus.records import detect_bom

PRESCAN_BYTES = 1024  # where the standard looks for <meta charset>
MOST_WRONG = 0.02  # a declared encoding that leaves a larger share of characters undecoded is taken for a mistake


def find_encoding(data: bytes, charset: str = "") -> str:
    """A name that Python's decoder knows. `charset`: what the HTTP header says, or ""."""
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    encoding, mark = detect_bom(data)
    if mark:
        return encoding
    if charset:
        named = map_encoding_to_html5(charset, fallback_utf8=False)
        if named and known(named):
            return str(named)
    detected = detect_encoding(data, from_html_meta=True)
    return str(detected) if detected and known(detected) else "utf-8"


def known(encoding: str) -> bool:
    try:
        codecs.lookup(encoding)
    except LookupError:
        return False
    return True


def decode(data: bytes, encoding: str) -> tuple[str, str]:
    """(text, encoding used). What cannot be decoded becomes U+FFFD; where that is much, the encoding is detected anew."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    text = decode_marked(data, encoding)
    wrong = text.count("\ufffd") if "\ufffd" in text else 0  # to look is faster than to count
    if wrong > MOST_WRONG * len(text):
        other = detect_encoding(data)
        if other and other != encoding and known(other):
            second = str(bytes_to_str(data, other))
            if second.count("\ufffd") < wrong:
                return second, str(other)
    return text, encoding


def decode_marked(data: bytes, encoding: str) -> str:
    _, mark = detect_bom(data)
    return data[mark:].decode(encoding, "replace")
