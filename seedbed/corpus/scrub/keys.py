"""Keys that open something: tokens by their issuers' forms, passwords in URLs, assigned secrets, and private keys in PEM."""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from seedbed.corpus.scrub.characters import Characters, Places
from seedbed.corpus.scrub.finding import Finding

# Every key stands in one long word, the shortest being a URL with a password: a text without long words has none.
MIN_WORD = 12
# Forms as their issuers document them (and as scanners of secrets publish them): (issuer, what it begins with, form).
FORMS = (
    ("aws", ("AKIA", "ASIA"), r"(?:AKIA|ASIA)[A-Z2-7]{16}"),
    ("github", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    ("github", ("github_pat_",), r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    ("gitlab", ("glpat-",), r"glpat-[A-Za-z0-9_\-]{20,64}"),
    ("slack", ("xox", "xapp-"), r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9\-]{20,255}"),
    (
        "slack",
        ("hooks.slack.com/services/T",),
        r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}",
    ),
    ("stripe", ("_live_", "_test_", "whsec_"), r"(?:(?:sk|rk)_(?:live|test)|whsec)_[A-Za-z0-9]{16,255}"),
    ("google", ("AIza",), r"AIza[A-Za-z0-9_\-]{35}"),
    ("google", ("GOCSPX-",), r"GOCSPX-[A-Za-z0-9_\-]{28}"),
    ("google", ("ya29.",), r"ya29\.[A-Za-z0-9_\-]{20,1024}"),
    ("anthropic", ("sk-ant-",), r"sk-ant-[a-z0-9]+-[A-Za-z0-9_\-]{80,200}"),
    ("openai", ("sk-",), r"sk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_\-]{32,255}"),
    ("hugging face", ("hf_",), r"hf_[A-Za-z]{34}"),
    ("npm", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
    ("pypi", ("pypi-AgEIcHlwaS5vcmc",), r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_\-]{50,512}"),
    ("sendgrid", ("SG.",), r"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}"),
    ("digitalocean", ("_v1_",), r"do[opr]_v1_[a-f0-9]{64}"),
    ("telegram", (":AA",), r"[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}"),
    ("azure", ("AccountKey=",), r"AccountKey=[A-Za-z0-9+/]{86}=="),
)
PATTERNS = tuple(
    (issuer, prefixes, re.compile(rf"(?<![A-Za-z0-9_\-])(?:{form})(?![A-Za-z0-9_\-])"))
    for issuer, prefixes, form in FORMS
)
JWT = re.compile(r"(?<![\w\-])(eyJ[A-Za-z0-9_\-]{10,}+)\.(eyJ[A-Za-z0-9_\-]{10,}+)\.[A-Za-z0-9_\-]{16,}+")
URL_PASSWORD = re.compile(r"(?<=[A-Za-z0-9])://[A-Za-z0-9._~%+\-]{1,64}:([^\s/:@\"'<>{}$*\\]{4,128})@[A-Za-z0-9]")

# name = "value": the value is looked for first, then the name before it.
QUOTED = re.compile(r"(?<![A-Za-z0-9])([\"'`])(?P<value>[A-Za-z0-9+/_\-.~=!@#%^&*:]{16,200})\1")
BARE = re.compile(r"(?:(?<=[=:])|(?<=[=:][ \t]))(?P<value>[A-Za-z0-9+/_\-~]{20,200}+={0,2}+)(?![\w.(\[/])")
NAMES_SECRET = re.compile(
    r"(?:secret|token|passw(?:or)?d|passwd|pwd|api[_\-]?key|apikey|access[_\-]?key|auth[_\-]?key|private[_\-]?key|"
    r"encryption[_\-]?key|signing[_\-]?key|credential)s?[A-Za-z0-9_\-]{0,20}[\"'`]?\]?\s{0,4}(?::|=>|:?=)\s{0,4}$",
    re.IGNORECASE,
)
NAME_WINDOW = 60
PLACEHOLDER = re.compile(
    r"^pass$|example|sample|dummy|placeholder|changeme|change[_\-]me|your|insert|redacted|x{4}|\*{3}|\.{3}|12345678|abcdefgh|"
    r"0{6}|secret|password|token|test|fake|mock",
    re.IGNORECASE,
)
# A random string of 16 base64 characters has 3.6 bits a character on average, of 16 hexadecimal ones 3.2; words have fewer
# distinct ones, or no digits (bench/scrub.py counts what these limits let through in code).
MIN_BITS = 3.5
MIN_HEX_BITS = 3.0
HEX = re.compile(r"[0-9a-fA-F]+")

PEM_BEGIN = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----")
MAX_PEM = 20_000  # characters; a key of RSA with 16,384 bits has 12,700
PEM_LINE = re.compile(r"(?:[\s\"',+>|*#;]|\\[nrt])*+[A-Za-z0-9+/=:,.\- ]{20,}+")
MIN_PEM_BASE64 = 64  # an Ed25519 key in PKCS #8 has 64


def find_keys(characters: Characters) -> Iterator[Finding]:
    text = characters.text
    words = characters.long_words(MIN_WORD)
    if not words:
        return
    sample = "\n".join([text[start:end] for start, end, _ in words])
    found: list[Finding] = []
    for issuer, prefixes, pattern in PATTERNS:
        if any(map(sample.__contains__, prefixes)) and pattern.search(sample):
            found += [Finding(m.start(), m.end(), issuer) for m in pattern.finditer(text) if is_random(m[0])]
    if "eyJ" in sample:
        found += [Finding(m.start(), m.end(), "jwt") for m in JWT.finditer(text) if is_jwt_header(m[1])]
    if "://" in sample and "@" in sample:
        found += [
            Finding(m.start(1), m.end(1), "password in a URL")
            for m in URL_PASSWORD.finditer(text)
            if not PLACEHOLDER.search(m[1])
        ]
    found += find_assigned(text, [(start, end) for start, end, has_digit in words if has_digit])
    yield from without_overlap(found)


def find_assigned(text: str, words: Places) -> Iterator[Finding]:
    """Values in these words that look random and whose name says that they are secret."""
    for start, end in words:
        for pattern in (QUOTED, BARE):
            for match in pattern.finditer(text, start, end + 1):
                name_end = match.start("value") - (pattern is QUOTED)
                before = text[max(0, name_end - NAME_WINDOW) : name_end]
                if looks_secret(match["value"]) and NAMES_SECRET.search(before):
                    yield Finding(match.start("value"), match.end("value"), "assigned")


def looks_secret(value: str) -> bool:
    """Letters and digits mixed, as varied as random ones, and not one of the words that stand in for a secret."""
    if not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value) or PLACEHOLDER.search(value):
        return False
    return bits_per_character(value) >= (MIN_HEX_BITS if HEX.fullmatch(value) else MIN_BITS)


def is_random(key: str) -> bool:
    """Whether a key of an issuer's form is no example: its end varies, and holds a digit or both cases."""
    tail = key[-16:]
    mixed = any(c.isdigit() for c in key[8:]) or not (tail.islower() or tail.isupper())
    return mixed and bits_per_character(tail) >= 2.5 and "EXAMPLE" not in key


def bits_per_character(text: str) -> float:
    """Shannon's entropy of the characters of `text`."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def is_jwt_header(part: str) -> bool:
    """Whether this base64 holds a JSON object with `alg` (RFC 7515, section 4.1.1)."""
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, UnicodeDecodeError, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def without_overlap(found: list[Finding]) -> Iterator[Finding]:
    """In order; of two that overlap the one that begins first, then the longer."""
    end = 0
    for finding in sorted(found, key=lambda f: (f.start, -f.end)):
        if finding.start >= end:
            yield finding
            end = finding.end


def find_private_keys(characters: Characters) -> Iterator[Finding]:
    """PEM blocks (RFC 7468) that hold a key, whole or cut short; a header alone, as in a program, is none."""
    text = characters.text
    if "PRIVATE KEY" not in text:
        return
    begins = list(PEM_BEGIN.finditer(text))
    limits = [min(match.end() + MAX_PEM, after.start()) for match, after in pairwise(begins)]
    for match, limit in zip(begins, [*limits, *(match.end() + MAX_PEM for match in begins[-1:])], strict=True):
        marker = f"-----END {match[1]}-----"
        end = text.find(marker, match.end(), limit)
        body_end = end if end >= 0 else end_of_lines(text, match.end(), limit)
        body = text[match.end() : body_end]
        material = sum(len(line) for line in re.findall(r"[A-Za-z0-9+/=]{16,}", body))
        if material >= MIN_PEM_BASE64 and material >= len(body) / 2:
            name = match[1].removesuffix(" BLOCK").removesuffix("PRIVATE KEY").strip().lower()
            yield Finding(match.start(), end + len(marker) if end >= 0 else body_end, name)


def end_of_lines(text: str, start: int, limit: int) -> int:
    """Where the lines of base64 that begin at `start` end."""
    while match := PEM_LINE.match(text, start, limit):
        start = match.end()
    return start
