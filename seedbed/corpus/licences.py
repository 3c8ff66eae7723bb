"""Licences as SPDX identifiers (spdx.org/licenses): from Creative Commons links, SPDX headers, and licence files."""

import re

SPDX_HEADER = re.compile(r"SPDX-License-Identifier:\s*([A-Za-z0-9.+() -]{2,120}?)\s*(?:\*/|-->|\"\"\"|$)", re.MULTILINE)
SPDX_HEAD_CHARACTERS = 4096
CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licen[sc]es/(by(?:-(?:nc-sa|nc-nd|nc|nd|sa))?)(?:/(\d\.\d))?|publicdomain/(zero|mark))",
    re.IGNORECASE,
)
LICENCE_FILE = re.compile(
    r"(?:licen[sc]e|copying|unlicense)(?:[-_.](?:mit|apache|bsd|txt|md|rst|code|apache-2\.0|lesser))*", re.IGNORECASE
)
# Phrases that only one licence holds, the more particular first. GPL texts are told apart by title and version.
PHRASES = (
    ("AGPL-3.0", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0", ("gnu lesser general public license", "version 3")),
    ("LGPL-2.1", ("gnu lesser general public license", "version 2.1")),
    ("GPL-3.0", ("gnu general public license", "version 3")),
    ("GPL-2.0", ("gnu general public license", "version 2")),
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("MPL-2.0", ("mozilla public license", "2.0")),
    ("EPL-2.0", ("eclipse public license", "2.0")),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("BSL-1.0", ("boost software license",)),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("Zlib", ("provided 'as-is', without any express or implied", "altered source versions must be plainly marked")),
    ("BSD-3-Clause", ("redistributions in binary form must reproduce", "be used to endorse or promote")),
    ("BSD-2-Clause", ("redistributions in binary form must reproduce",)),
    ("ISC", ("permission to use, copy, modify, and/or distribute this software for any purpose with or without fee",)),
    ("MIT", ("permission is hereby granted, free of charge", "without warranty of any kind")),
)
PHRASE_CHARACTERS = 4000


def creative_commons(url: str) -> str:
    """`https://creativecommons.org/licenses/by-sa/4.0/` -> `CC-BY-SA-4.0`; "" for any other."""
    match = CREATIVE_COMMONS.search(url)
    if not match:
        return ""
    kind, version, public = match.groups()
    if public:
        return "CC0-1.0" if public.lower() == "zero" else "CC-PDM-1.0"
    return f"CC-{kind.upper()}" + (f"-{version}" if version else "")


def spdx_header(text: str) -> str:
    """The SPDX expression in the head of a source file, or ""."""
    match = SPDX_HEADER.search(text, 0, SPDX_HEAD_CHARACTERS)
    return match[1].strip() if match else ""


def is_licence_file(name: str) -> bool:
    return LICENCE_FILE.fullmatch(name) is not None


def licence_of_text(text: str) -> str:
    """The licence that a LICENSE file holds, by its first phrases; "" where it is none of those known."""
    named = spdx_header(text)
    if named:
        return named
    linked = creative_commons(text[:PHRASE_CHARACTERS])
    head = " ".join(text[:PHRASE_CHARACTERS].lower().split())
    for name, phrases in PHRASES:
        places = [head.find(phrase) for phrase in phrases]
        if min(places) >= 0:
            return name
    return linked
