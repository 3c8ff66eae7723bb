"""One spelling for one text: Unicode form, line ends, control characters, spaces at line ends. Indentation stays."""

import re
import unicodedata
from typing import Literal

VERSION = 1
# Tab and line feed stay. The rest of C0, DEL and C1 have no glyph; U+FEFF is a stray byte-order mark; U+FFFE and U+FFFF
# are noncharacters (Unicode 16, section 23.7).
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
LINE_ENDS = re.compile("\r\n?|[\u2028\u2029]")


def normalise(text: str, form: Literal["NFC", "NFKC", "none"] = "NFC") -> str:
    """The normalised text. normalise(normalise(x)) == normalise(x)."""
    if "\r" in text or not text.isascii():
        text = LINE_ENDS.sub("\n", text)
    text = CONTROL.sub("", text)
    if form != "none" and not unicodedata.is_normalized(form, text):
        text = unicodedata.normalize(form, text)
    # A regular expression for spaces at line ends takes quadratic time on a long run of spaces; this is linear.
    return "\n".join([line.rstrip() for line in text.split("\n")]).strip("\n")
