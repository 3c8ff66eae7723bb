"""Training a byte-level BPE with rustbpe: token bytes and merges, the same on every machine and thread count.

The most frequent pair of neighbouring tokens is merged until the vocabulary is full (Sennrich et al. 2016,
arXiv:1508.07909, algorithm 1), on the bytes of pre-tokens; ties go to the pair with the smallest ids. Id b is byte b,
id 256 + k is merge k.
"""

import re
from collections.abc import Iterator

import rustbpe

# rustbpe's regex engine gives up on runs of about a million spaces; pieces of this many characters also share the work
# among threads.
PIECE_CHARACTERS = 65_536
# Pieces held at once: 16 MB of ASCII.
PIECES_BUFFERED = 256
# The longest token kept, that of cl100k_base (128 spaces). Longer ones come of a file's long runs of one character.
MAX_TOKEN_BYTES = 128
# Merges drawn beyond those needed, to fill the places of those left out.
SPARE_MERGES = 256
# In all patterns a pre-token ends between a letter and a space, and looks no further back or ahead: a cut there
# changes nothing.
SAFE_CUT = re.compile(r"(?<=[A-Za-z])(?= )")


def train(texts: Iterator[str], num_tokens: int, pattern: str) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """Token bytes by id (256 bytes, then merges) and the merges in order of rank.

    At most `num_tokens` of them; fewer where no pair is left to merge. `texts` holds valid Unicode, `pattern` is a
    regex. Each text is a document: no merge crosses from one to the next.
    """
    trainer = rustbpe.Tokenizer()
    pieces = (piece for text in texts for piece in cut(text))
    trainer.train_from_iterator(
        pieces, vocab_size=num_tokens + SPARE_MERGES, buffer_size=PIECES_BUFFERED, pattern=pattern
    )
    drawn = [bytes(token) for token, _ in trainer.get_mergeable_ranks()]
    return recover_merges(drawn, num_tokens)


def cut(text: str) -> Iterator[str]:
    """The text in pieces of at most PIECE_CHARACTERS, cut where every pattern ends a pre-token if it can be."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        found = SAFE_CUT.search(text, start + PIECE_CHARACTERS // 2, start + PIECE_CHARACTERS)
        end = found.start() if found else start + PIECE_CHARACTERS
        yield text[start:end]
        start = end
    yield text[start:]


def recover_merges(drawn: list[bytes], num_tokens: int) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """The pair behind each token: what its bytes are merged into by the tokens before it.

    rustbpe gives the tokens in order and not their pairs. Left out are tokens of more than MAX_TOKEN_BYTES, and those
    that another pair has spelled before: encoders would never make them.
    """
    rank = {token: number for number, token in enumerate(drawn[:256])}
    merges: list[tuple[bytes, bytes]] = []
    for token in drawn[256:]:
        if len(rank) == num_tokens:
            break
        pair = merge_bytes(token, rank) if len(token) <= MAX_TOKEN_BYTES else []
        if len(pair) == 2:
            rank[token] = len(rank)
            merges.append((pair[0], pair[1]))
    return list(rank), merges


def merge_bytes(token: bytes, rank: dict[bytes, int]) -> list[bytes]:
    """The token's bytes after every merge in `rank`, lowest rank first."""
    pieces = [token[i : i + 1] for i in range(len(token))]
    while len(pieces) > 1:
        best, where = len(rank), -1
        for i in range(len(pieces) - 1):
            found = rank.get(pieces[i] + pieces[i + 1], best)
            if found < best:
                best, where = found, i
        if where < 0:
            break
        pieces[where : where + 2] = [pieces[where] + pieces[where + 1]]
    return pieces
