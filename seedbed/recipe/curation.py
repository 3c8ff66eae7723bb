"""The `curate` section of a recipe: which steps judge a document, in which order, and every threshold.

A step is a group of rules (`corpus/rules/`), and its section here has its name. Fields that rules read are thresholds:
changing one re-decides from stored scores; changing any other field scores again.
"""

import difflib
import tomllib
from importlib import resources
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from seedbed.recipe.judging import ClassifierRules, LanguageRules, PolicyRules, ToxicityRules, UrlRules
from seedbed.recipe.section import SwitchedSection

CurationPreset = Literal["basic", "gopher", "fineweb", "dclm", "code", "books"]
STEPS = (
    "url",
    "policy",
    "language",
    "basic",
    "gopher_repetition",
    "gopher_quality",
    "c4",
    "fineweb",
    "refinedweb_lines",
    "code",
    "toxicity",
    "classifier",
    "decontaminate",
    "scrub",
)


Number = TypeVar("Number", int, float)


def in_order(value: tuple[Number, Number]) -> tuple[Number, Number]:
    if not value[0] <= value[1]:
        raise ValueError(f"give the least before the greatest, as in [{value[1]}, {value[0]}]")
    return value


Bounds = Annotated[tuple[Number, Number], AfterValidator(in_order)]  # the least and the greatest that pass


def share(default: float | None, description: str) -> Any:
    return Field(default=default, ge=0, le=1, description=description)


class BasicRules(SwitchedSection):
    """What is broken, whatever its kind."""

    min_characters: int | None = Field(default=200, ge=0)
    max_characters: int | None = Field(default=20_000_000, gt=0)
    min_words: int | None = Field(default=30, ge=0)
    mean_word_length: Bounds[float] | None = Field(
        default=(2.0, 20.0),
        description="least and most characters; sound code and TeX reach 18, encoded data starts at 40",
    )
    max_symbol_fraction: float | None = share(0.5, "characters not letter, digit, space")
    min_letter_fraction: float | None = share(0.3, "letters among non-space characters")
    max_duplicate_line_fraction: float | None = share(0.5, "characters in repeated lines")
    max_top_bigram_fraction: float | None = share(0.3, "characters in the top word 2-gram")
    max_compression_ratio: float | None = Field(default=12.0, gt=1, description="bytes over zlib-compressed bytes")
    max_replacement_fraction: float | None = share(0.002, "U+FFFD among characters")


class GopherQuality(SwitchedSection):
    """Rae et al. 2021 (Gopher), appendix A.1.1."""

    min_words: int | None = Field(default=50, ge=0, description="words that are not symbols alone")
    max_words: int | None = Field(default=100_000, gt=0, description="words that are not symbols alone")
    mean_word_length: Bounds[float] | None = (3.0, 10.0)
    max_hashes_per_word: float | None = Field(default=0.1, ge=0)
    max_ellipses_per_word: float | None = Field(default=0.1, ge=0)
    max_bullet_lines: float | None = share(0.9, "lines that begin with a bullet")
    max_ellipsis_lines: float | None = share(0.3, "lines that end with an ellipsis")
    min_alphabetic_words: float | None = share(0.8, "words that hold a letter")
    min_stop_words: int | None = Field(default=2, ge=0, description="distinct ones of: the be to of and that have with")


class GopherRepetition(SwitchedSection):
    """Rae et al. 2021 (Gopher), table A1."""

    max_duplicate_lines: float | None = share(0.3, "lines that occurred before")
    max_duplicate_paragraphs: float | None = share(0.3, "paragraphs that occurred before")
    max_duplicate_line_characters: float | None = share(0.2, "characters in them")
    max_duplicate_paragraph_characters: float | None = share(0.2, "characters in them")
    max_top_2gram: float | None = share(0.2, "characters in the most frequent word 2-gram")
    max_top_3gram: float | None = share(0.18, "characters in the most frequent word 3-gram")
    max_top_4gram: float | None = share(0.16, "characters in the most frequent word 4-gram")
    max_duplicate_5grams: float | None = share(0.15, "characters in word 5-grams that occurred before")
    max_duplicate_6grams: float | None = share(0.14, "characters in word 6-grams that occurred before")
    max_duplicate_7grams: float | None = share(0.13, "characters in word 7-grams that occurred before")
    max_duplicate_8grams: float | None = share(0.12, "characters in word 8-grams that occurred before")
    max_duplicate_9grams: float | None = share(0.11, "characters in word 9-grams that occurred before")
    max_duplicate_10grams: float | None = share(0.10, "characters in word 10-grams that occurred before")


ScrubKind = Literal["private_key", "api_key", "iban", "card", "email", "ip", "phone"]


class ScrubConfig(SwitchedSection):
    """Personal data and secrets, replaced in the text that is kept."""

    kinds: tuple[ScrubKind, ...] = Field(
        default=("private_key", "api_key", "iban", "card", "email", "ip", "phone"), description="what is looked for"
    )
    placeholders: dict[ScrubKind, str] = Field(
        default={}, description='kind -> what stands in its place; default: its name, as in "<EMAIL>"'
    )
    max_per_thousand_characters: float | None = Field(
        default=None, ge=0, description="beyond it a document is a list of people rather than a text"
    )


class C4Rules(SwitchedSection):
    """Raffel et al. 2020 (C4), section 2.2, as in datatrove. Lines are cut; then the document is judged."""

    min_sentences: int | None = Field(default=5, ge=0, description="sentences in the lines that stay")
    max_lorem_ipsum: int | None = Field(default=0, ge=0, description="lines with the phrase")
    max_curly_brackets: int | None = Field(default=0, ge=0, description="lines with a {")
    terminal_punctuation: bool = Field(
        default=True, description="""cut lines that do not end in one of . ? ! " ' or end in ...; FineWeb left it out"""
    )
    min_words_per_line: int | None = Field(default=3, ge=0, description="cut lines with fewer words")
    max_word_characters: int | None = Field(default=1000, gt=0, description="cut lines with a longer word")
    cut_citations: bool = Field(default=True, description="cut [1], [edit], [citation needed] out of lines")
    cut_javascript: bool = Field(default=True, description="cut lines that mention JavaScript")
    cut_policy: bool = Field(default=True, description="cut lines with terms of use, privacy or cookie policies")


class FineWebRules(SwitchedSection):
    """Penedo et al. 2024 (FineWeb), section 3.6, as in datatrove."""

    min_lines_ending_in_punctuation: float | None = share(0.12, "lines that end in punctuation")
    max_short_lines: float | None = share(0.67, "lines of at most short_line_characters")
    max_duplicate_line_characters: float | None = share(
        0.01, "characters in lines that occurred before: 0.01 in FineWeb's code, 0.1 in its paper"
    )
    max_newlines_per_word: float | None = Field(default=0.3, ge=0)
    short_line_characters: int = Field(default=30, ge=0)


class RefinedWebLines(SwitchedSection):
    """Penedo et al. 2023 (RefinedWeb), appendix G.2, with the values of DCLM. Lines are cut, then the loss is judged."""

    max_removed_words: float | None = share(0.05, "words in the lines and phrases that were cut")
    max_uppercase: float | None = share(0.5, "cut lines with a larger share of capitals")
    cut_numbers: bool = Field(default=True, description="cut lines of digits alone")
    cut_counters: bool = Field(default=True, description='cut lines such as "3 likes"')
    min_words_per_line: int | None = Field(default=2, ge=0, description="cut lines with fewer words")
    phrase_line_words: int | None = Field(
        default=10, ge=0, description='cut "sign-in", "read more..." and "items in cart" out of lines up to this long'
    )


class CodeRules(SwitchedSection):
    """Li et al. 2023 (StarCoder), section 3, and bigcode-dataset's filtering.py. For documents whose domain is code."""

    max_longest_line: int | None = Field(default=1000, gt=0, description="characters")
    max_mean_line: float | None = Field(default=100, gt=0, description="characters")
    min_alphanumeric: float | None = share(0.25, "letters and digits among characters")
    comments: Bounds[float] | None = Field(
        default=(0.01, 0.8), description="least and greatest share of characters in comments: Python, Java, JavaScript"
    )
    max_xml: int | None = Field(default=0, ge=0, description="1: begins as XML does, within 100 characters")
    min_html_text: float | None = share(0.2, "visible text among an HTML file's characters")
    min_html_characters: int | None = Field(default=100, ge=0, description="of visible text in an HTML file")
    data_characters: Bounds[int] | None = Field(default=(50, 5000), description="of a JSON or YAML file")
    tokenizer: str | None = Field(
        default=None, description="a tokenizer.json to count characters per token with; without one they are not judged"
    )
    min_python_characters_per_token: float | None = Field(default=2.5, gt=0)
    min_java_characters_per_token: float | None = Field(default=2.9, gt=0)
    min_javascript_characters_per_token: float | None = Field(default=2.6, gt=0)


class DecontaminateConfig(SwitchedSection):
    """Evaluation items in training text, by word n-grams (Brown et al. 2020, GPT-3, appendix C)."""

    sets: tuple[str, ...] = Field(
        default=(), description="files of evaluation items (JSON lines, MMLU's CSV), or folders"
    )
    ngram: int = Field(default=13, ge=2, le=64, description="words that must agree (Brown et al. 2020, appendix C)")
    short_words: int = Field(
        default=8, ge=2, le=64, description="items of fewer words than ngram, but so many, must agree in all (ibid.)"
    )
    max_items: int = Field(
        default=20, ge=1, description="an n-gram in more items is a template or a shared passage and decides nothing"
    )
    ignore: tuple[str, ...] = Field(
        default=(), description="text files, such as licences, whose n-grams decide nothing"
    )
    max_documents: int = Field(
        default=10, ge=1, description="items in more documents are listed as widespread: quotations, not leaks"
    )
    cut: bool = Field(default=False, description="cut the words out instead of removing the document")
    max_hits: int | None = Field(default=0, ge=0, description="n-grams of items in a document; default with cut: none")
    max_answers: int | None = Field(default=None, ge=0, description="items found with words of their answers")
    max_share: float | None = share(None, "words that stand in items")

    @field_validator("sets", "ignore", mode="before")
    @classmethod
    def one_path_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def cut_text_stays(cls, values: Any) -> Any:
        return {"max_hits": None, **values} if isinstance(values, dict) and values.get("cut") else values


class DedupConfig(SwitchedSection):
    """Which documents count as the same, which of them stays, and which repeated parts of documents go."""

    exact: bool = Field(default=True, description="merge documents whose normalised, edited text is equal")
    near: bool = Field(
        default=False, description="merge near-duplicates (and equal texts), found by MinHash and compared"
    )
    ngram: int = Field(default=5, ge=1, le=64, description="words of a shingle (FineWeb)")
    bands: int = Field(
        default=14, ge=1, le=1024, description="of the LSH: documents with one in common are compared (FineWeb)"
    )
    rows: int = Field(default=8, ge=1, le=64, description="MinHashes of a band (FineWeb)")
    min_jaccard: float = Field(default=0.7, ge=0.5, le=1, description="least Jaccard similarity of what is merged")
    keep: Literal["first", "longest", "oldest", "best score", "source"] = Field(
        default="longest",
        description="which of several equal or similar documents stays; the first where that says nothing",
    )
    keep_score: str | None = Field(default=None, description='for keep = "best score": GROUP.SCORE, the highest stays')
    prefer_sources: tuple[str, ...] = Field(default=(), description='for keep = "source": the most wanted first')
    max_cluster: int | None = Field(
        default=1000, ge=2, description="documents in a connected component beyond which more similarity is asked"
    )
    against: tuple[str, ...] = Field(
        default=(), description="finished run folders whose kept documents come before this run's; only read"
    )
    boilerplate: bool = Field(default=False, description="cut lines that a site repeats on its pages")
    boilerplate_pages: int = Field(default=10, ge=2, description="least pages of a site that have the line")
    boilerplate_share: float = Field(default=0.5, ge=0, lt=1, description="share of the site's pages, to be exceeded")
    substrings: bool = Field(default=False, description="cut passages that occur in full before, in kept documents")
    substring_words: int = Field(
        default=50, ge=5, description="least words of such a passage (Lee et al. 2021: 50 tokens)"
    )

    @model_validator(mode="after")
    def keep_is_complete(self) -> "DedupConfig":
        if (self.keep == "best score") != (self.keep_score is not None):
            raise ValueError('keep = "best score" and keep_score belong together: give both or neither')
        if (self.keep == "source") != bool(self.prefer_sources):
            raise ValueError('keep = "source" and prefer_sources belong together: give both or neither')
        return self


class CurateConfig(SwitchedSection):
    """Every score of every step is stored whatever the thresholds say."""

    preset: CurationPreset = Field(
        default="basic", description="the steps and thresholds to start from; fields given here win over it"
    )
    unicode_form: Literal["NFC", "NFKC", "none"] = "NFC"
    words: Literal["white-space", "unicode", "datatrove"] = Field(
        default="unicode",
        description="what counts as a word for the rules, except `basic`, which splits at white space",
    )
    steps: tuple[str, ...] = Field(default=("basic",), description=f"in this order, from: {', '.join(STEPS)}")
    url: UrlRules = UrlRules()
    policy: PolicyRules = PolicyRules()
    language: LanguageRules = LanguageRules()
    toxicity: ToxicityRules = ToxicityRules()
    classifier: ClassifierRules = ClassifierRules()
    basic: BasicRules = BasicRules()
    gopher_quality: GopherQuality = GopherQuality()
    gopher_repetition: GopherRepetition = GopherRepetition()
    scrub: ScrubConfig = ScrubConfig()
    c4: C4Rules = C4Rules()
    fineweb: FineWebRules = FineWebRules()
    refinedweb_lines: RefinedWebLines = RefinedWebLines()
    code: CodeRules = CodeRules()
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    dedup: DedupConfig = DedupConfig()

    @model_validator(mode="before")
    @classmethod
    def lay_over_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        name = values.get("preset", "basic")
        file = resources.files("seedbed.recipe") / "curation_presets" / f"{name}.toml"
        if not isinstance(name, str) or not file.is_file():
            return values  # the field's own check says what is wrong
        return overlay(tomllib.loads(file.read_text(encoding="utf-8")), values)

    @field_validator("steps")
    @classmethod
    def steps_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in STEPS:
                near = difflib.get_close_matches(name, STEPS, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(f"no step {name!r}: {hint}they are {', '.join(STEPS)}")
        if len(set(value)) < len(value):
            raise ValueError("a step is named twice: name each once")
        return value


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, section by section."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        value = value.model_dump() if hasattr(value, "model_dump") else value
        merged[key] = overlay(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
