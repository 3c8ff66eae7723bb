"""Bank accounts (IBAN) and payment cards: forms, lengths and checksums, all three of which must agree."""

import re
from collections.abc import Iterator

from seedbed.corpus.scrub.characters import Characters
from seedbed.corpus.scrub.finding import Finding

# Characters of an IBAN by country: SWIFT, IBAN Registry (ISO 13616), release 99.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
    "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
    "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}+")

# Lengths of the groups in which a card's number is written, and of one that is not grouped.
CARD_GROUPS = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)}
PLAIN_CARD = {14, 15, 16, 19}
CARD_RUN = re.compile(r"(?<![\w.+\-/#$])[0-9]{4,19}+(?:[ \-][0-9]{3,6}+){0,5}+(?![\w]|[.,\-/][0-9])")
MIN_CARD_DIGITS = 14
SAYS_CARD = re.compile(
    r"card|visa|amex|american express|maestro|discover|diners|jcb|unionpay|credit|debit|\bcc\b|\bpan\b|karte|tarjeta|"
    r"carte|carta|cartão|cvv|cvc|expir|exp\.? ?date|valid (?:thru|until)|billing|payment",
    re.IGNORECASE,
)
CONTEXT = 80


def find_ibans(characters: Characters) -> Iterator[Finding]:
    """IBANs in their two forms: one run, or groups of four with single spaces (the last may be shorter)."""
    text, done = characters.text, 0
    for start in characters.account_starts:
        match = IBAN.match(text, start)
        length = IBAN_LENGTHS.get(text[start : start + 2])
        if match is None or length is None or start < done:
            continue
        run = match[0]
        ends = [i + 1 for i, character in enumerate(run) if character != " "]
        if len(ends) < length:
            continue
        end = ends[length - 1]
        after = text[start + end : start + end + 1]
        pieces = run[:end].split(" ")
        grouped = all(len(piece) == 4 for piece in pieces[:-1]) and len(pieces[-1]) <= 4
        if (len(pieces) == 1 or grouped) and not after.isalnum() and has_iban_checksum("".join(pieces)):
            done = start + end
            yield Finding(start, done)


def has_iban_checksum(account: str) -> bool:
    """ISO 7064 MOD 97-10 over the number with its first four characters at the end, letters as 10 to 35."""
    return int("".join(str(int(character, 36)) for character in account[4:] + account[:4])) % 97 == 1


def find_cards(characters: Characters) -> Iterator[Finding]:
    """Numbers written as on a card; those written as one run of digits only where the text around speaks of cards."""
    text = characters.text
    for start, end in characters.long_runs(MIN_CARD_DIGITS):
        for match in CARD_RUN.finditer(text, start, end + 2):
            if reads_as_card(text, match):
                yield Finding(match.start(), match.end())


def reads_as_card(text: str, match: re.Match[str]) -> bool:
    groups = match[0].replace("-", " ").split(" ")
    digits = "".join(groups)
    one_separator = not (" " in match[0] and "-" in match[0])
    plain = len(groups) == 1 and len(digits) in PLAIN_CARD
    if not (plain or (one_separator and tuple(map(len, groups)) in CARD_GROUPS)) or not is_card_number(digits):
        return False
    around = text[max(0, match.start() - CONTEXT) : match.end() + CONTEXT]
    return not plain or SAYS_CARD.search(around) is not None


def is_card_number(digits: str) -> bool:
    return issuer(digits) != "" and has_luhn_checksum(digits)


def issuer(digits: str) -> str:
    """Who issues cards with these leading digits and this length (ISO/IEC 7812; the networks' published ranges), or ""."""
    size, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4" and size in (16, 19):
        return "visa"
    if size == 16 and (51 <= two <= 55 or 2221 <= four <= 2720):
        return "mastercard"
    if size == 15 and two in (34, 37):
        return "american express"
    if size in (16, 19) and (four == 6011 or 644 <= three <= 649 or two == 65):
        return "discover"
    if (size == 14 and (300 <= three <= 305 or two in (36, 38, 39))) or (size == 16 and two in (36, 38, 39)):
        return "diners club"
    if size in (16, 19) and 3528 <= four <= 3589:
        return "jcb"
    if size in (16, 19) and two == 62:
        return "unionpay"
    return ""


def has_luhn_checksum(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0
