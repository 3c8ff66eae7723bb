"""E-mail addresses: what stands around each @, held against the lengths of RFC 5321 and the names of top-level domains."""

import re
from collections.abc import Iterator

from seedbed.corpus.scrub.characters import Characters
from seedbed.corpus.scrub.finding import Finding

MAX_LOCAL = 64  # RFC 5321, section 4.5.3.1.1
MAX_DOMAIN = 255  # section 4.5.3.1.2
LOCAL = re.compile(r"[A-Za-z0-9._%+\-]+")
DOMAIN = re.compile(r"[A-Za-z0-9.\-]+")
LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?")

# RFC 2606: set aside for examples, so they are nobody's.
RESERVED_DOMAINS = re.compile(r"(?:^|\.)(?:example\.(?:com|net|org)|example|test|invalid|localhost)$", re.IGNORECASE)
# Accounts that stand for a service in addresses of repositories: git@host:path and their like.
SERVICE_USERS = frozenset({"git", "hg", "svn"})

# Top-level domains: the two-letter ones of ISO 3166 as delegated (IANA root zone), the older generic ones, and those newer
# ones in wide use. A name outside the list is taken for an attribute or a file's ending, as in `a@weights.mean`.
COUNTRY_DOMAINS = """
    ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd cf
    cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd ge gf gg
    gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn
    kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na
    nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh
    si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve
    vg vi vn vu wf ws ye yt za zm zw
"""
GENERIC_DOMAINS = """
    com net org edu gov mil int info biz name pro aero coop museum jobs mobi travel tel asia cat post arpa
    academy agency app art bank berlin bio blog business cafe capital care center church city clinic cloud club coach
    community company consulting dev digital earth eco education email energy engineering eus events expert farm finance
    foundation fund gal gallery games global gmbh group guide guru hamburg health help hosting house koeln law legal life
    live london ltd management marketing media moscow museum network news ngo nyc one online page paris partners photo
    photography photos press productions radio red rocks saarland school science scot services shop site social software
    solutions space store studio swiss sydney systems team tech technology tips today tokyo tools town training university
    vegas ventures video vienna wales web website wien wiki work works world xyz zone
"""
TOP_DOMAINS = frozenset(COUNTRY_DOMAINS.split() + GENERIC_DOMAINS.split())


def find_emails(characters: Characters) -> Iterator[Finding]:
    text = characters.text
    at, end = text.find("@"), 0
    while at >= 0:
        finding = address_around(text, at, end)
        if finding is not None:
            yield finding
            end = finding.end
        at = text.find("@", max(at + 1, end))


def address_around(text: str, at: int, left: int) -> Finding | None:
    """The address whose @ is at `at`, begun no earlier than `left`."""
    backwards = LOCAL.match(text[max(left, at - MAX_LOCAL - 1) : at][::-1])
    if backwards is None or backwards.end() > MAX_LOCAL:
        return None
    local = backwards[0][::-1].lstrip(".%+-")
    start = at - len(local)
    before = text[start - 1 : start]
    if not local or local[-1] in ".%" or ".." in local or local.lower() in SERVICE_USERS or before in ("@", "$", "\\"):
        return None
    if before in (":", "/") and "://" in text[max(0, start - MAX_LOCAL) : start]:
        return None  # user:password@host in a URL
    domain_match = DOMAIN.match(text, at + 1, at + 1 + MAX_DOMAIN)
    domain = known_domain(domain_match[0]) if domain_match else ""
    if not domain or RESERVED_DOMAINS.search(domain):
        return None
    end = at + 1 + len(domain)
    after = text[end : end + 2]
    if after[:1] in ("(", "[", "@", "_") or re.match(r":[\w~/.]", after):  # a call, an index, host:path
        return None
    return Finding(start, end)


def known_domain(run: str) -> str:
    """The domain at the start of `run`, "" if there is none.

    A capital after a full stop begins a sentence without its space: "a@b.org.Then" holds b.org.
    """
    labels = run.rstrip(".-").split(".")
    while len(labels) > 1:
        top = labels[-1]
        if (top.lower() in TOP_DOMAINS and not has_mixed_case(top)) or top.lower().startswith("xn--"):
            whole = all(len(label) <= 63 and LABEL.fullmatch(label) for label in labels)
            return ".".join(labels) if whole else ""
        if not top[:1].isupper():
            return ""
        labels.pop()
    return ""


def has_mixed_case(label: str) -> bool:
    """`It`, `In`: a word that begins a sentence rather than a domain."""
    return not (label.islower() or label.isupper())
