"""Personal data and secrets: counted by kind, and each replaced by a placeholder that names its kind."""

import math
from collections import Counter

from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.scrub import KINDS, find
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig, ScrubConfig

NAMES = {
    "private_key": "private keys",
    "api_key": "API keys and passwords",
    "iban": "bank accounts (IBAN)",
    "card": "payment cards",
    "email": "e-mail addresses",
    "ip": "public IP addresses",
    "phone": "telephone numbers",
}


class Scrub:
    def __init__(self, section: ScrubConfig) -> None:
        self.kinds = section.kinds
        self.placeholders = {kind: f"<{kind.upper()}>" for kind in KINDS} | dict(section.placeholders)

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        """Counts are NaN for kinds that the recipe does not look for."""
        found = find(view.text, self.kinds)
        counts = Counter(kind for kind, _ in found)
        spans = [
            Span(place.start, place.end, f"{kind}:{place.what}" if place.what else kind, self.placeholders[kind])
            for kind, place in found
        ]
        scores = [float(counts[kind]) if kind in self.kinds else math.nan for kind in KINDS]
        characters = sum(span.end - span.start for span in spans)
        return [*scores, float(characters), 1000 * len(found) / max(1, len(view.text))], spans


def start(section: ScrubConfig, config: CurateConfig) -> Scrub:
    return Scrub(section)


SCRUB = Group(
    name="scrub",
    version=1,
    scores=(
        *(Score(kind, f"number of {NAMES[kind]}") for kind in KINDS),
        Score("characters", "number of characters replaced"),
        Score("per_thousand_characters", "number of personal data and secrets per 1,000 characters"),
    ),
    rules=(Rule("max_per_thousand_characters", "per_thousand_characters", "at most"),),
    start=start,
)
