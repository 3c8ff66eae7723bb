"""One spelling for one text: Unicode form, line ends, control characters, spaces at line ends. Indentation stays."""

import re
import unicodedata
from typing import Literal

VERSION = 1
# Tab and line feed stay. The rest of C0, DEL and C1 have no glyph; U+FEFF is a stray byte-order mark; U+FFFE and U+FFFF
# are noncharacters (Unicode 16, section 23.7).
CONTROLS = "".join(map(chr, [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0xFEFF, 0xFFFE, 0xFFFF]))
CONTROL = re.compile(f"[{CONTROLS}]")
LINE_END = re.compile("\r\n?|[\u2028\u2029]")


def normalise(text: str, form: Literal["NFC", "NFKC", "none"] = "NFC") -> str:
    """The normalised text. normalise(normalise(x)) == normalise(x)."""
    # To look for each of these signs by itself takes half the time of a pattern for all.
    if any(map(text.__contains__, "\r\u2028\u2029")):
        text = LINE_END.sub("\n", text)
    if any(map(text.__contains__, CONTROLS)):
        text = CONTROL.sub("", text)
    if form != "none" and not unicodedata.is_normalized(form, text):
        text = unicodedata.normalize(form, text)
    # A regular expression for spaces at line ends takes quadratic time on a long run of spaces; this is linear.
    return "\n".join([line.rstrip() for line in text.split("\n")]).strip("\n")
