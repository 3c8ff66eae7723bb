"""All kinds together: every finder on a text, and which of two findings that overlap holds."""

from collections.abc import Callable, Iterable, Iterator

from seedbed.corpus.scrub.characters import Characters
from seedbed.corpus.scrub.email import find_emails
from seedbed.corpus.scrub.finding import Finding
from seedbed.corpus.scrub.internet import find_addresses
from seedbed.corpus.scrub.keys import find_keys, find_private_keys
from seedbed.corpus.scrub.money import find_cards, find_ibans
from seedbed.corpus.scrub.phone import find_phones

# In order of rank: of two findings that overlap, the one whose kind stands first here holds.
FINDERS: dict[str, Callable[[Characters], Iterator[Finding]]] = {
    "private_key": find_private_keys,
    "api_key": find_keys,
    "iban": find_ibans,
    "card": find_cards,
    "email": find_emails,
    "ip": find_addresses,
    "phone": find_phones,
}
KINDS = tuple(FINDERS)


def find(text: str, kinds: Iterable[str] = KINDS) -> list[tuple[str, Finding]]:
    """(kind, finding) in the order of the text, none overlapping another. Time is linear in the length of the text."""
    characters = Characters(text)
    found: list[tuple[int, int, str, Finding]] = []
    for rank, (kind, finder) in enumerate(FINDERS.items()):
        if kind in kinds:
            found += [(rank, finding.start, kind, finding) for finding in finder(characters)]
    if len(found) < 2:
        return [(kind, finding) for _, _, kind, finding in found]
    taken: list[tuple[int, int, str, Finding]] = []
    for rank, start, kind, finding in sorted(found, key=lambda item: (item[1], item[0])):
        while taken and taken[-1][3].end > start and rank < taken[-1][0]:
            taken.pop()
        if not taken or taken[-1][3].end <= start:
            taken.append((rank, start, kind, finding))
    return [(kind, finding) for _, _, kind, finding in taken]
