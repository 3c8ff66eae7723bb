"""Sections of the steps that judge a document as a whole: its address, its terms, its language, its manners, its quality."""

import difflib
import re
from typing import Any, Literal

from pydantic import Field, field_validator

from seedbed.recipe.section import SwitchedSection

LICENCE_FAMILIES = {
    "permissive": (
        "MIT*", "X11*", "Apache-*", "BSD-*", "0BSD", "ISC", "Zlib", "BSL-1.0", "NCSA", "PostgreSQL", "PSF-*", "Python-*",
        "Unicode-*", "W3C*", "Artistic-2.0", "Unlicense", "WTFPL", "CC0*", "CC-PDM*", "PDDL-*", "CC-BY-[0-9]*", "CC-BY",
        "ODC-By-*", "*public domain*",
    ),
    "copyleft": (
        "GPL-*", "LGPL-*", "AGPL-*", "GFDL-*", "MPL-*", "EPL-*", "EUPL-*", "CDDL-*", "OSL-*", "CC-BY-SA*", "ODbL-*",
    ),
    "non-commercial": ("CC-BY-NC*", "PolyForm-Noncommercial-*"),
    "no-derivatives": ("CC-BY-ND*", "CC-BY-NC-ND*"),
}  # fmt: skip


def names(value: Any) -> Any:
    """One name stands for a list of one."""
    return (value,) if isinstance(value, str) else value


class UrlRules(SwitchedSection):
    """Addresses that are not worth reading, by lists of the user's and by words."""

    lists: tuple[str, ...] = Field(
        default=(),
        description="files of hosts or URLs (plain, hosts or ||host^; .gz, .xz, .zst), or folders of UT1's kind",
    )
    words: bool = Field(default=True, description="the package's own words too: a hard one, or two soft ones")
    refuse: tuple[str, ...] | None = Field(
        default=("*",), description='matches that remove, as globs of "LIST: ENTRY", "hard word: *", "soft words: *"'
    )

    one_is_a_list = field_validator("lists", "refuse", mode="before")(names)


class PolicyRules(SwitchedSection):
    """Whose text may be used: licences and opt-outs as the documents state them."""

    licences: tuple[str, ...] | None = Field(
        default=None,
        description='"any", or globs of what stays: SPDX names, "public domain", "unknown" (none stated), '
        f"or families: {', '.join(LICENCE_FAMILIES)}",
    )
    refuse_licences: tuple[str, ...] | None = Field(default=None, description="globs or families of what goes")
    refuse_opt_out: tuple[str, ...] | None = Field(
        default=("noai", "tdm"), description="signals that remove: noai, noimageai, noindex, tdm, ..."
    )

    one_is_a_list = field_validator("licences", "refuse_licences", "refuse_opt_out", mode="before")(names)

    @field_validator("licences", "refuse_licences")
    @classmethod
    def families_become_globs(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is None or value == ("any",):
            return None
        for name in value:
            near = difflib.get_close_matches(name.lower(), (*LICENCE_FAMILIES, "unknown"), 1, cutoff=0.8)
            if near and name not in LICENCE_FAMILIES and name != "unknown":
                raise ValueError(f"no licence or family {name!r}: did you mean {near[0]!r}?")
        return tuple(glob for name in value for glob in LICENCE_FAMILIES.get(name, (name,)))


class LanguageRules(SwitchedSection):
    """Which languages stay. A document of code has a label such as "code:python"."""

    allowed: tuple[str, ...] | None = Field(
        default=None, description='"any", or codes of ISO 639-1 such as "en"; code stays unless "code:..." is named'
    )
    min_probability: float | None = Field(
        default=0.65,
        ge=0,
        le=1,
        description="of the language found; 0.65 is FineWeb's (Penedo et al. 2024, section 3.3)",
    )
    max_characters: int | None = Field(
        default=1000,
        ge=80,
        description="read, from eight places; none: the whole text (docs/curation.md has the accuracy)",
    )

    one_is_a_list = field_validator("allowed", mode="before")(names)

    @field_validator("allowed")
    @classmethod
    def code_stays(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is None or value == ("any",):
            return None
        for name in value:
            if not re.fullmatch(r"[a-z]{2,3}|code:.+|.*[*?\[].*", name):
                raise ValueError(f"no code of a language {name!r}: give codes such as 'en' or 'ceb', or globs of them")
        return value if any(name.startswith("code:") for name in value) else (*value, "code:*")


class ToxicityRules(SwitchedSection):
    """Profane and insulting English."""

    max_share: float | None = Field(
        default=0.3, ge=0, le=1, description="passages of 50 words that the model calls offensive; novels reach 0.21"
    )
    max_worst: float | None = Field(default=None, ge=0, le=1, description="probability of the most offensive passage")


class ClassifierRules(SwitchedSection):
    """A quality classifier of one's own: `seedbed corpus classifier train`."""

    model: str = Field(default="", description="folder that `seedbed corpus classifier train` wrote")
    applies: Literal["prose", "code", "any"] = Field(
        default="prose", description="documents it judges; others get no score"
    )
    min_score: float | None = Field(default=None, ge=0, le=1, description="probability of being good")
    keep_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="of the pool on the model's card, the best first; DCLM keeps 0.1 of the web",
    )
