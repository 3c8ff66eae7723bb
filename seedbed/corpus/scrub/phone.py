"""Telephone numbers: international ones by their + and calling code, national ones by form or by the word before them."""

import re
from collections.abc import Iterator

from seedbed.corpus.scrub.characters import Characters
from seedbed.corpus.scrub.finding import Finding

SPACE = " \u00a0\u2009\u202f"
DASHES = "\u2010\u2011\u2013-"  # the hyphen last, for character classes
# Digits with at most three characters of punctuation between two of them, seven digits at least. Possessive: never retried.
RUN = re.compile(rf"\+?\(?[0-9]++(?:[{SPACE}()./{DASHES}]{{1,3}}+[0-9]++)*+")
MIN_DIGITS = 7
GROUP = re.compile(r"[0-9]+")
# What may stand between two groups of one number.
JOINTS = frozenset({*SPACE, *DASHES, ".", "/", "(", ")", ") ", ")-", ")/", ")(", " (", "-(", " - ", " / ", "/ ", " – "})
MAX_DIGITS = 15  # ITU-T E.164, section 6.2.1
NORTH_AMERICAN = [3, 3, 4]  # digits of its groups
MAX_GROUPS = 9  # that one number is written in

# ITU-T E.164, list of assigned country codes.
ASSIGNED_CODES = """
    1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86
    90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237
    238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266
    267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380
    381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597
    598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853
    855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979
    992 993 994 995 996 998
"""
CALLING_CODES = frozenset(ASSIGNED_CODES.split())
SAYS_PHONE = re.compile(
    r"(?:(?<![\w\-])(?:tel|tele?phone|phone|ph|fone|fon|telefone?|tel[ée]fono|t[ée]l[ée]phone|t[ée]l|telefax|fax|mobile?|"
    r"cell phone|cellular|handy|mobil|m[óo]vil|celular|cellulare|whatsapp|sms|hotline|helpline|anrufen|appelez|llame|chiamare)\b"
    r"|☎|📞|📱|电话|電話|전화|тел)[^\n0-9+]{0,12}$|\b(?:call|dial)(?: (?:us|me|now|at|on|to)){0,3}:? $",
    re.IGNORECASE,
)
CONTEXT = 40
DATE = re.compile(r"(?:[0-9]{1,2}[./\-][0-9]{1,2}[./\-][0-9]{4}|[0-9]{4}[./\-][0-9]{1,2}[./\-][0-9]{1,2})(?![0-9])")
NOT_BEFORE = re.compile(r"[\w.\-/=#@\\^$€£%]$|[0-9)\]][ ]$")
NOT_AFTER = re.compile(r"(?!x[0-9])\w|\.[0-9]|[\-\u2010-\u2013]\w")


def find_phones(characters: Characters) -> Iterator[Finding]:
    text = characters.text
    for start, end in characters.long_runs(MIN_DIGITS):
        for match in RUN.finditer(text, max(0, start - 2), end):
            yield from phones_in_run(text, match.start(), match[0])


def phones_in_run(text: str, start: int, run: str) -> Iterator[Finding]:
    """The numbers in one run of digits and punctuation. Only its first can follow a + or a word that says so."""
    groups = [(match.start(), match.end()) for match in GROUP.finditer(run)]
    shape = [end - begin for begin, end in groups]
    first = 0
    while first < len(groups):
        if first and shape[first : first + 3] != NORTH_AMERICAN and shape[first : first + 4] != [1, *NORTH_AMERICAN]:
            first += 1
            continue
        last = first
        while last + 1 < min(len(groups), first + MAX_GROUPS) and run[groups[last][1] : groups[last + 1][0]] in JOINTS:
            last += 1
        place = number_at(text, start, run, groups[first : last + 1], first == 0)
        if place is not None and not NOT_AFTER.match(text, place.end):
            yield place
            while first <= last and start + groups[first][1] <= place.end:
                first += 1
        else:
            first += 1


def number_at(text: str, start: int, run: str, groups: list[tuple[int, int]], leads: bool) -> Finding | None:
    """The number that begins with the first of `groups`, which `leads` the run, or None."""
    left = groups[0][0]
    if sum(end - begin for begin, end in groups) < MIN_DIGITS:
        return None
    plus = leads and run[0] == "+"
    before = text[max(0, start - CONTEXT + left) : start + (0 if plus else left)]
    digits = [run[begin:end] for begin, end in groups]
    if plus:
        count = international(run, groups, digits)
        if not count or NOT_BEFORE.search(before[-2:]):
            return None
        return Finding(start, start + groups[count - 1][1])
    said = leads and SAYS_PHONE.search(before) is not None
    count = north_american(run, groups, digits, said)
    if count and not said and NOT_BEFORE.search(before[-1:]):
        return None
    if not count and said and not DATE.match(run, left):
        count = after_word(digits)
    if not count:
        return None
    end = groups[count - 1][1]
    opened = left > 0 and run[left - 1] == "(" and ")" in run[left:end]
    return Finding(start + left - opened, start + end)


def international(run: str, groups: list[tuple[int, int]], digits: list[str]) -> int:
    """Groups of the number after a +; 0 if it has no calling code, too few digits or too many.

    "+1.23456789" with its one full stop is a decimal number.
    """
    code = calling_code(digits[0])
    if not code or (
        len(groups) > 1 and groups[1][0] - groups[0][1] > 2 and "(" not in run[groups[0][1] : groups[1][0]]
    ):
        return 0
    total = count = 0
    for size in map(len, digits):
        if total + size > MAX_DIGITS:
            break
        total += size
        count += 1
        if code == "1" and total >= 11:
            break
    if code == "1":
        national = "".join(digits[:count])[1:]
        return count if len(national) == 10 and is_north_american(national) else 0
    if count == 2 and run[groups[0][1] : groups[1][0]] == "." and len(digits[0]) <= 3:
        return 0
    return count if total >= 9 or (total >= 8 and count > 1) else 0


def calling_code(digits: str) -> str:
    return next((digits[:size] for size in (1, 2, 3) if digits[:size] in CALLING_CODES), "")


def north_american(run: str, groups: list[tuple[int, int]], digits: list[str], said: bool) -> int:
    """Groups of a number of the North American plan: 3-3-4 with hyphens or an area code in parentheses.

    With spaces, full stops or nothing between them, such digits are a number only after a word that says so.
    """
    shape = [len(group) for group in digits]
    lead = int(digits[0] == "1" and len(shape) > 1)
    if shape[lead : lead + 3] == NORTH_AMERICAN:
        first, second = (run[groups[lead + i][1] : groups[lead + i + 1][0]] for i in (0, 1))
        begin = groups[lead][0]
        parentheses = run[begin - 1 : begin] == "(" and first in (")", ") ", ")-")
        hyphens = first == second and first in DASHES
        plain = first == second and first in (".", *SPACE)
        if (parentheses or hyphens or (said and plain)) and is_north_american("".join(digits[lead : lead + 3])):
            return lead + 3
    if said and shape[0] == 10 and is_north_american(digits[0]):
        return 1
    return 0


def is_north_american(national: str) -> bool:
    """NANP: area code and exchange begin with 2 to 9, the exchange is no N11; 555-0100 to 0199 are for fiction."""
    area, exchange, line = national[:3], national[3:6], national[6:]
    fiction = exchange == "555" and line.startswith("01")
    return area[0] > "1" and area[1] != "9" and exchange[0] > "1" and exchange[1:] != "11" and not fiction


def after_word(digits: list[str]) -> int:
    """Groups of a national number that a word such as "Tel." announces: 7 to 12 digits, 15 after 00."""
    total = count = 0
    limit = MAX_DIGITS if digits[0].startswith("00") else 12
    for group in digits:
        if total + len(group) > limit or (count and len(group) < 2 and group != "0"):
            break
        total += len(group)
        count += 1
    return count if total >= MIN_DIGITS and not "".join(digits[:count]).startswith(("19", "20")) else 0
