"""How pages become text: `corpus.extract` of a recipe."""

from typing import Literal

from pydantic import Field

from seedbed.recipe.section import Section


class ExtractConfig(Section):
    method: Literal["fast", "careful", "none"] = Field(
        default="fast",
        description="main content by resiliparse, by trafilatura (extra web), or the page's HTML as it is",
    )
    max_page_bytes: int = Field(
        default=10 << 20,
        gt=0,
        description="a larger page is quarantined; Common Crawl cuts at 5 MiB since 2025, at 1 before",
    )
    max_seconds: float = Field(default=20.0, ge=0.1, description="a page that takes longer is quarantined")
