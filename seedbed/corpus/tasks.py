"""The tasks of collect: which files, and which parts of large files, make a shard."""

from dataclasses import asdict, fields
from typing import Any

from seedbed.corpus import builtin
from seedbed.corpus.readers import file_name
from seedbed.corpus.records import HTML, WARC, strip_compression
from seedbed.corpus.sources import PAGE_SHARD_BYTES, SHARD_BYTES, Piece, name_sources, source_pieces
from seedbed.recipe.schema import CorpusConfig, SourceConfig

# Small files of one task: some seconds of work, next to which starting a task (a few ms) and a shard's files are nothing.
GROUP_BYTES = 32 << 20
GROUP_FILES = 20_000
PAGE_WORK = GROUP_BYTES // PAGE_SHARD_BYTES  # times the work of text of the same size: pages are taken apart
# Executors ask how much work a task is, in bytes of text to curate: reading takes a sixteenth of that, extraction as much.
READING_SHARE = 16


def plan_collect(corpus: CorpusConfig, shard_bytes: int = SHARD_BYTES) -> list[dict[str, Any]]:
    """One task a shard, validation files first; from the recipe and the files' names and sizes alone.

    A source with `max_bytes` is one task, since where it ends depends on everything before. Raises InputError when a path
    does not exist or holds no file.
    """
    validation, sources = name_sources(corpus)
    shards: list[tuple[SourceConfig, str, list[Piece]]] = []
    for source, split in [*((s, s.name) for s in validation), *((s, "") for s in sources)]:
        if source.path.startswith(builtin.PREFIX):
            builtin.parse_name(source.path)
            shards.append((source, split, []))
        else:
            pieces = source_pieces(source, shard_bytes)
            groups = [pieces] if source.max_bytes is not None else group_pieces(pieces)
            shards += [(source, split, group) for group in groups]
    width = max(5, len(str(len(shards))))
    return [make_task(f"{n:0{width}d}", corpus, *shard) for n, shard in enumerate(shards)]


def group_pieces(pieces: list[Piece]) -> list[list[Piece]]:
    """Neighbours together, up to GROUP_BYTES and GROUP_FILES; a larger piece is alone."""
    groups: list[list[Piece]] = []
    size = 0
    for piece in pieces:
        here = 0 if piece.skipped else (min(piece.end, piece.size) - piece.start) * (PAGE_WORK if is_page(piece) else 1)
        if not groups or size + here > GROUP_BYTES or len(groups[-1]) >= GROUP_FILES:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += here
    return groups


def make_task(name: str, corpus: CorpusConfig, source: SourceConfig, split: str, pieces: list[Piece]) -> dict[str, Any]:
    if pieces:
        size = sum(0 if piece.skipped else min(piece.end, piece.size) - piece.start for piece in pieces)
        what = f"{source.name}: {pieces[0].location}" + (f" and {len(pieces) - 1} more" if len(pieces) > 1 else "")
    else:
        size, what = builtin.text_bytes(source.path), source.path
    size = size if source.max_bytes is None else min(size, source.max_bytes)
    return {
        "name": name,
        "what": what,
        "size": size,
        "bytes": size // (1 if any(is_page(piece) for piece in pieces) else READING_SHARE),
        "source": source.model_dump(mode="json"),
        "split": split,
        "extract": corpus.extract.model_dump(mode="json"),
        "limit": corpus.max_record_bytes,
        "pieces": [list(asdict(piece).values()) for piece in pieces],
    }


def is_page(piece: Piece) -> bool:
    return strip_compression(file_name(piece.location)).lower().endswith((*WARC, *HTML))


def pieces_of(task: dict[str, Any]) -> list[Piece]:
    names = [field.name for field in fields(Piece)]
    pieces = [dict(zip(names, values, strict=True)) for values in task["pieces"]]
    return [Piece(**{**piece, "licence_file": tuple(piece["licence_file"] or ()) or None}) for piece in pieces]
