"""Public IP addresses of version 4 and 6, told from version numbers, section numbers and times."""

import ipaddress
import re
from collections.abc import Iterator

from seedbed.corpus.scrub.characters import Characters
from seedbed.corpus.scrub.finding import Finding

V4 = re.compile(r"(?<![\w.\-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|[.\-][\w])")
# Public addresses of version 6 are those of 2000::/3 (RFC 4291, section 2.4; IANA): they begin with 2xxx or 3xxx.
V6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,35}(?![\w:])")
SAYS_ADDRESS = re.compile(r"\b(?:ip|ipv4|ips|host|hosts|server|address|addr|dns|ping|gateway|proxy)\b", re.I)
SAYS_VERSION = re.compile(
    r"\b(?:v|ver|version|versions|release|released|build|firmware|driver|upgrade|update|kernel|sdk|api|section|sections|"
    r"sec|chapter|figure|fig|table|theorem|lemma|definition|proposition|corollary|exercise|clause|paragraph|article|item|"
    r"step|ioc|oid|isa|asn)\b\.?[\s:=#(\"']*$",
    re.IGNORECASE,
)
NETWORK = re.compile(r"/[0-9]{1,2}(?![0-9.])")  # 16.0.0.0/8: many hosts, nobody's own
CONTEXT = 40  # characters before an address that are read


def find_addresses(characters: Characters) -> Iterator[Finding]:
    text = characters.text
    for first, last in characters.dotted:
        for match in V4.finditer(text, max(0, first - 3), last + 6):
            if is_public_v4(match[0]) and not reads_as_version(text, match.start(), match.end(), match[0]):
                yield Finding(match.start(), match.end())
    for start in characters.colons_after_four:
        found = V6.match(text, start)
        if found:
            address = found[0] if found[0].endswith("::") else found[0].rstrip(":")
            if is_public_v6(address):
                yield Finding(start, start + len(address))


def is_public_v4(text: str) -> bool:
    """Whether these four numbers are an address of the public Internet (IANA special-purpose registry, RFC 6890)."""
    try:
        address = ipaddress.IPv4Address(text)  # refuses leading zeros
    except ValueError:
        return False
    return address.is_global and not address.is_multicast


def is_public_v6(text: str) -> bool:
    if sum(1 for part in text.split(":") if part) < 3:
        return False
    try:
        return ipaddress.IPv6Address(text).is_global
    except ValueError:
        return False


def reads_as_version(text: str, start: int, end: int, address: str) -> bool:
    """Whether what stands beside the four numbers makes them a version, a section, a network or a product's number.

    Numbers of at most two digits each are taken for an address only where the text says so, in a URL, or with a port.
    """
    before = text[max(0, start - CONTEXT) : start]
    if SAYS_VERSION.search(before):
        return True
    if before.endswith("/"):
        return not before.endswith("//")  # Chrome/120.1.2.3
    if before.endswith(("@", "//")):
        return False
    if NETWORK.match(text, end):
        return True
    line_start = text.rfind("\n", max(0, start - CONTEXT), start)
    if text[end : end + 1] in (" ", "\t") and not text[line_start + 1 if line_start >= 0 else 0 : start].strip():
        follows = text[end : end + CONTEXT].lstrip(" \t")[:1]
        if follows.isupper():
            return True  # a heading: "2.10.3.1 Results"
    if any(len(part) > 2 for part in address.split(".")):
        return False
    port = text[end : end + 1] == ":" and text[end + 1 : end + 2].isdigit()
    return not (port or SAYS_ADDRESS.search(before))
