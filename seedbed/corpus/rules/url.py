"""Addresses that are not worth reading: on a block list of the user's, or made of words that say what the page is.

Words as RefinedWeb does it (Penedo et al. 2023, appendix G.1): one hard word is enough, soft words count when two
different ones meet. The words here are our own and few; real lists (UT1 has millions of hosts) are the user's to name.
"""

import re

from seedbed.corpus.rules.blocklists import Address, BlockLists, list_files, load_lists, parse_url
from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.files import sha256_file
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import UrlRules

# Whole tokens of a host or path.
HARD_WORDS = """
    xxx sexcam sexcams livesex sexchat camsex sextape sexshop bdsm milf milfs nsfw upskirt bukkake fleshlight nudes jailbait
    warez keygen crackz
"""
# Anywhere in a host or path: too peculiar to stand in an innocent word.
HARD_PARTS = """
    porn hentai blowjob gangbang cumshot camgirl camwhore xvideos xhamster xnxx redtube sexvideo freesex onlinecasino casinobonus
    slotgacor judionline buyviagra viagraonline cialisonline payday-loan paydayloan replicawatch
"""
# Whole tokens; two different ones are needed.
SOFT_WORDS = """
    sex sexy erotic erotica nude naked adult babe babes cam cams webcam webcams fetish amateur amateurs hardcore softcore busty
    boobs tits ass pussy dick cock escort escorts hooker hookers swinger swingers dating hookup orgy orgasm lingerie stripper
    strippers casino casinos poker slot slots roulette blackjack betting bookmaker gambling jackpot bonus viagra cialis levitra
    tramadol xanax pharmacy pills payday replica torrent torrents crack cracked
"""
HARD, PARTS, SOFT = frozenset(HARD_WORDS.split()), tuple(HARD_PARTS.split()), frozenset(SOFT_WORDS.split())
TOKEN = re.compile(r"[^\W_]+")


def word_match(address: Address) -> str:
    """ "hard word: W", "soft words: A+B" or ""."""
    text = f"{address.host}{address.path}".lower()
    for part in PARTS:
        if part in text:
            return f"hard word: {part}"
    tokens = set(TOKEN.findall(text))
    if hard := min(tokens & HARD, default=""):
        return f"hard word: {hard}"
    soft = sorted(tokens & SOFT)
    return f"soft words: {'+'.join(soft)}" if len(soft) >= 2 else ""


class Url:
    def __init__(self, lists: BlockLists, words: bool) -> None:
        self._lists = lists
        self._words = words

    def examine(self, view: TextView, facts: Facts) -> tuple[list[str], list[Span]]:
        """What matches: "LIST: ENTRY" or the words; "" for a document without an address or a match."""
        origin = str(facts.get("origin") or "")  # a path, unless it says otherwise
        address = parse_url(str(facts.get("url") or "") or (origin if "://" in origin else ""))
        if not address.host:
            return [""], []
        if found := self._lists.find(address):
            return [f"{found[0]}: {found[1]}"], []
        return [word_match(address) if self._words else ""], []


def start(section: UrlRules, config: CurateConfig) -> Url:
    return Url(load_lists(section.lists), section.words)


def reads(section: UrlRules) -> list[str]:
    return [sha256_file(file) for path in section.lists for _, file in list_files(path)]


URL = Group(
    name="url",
    version=1,
    scores=(Score("match", "address's block list match", "label"),),
    rules=(Rule("refuse", "match", "none of"),),
    start=start,
    reads=reads,
)
