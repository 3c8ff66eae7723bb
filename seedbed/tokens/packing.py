"""Packing: how a stretch of the stream becomes rows of context + 1 tokens.

    concatenate   the stretch, closed to a ring of N tokens, is cut into N // context windows from a point drawn from
                  (seed, epoch); what is left over sits this epoch out. No row has padding; documents are cut anywhere.
    best-fit      a document longer than a row is cut into rows; then documents and remainders are put together so that few
                  places stay empty, and none is cut again (Ding et al. 2024, "Fewer Truncations Improve Language
                  Modeling", section 3). Every target of a document is asked once an epoch.

Either gives a row as pieces of the stream. Windows, and the parts of a long document, share one token: the last target
of the one is the first input of the next. The rows of an epoch come in an order drawn from (seed, epoch).
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from seedbed.errors import InputError, SeedbedError
from seedbed.tokens.permutation import ROUNDS, BlockOrder, permute
from seedbed.tokens.reader import Group, ShardReader, map_array

Piece = tuple[int, int]  # first token in the stream, number of tokens

PACKING_FOLDER = "packing-{context}"
PIECE_DTYPE = np.dtype([("start", "<u8"), ("length", "<u4")])
BLOCK_TOKENS = 1 << 22  # documents packed together: the memory of packing, at most 8 bytes for each of these tokens
BLOCK_ROWS = 1024  # and at least so many rows: each block ends with a row or two that are half empty
LEAST_PIECE = 2  # a token and its target


class Packing(Protocol):
    num_rows: int  # of an epoch

    def pieces(self, numbers: np.ndarray) -> list[list[Piece]]:
        """The pieces of rows `numbers` (int64, ascending), which count on from epoch to epoch."""


class EpochOrder:
    """Which row of an epoch comes when; `block`: rows that are mixed with one another, None for all."""

    def __init__(self, num_rows: int, block: int | None, seed: int, name: str) -> None:
        self.num_rows, self.block, self.seed, self.name = num_rows, block, seed, name
        self.draw = lru_cache(maxsize=64)(self._draw)
        self._blocks = lru_cache(maxsize=2)(self._block_order)

    def epochs(self, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(epoch, int64 rows of the epoch) for `numbers`, which are ascending."""
        done = 0
        while done < len(numbers):
            epoch = int(numbers[done]) // self.num_rows
            until = len(numbers)
            if int(numbers[-1]) >= (epoch + 1) * self.num_rows:
                until = int(np.searchsorted(numbers, (epoch + 1) * self.num_rows))
            places = numbers[done:until] - epoch * self.num_rows
            done = until
            if self.block is None or self.block >= self.num_rows:
                yield epoch, permute(places, self.num_rows, self.draw(epoch)[1])
            else:
                yield epoch, self._blocks(epoch).at(places)

    def _draw(self, epoch: int) -> tuple[int, np.ndarray]:
        """A number drawn for the epoch, and the keys of its order."""
        digest = hashlib.blake2b(f"{self.seed}/{self.name}/{epoch}".encode(), digest_size=8 * (ROUNDS + 1)).digest()
        numbers = np.frombuffer(digest, "<u8")
        return int(numbers[0]), numbers[1:].reshape(ROUNDS, 1).astype(np.uint64)

    def _block_order(self, epoch: int) -> BlockOrder:
        assert self.block
        return BlockOrder(self.num_rows, self.block, self.draw(epoch)[1])


class Concatenation:
    def __init__(self, group: Group, context: int, seed: int, name: str, shuffle_tokens: int | None = None) -> None:
        self.group, self.context = group, context
        self.num_rows = group.num_tokens // context
        block = None if shuffle_tokens is None else max(1, shuffle_tokens // context)
        self.order = EpochOrder(self.num_rows, block, seed, name)

    def pieces(self, numbers: np.ndarray) -> list[list[Piece]]:
        first, size, length = self.group.first_token, self.group.num_tokens, self.context + 1
        found: list[list[Piece]] = []
        for epoch, windows in self.order.epochs(numbers):
            origin = self.order.draw(epoch)[0] % size
            for start in ((origin + windows * self.context) % size).tolist():
                row, left = [(first + start, length)], length - (size - start)
                if left > 0:
                    row = [(first + start, size - start)]
                while left > 0:  # past the end of the ring it goes on at its beginning
                    row.append((first, min(left, size)))
                    left -= size
                found.append(row)
        return found


class BestFit:
    """Rows as `write_best_fit` laid them out, mapped: 8 bytes a row and 12 a piece on the disk, none in memory."""

    def __init__(
        self, folder: Path, group: Group, context: int, seed: int, name: str, shuffle_tokens: int | None = None
    ) -> None:
        rows_path, pieces_path = index_paths(folder, context)
        try:
            self.ends = map_array(rows_path, np.dtype("<u8"))
            self.index = map_array(pieces_path, PIECE_DTYPE)
        except (OSError, ValueError):
            raise damaged_index(rows_path.parent) from None
        if len(self.ends) == 0 or int(self.ends[-1]) != len(self.index):
            raise damaged_index(rows_path.parent)
        # rows come in the order of the stream's groups, and none has pieces of two
        rows = range(len(self.ends))
        self.first_row = bisect_left(rows, group.first_token, key=self._begin)
        last_row = bisect_left(rows, group.first_token + group.num_tokens, key=self._begin)
        self.num_rows = last_row - self.first_row
        if not self.num_rows:
            raise InputError(f"{folder}: {group.name!r} has no document of two tokens: leave this source out")
        block = None if shuffle_tokens is None else max(1, shuffle_tokens // context)
        self.order = EpochOrder(self.num_rows, block, seed, name)

    def pieces(self, numbers: np.ndarray) -> list[list[Piece]]:
        found = []
        for _, rows in self.order.epochs(numbers):
            for row in (self.first_row + rows).tolist():
                part = self.index[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])]
                found.append(list(zip(part["start"].tolist(), part["length"].tolist(), strict=True)))
        return found

    def _begin(self, row: int) -> int:
        """The stream's token with which a row begins."""
        return int(self.index["start"][int(self.ends[row - 1]) if row else 0])


def index_paths(folder: Path, context: int) -> tuple[Path, Path]:
    base = folder / PACKING_FOLDER.format(context=context)
    return base / "rows", base / "pieces"


def damaged_index(folder: Path) -> SeedbedError:
    return SeedbedError(
        f"{folder} is missing or damaged: delete the folder {folder.parent.parent} and run the same command again"
    )


def write_best_fit(shards: ShardReader, context: int) -> dict[str, int | float]:
    """Lay out the rows of `shards` beside them, a group after the other. Memory: one block of documents.

    Gives rows, pieces, documents that had to be cut, and the share of the rows' places that stays empty.
    """
    rows_path, pieces_path = index_paths(shards.folder, context)
    rows_path.parent.mkdir(parents=True, exist_ok=True)
    num_rows = num_pieces = num_cut = num_filled = 0
    with rows_path.open("wb") as rows_file, pieces_path.open("wb") as pieces_file:
        for group in shards.groups:
            for starts, stops in document_blocks(shards, group, max(BLOCK_TOKENS, BLOCK_ROWS * context)):
                pieces = cut_documents(starts, stops, context)
                order, sizes = best_fit(pieces["length"], context + 1)
                pieces_file.write(pieces[order].tobytes())
                rows_file.write((num_pieces + np.cumsum(sizes)).astype("<u8").tobytes())
                num_pieces += len(pieces)
                num_rows += len(sizes)
                num_filled += int(pieces["length"].sum())
                num_cut += int(np.count_nonzero(stops - starts > context + 1))
    places = num_rows * (context + 1)
    padding = round(1 - num_filled / places, 6) if places else 0.0
    return {"rows": num_rows, "pieces": num_pieces, "cut_documents": num_cut, "padding": padding}


def document_blocks(shards: ShardReader, group: Group, block_tokens: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Starts and stops in the stream of a group's documents, int64, consecutive ones of about `block_tokens` at a time."""
    stop = group.first_token + group.num_tokens
    first, held, size = group.first_token, [], 0
    for ends in shards.document_ends(group.first_token, stop):
        while len(ends):
            until = first + block_tokens
            count = max(1, int(np.searchsorted(ends, until, side="right")))
            held.append(ends[:count])
            size += count
            if count < len(ends) or int(held[-1][-1]) >= until:
                yield join_documents(first, held)
                first, held = int(held[-1][-1]), []
            ends = ends[count:]
    if held:
        yield join_documents(first, held)


def join_documents(first: int, ends: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    stops = np.concatenate(ends)
    return np.concatenate(([first], stops[:-1])), stops


def cut_documents(starts: np.ndarray, stops: np.ndarray, context: int) -> np.ndarray:
    """The pieces of documents [starts, stops): whole, or rows of context + 1 tokens that overlap by one, and the rest.

    A document of one token (its end-of-text alone) asks for nothing and gives no piece.
    """
    targets = stops - starts - 1
    counts = -(-targets // context)
    which = np.repeat(np.arange(len(starts)), counts)
    part = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    pieces = np.empty(len(which), PIECE_DTYPE)
    begin = starts[which] + part * context
    pieces["start"] = begin
    pieces["length"] = np.minimum(stops[which], begin + context + 1) - begin
    return pieces


def best_fit(lengths: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Best fit, longest first: each piece goes to the row with the least room that still holds it.

    Gives the pieces in order of row (int64, within a row in the order given) and the number of pieces of each row. Finding
    a row is a shift and a lowest bit of one large integer, in which bit f says that some row has room for f.
    """
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms = 0
    sizes = lengths.tolist()
    for piece in np.argsort(-lengths.astype(np.int64), kind="stable").tolist():
        length = sizes[piece]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            number = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            room, number = capacity, len(rows)
            rows.append([])
        rows[number].append(piece)
        room -= length
        if room >= LEAST_PIECE:
            if not with_room[room]:
                rooms |= 1 << room
            with_room[room].append(number)
    order = np.array([piece for row in rows for piece in sorted(row)], np.int64)
    return order, np.array([len(row) for row in rows], np.int64)
