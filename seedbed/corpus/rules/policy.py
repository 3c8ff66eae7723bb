"""Whose text may be used: the licence and the opt-out signals that a document came with, in names that a recipe can state.

A licence becomes its SPDX name where we know it ("CC BY-SA 4.0", its link and "CC-BY-SA-4.0" are one), and "unknown" where
nothing is said. What is stated may be wrong, and what is not stated is not permission: this module says what was found.
"""

import re

from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import PolicyRules

UNKNOWN = "unknown"
MAX_CHARACTERS = 200  # of a stated licence: more is a text, not a name
NOTHING_SAID = frozenset(
    {"", "unknown", "none", "n/a", "na", "null", "unlicensed", "noassertion", "other", "unspecified"}
)
CC_LINK = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)(?:/(\d\.\d))?", re.IGNORECASE)
CC_NAME = re.compile(
    r"(?:cc|creative[ -]commons)[ _-]*(?:licen[cs]e[ _-]*)?"
    r"((?:by|attribution)(?:[ _-]*(?:nc|nd|sa|non-?commercial|no-?deriv\w*|share-?alike))*)[ _-]*v?(\d(?:\.\d)?)?"
    r"(?:[ _-]+(?:international|unported|generic|[a-z]{2}|licen[cs]e|deed))*",
    re.IGNORECASE,
)
CC_PARTS = (
    ("by", r"by|attribution"),
    ("nc", r"nc|non-?commercial"),
    ("nd", r"nd|no-?deriv"),
    ("sa", r"sa|share-?alike"),
)
CC0 = re.compile(r"cc[ _-]*(?:0|zero)(?:[ _-]*v?1\.0)?(?:[ _-]*universal)?", re.IGNORECASE)
# SPDX name (spdx.org/licenses) -> what people write for it, in lower case.
OTHER_NAMES = {
    "MIT": "mit|mit license|the mit license|expat",
    "ISC": "isc|isc license",
    "Apache-2.0": "apache|apache 2|apache2|apache-2|apache 2.0|apache-2.0|apache license|apache license 2.0|"
    "apache license, version 2.0|apache software license",
    "BSD-3-Clause": "bsd|new bsd|bsd license|3-clause bsd|bsd 3-clause|bsd-3-clause",
    "BSD-2-Clause": "simplified bsd|2-clause bsd|bsd 2-clause|bsd-2-clause",
    "GPL-1.0-or-later": "gpl|gnu gpl",
    "GPL-2.0-only": "gpl2|gplv2|gpl-2.0",
    "GPL-2.0-or-later": "gpl-2.0+|gplv2+",
    "GPL-3.0-only": "gpl3|gplv3|gpl-3.0",
    "GPL-3.0-or-later": "gpl-3.0+|gplv3+",
    "LGPL-2.0-or-later": "lgpl",
    "LGPL-2.1-only": "lgplv2.1|lgpl-2.1",
    "LGPL-3.0-only": "lgplv3|lgpl-3.0",
    "AGPL-3.0-only": "agplv3|agpl-3.0",
    "AGPL-3.0-or-later": "agpl",
    "MPL-2.0": "mpl|mpl 2.0|mpl-2.0",
    "PSF-2.0": "psf|psf-2.0|python|psf license",
    "Unlicense": "unlicense|the unlicense",
    "Zlib": "zlib|zlib license",
    "WTFPL": "wtfpl",
    "ODbL-1.0": "odbl",
    "ODC-By-1.0": "odc-by",
    "GFDL-1.1-or-later": "gfdl",
    "public domain": "pd|public domain|public-domain|publicdomain",
}
SPDX_NAMES = {written: name for name, others in OTHER_NAMES.items() for written in others.split("|")}
ALTERNATIVES = re.compile(r"\s+or\s+(?!later)|(?<=[\w.])/(?=[A-Za-z])", re.IGNORECASE)
SPACES = re.compile(r"\s+")


def licence_label(stated: str) -> str:
    """The names of a stated licence, joined by ", " where one may choose ("MIT OR Apache-2.0"); "unknown" without any."""
    text = bare(stated[:MAX_CHARACTERS])
    if text.lower() in NOTHING_SAID:
        return UNKNOWN
    if "://" in text or CC_LINK.search(text):
        return one_licence(text)
    choices = dict.fromkeys(one_licence(choice) for choice in ALTERNATIVES.split(text) if bare(choice))
    return ", ".join(choices) or UNKNOWN


def bare(text: str) -> str:
    """Single spaces, and neither brackets around nor a full stop at the end."""
    text = SPACES.sub(" ", text).strip(" .,;")
    return text[1:-1].strip(" .,;") if text[:1] == "(" and text.find(")") == len(text) - 1 else text


def one_licence(text: str) -> str:
    """One licence's SPDX name where it is known, else its own words; commas, which separate choices, become "and"."""
    text = bare(text)
    if link := CC_LINK.search(text):
        kind, name, version = link[1].lower(), link[2].lower(), link[3]
        if kind == "publicdomain":
            return "CC0-1.0" if name == "zero" else "CC-PDM-1.0"
        return creative_commons(name, version)
    if CC0.fullmatch(text):
        return "CC0-1.0"
    if match := CC_NAME.fullmatch(text):
        return creative_commons(match[1], match[2])
    return SPDX_NAMES.get(text.lower()) or re.sub(r"\s*[,;]\s*", " and ", text)


def creative_commons(parts: str, version: str | None) -> str:
    """`by-nc-sa` or "Attribution-NonCommercial-ShareAlike", and a version, as SPDX has it: CC-BY-NC-SA-4.0."""
    named = [
        name.upper() for name, pattern in CC_PARTS if re.search(rf"(?:^|[ _-])(?:{pattern})", parts, re.IGNORECASE)
    ]
    if version and "." not in version:
        version = f"{version}.0"
    return "-".join(["CC", *(named or [parts.upper()]), *([version] if version else [])])


class Policy:
    def examine(self, view: TextView, facts: Facts) -> tuple[list[str], list[Span]]:
        signals = sorted(set(str(facts.get("opt_out") or "").lower().replace(",", " ").split()))
        return [licence_label(str(facts.get("licence") or "")), ", ".join(signals)], []


def start(section: PolicyRules, config: CurateConfig) -> Policy:
    return Policy()


POLICY = Group(
    name="policy",
    version=1,
    scores=(Score("licence", "licence", "label"), Score("opt_out", "opt-out signal", "label")),
    rules=(
        Rule("licences", "licence", "one of"),
        Rule("refuse_licences", "licence", "none of"),
        Rule("refuse_opt_out", "opt_out", "none of"),
    ),
    start=start,
)
