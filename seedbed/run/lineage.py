"""Lineage: from a token that training read back to its document, its place in the text, the decision and the source.

    (step, row, position) -> window of the stream -> shard and document -> text as curate kept it -> decision -> source

Nothing of this is logged while training: batch(step) is a pure function, so it can be asked again.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.corpus.decisions import decision_parts
from seedbed.corpus.store import document_parts
from seedbed.errors import InputError, SeedbedError
from seedbed.run.folder import RunFolder
from seedbed.tokens.data_order import open_loader
from seedbed.tokens.linked import is_linked
from seedbed.tokens.loader import PADDING
from seedbed.tokens.shards import MANIFEST_FILE
from seedbed.tokens.tokenizer import Tokenizer

EXCERPT_BYTES = 24  # of text shown on either side of a token
TRAIN = "train"


class Place(NamedTuple):
    """A token of training: row `row` of the global batch of `step`, and its index in that row's window."""

    step: int
    row: int
    position: int


@dataclass(frozen=True)
class TraceResult:
    """Where a token comes from. Empty and -1 where the trail ends; `problems` says why."""

    step: int
    row: int
    position: int
    token: int
    text: str  # of the token
    shard: str = ""  # file within the tokenize stage
    shard_token: int = -1
    document: str = ""
    document_token: int = -1
    byte_start: int = -1  # of the token in the document's UTF-8 text; -1 where the tokenizer does not decode exactly
    byte_stop: int = -1
    before: str = ""
    after: str = ""
    source: str = ""
    domain: str = ""
    licence: str = ""
    origin: str = ""
    verdict: str = ""
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Lineage:
    """The trail of one run's training tokens. Needs the stages up to `tokenize`, and the recipe."""

    def __init__(self, folder: RunFolder) -> None:
        recipe = folder.recipe()
        assert recipe.model.context and recipe.train.batch_tokens
        self.tokenize = folder.stage_path("tokenize")
        self.curate = folder.stage_path("curate")
        self.tokenizer = Tokenizer.load(folder.stage_path("tokenizer") / "tokenizer.json")
        self.steps = recipe.train.steps  # None until measured
        if not (self.tokenize / TRAIN / MANIFEST_FILE).is_file():
            raise SeedbedError(
                f"{self.tokenize / TRAIN} is missing: delete {self.tokenize} and run the same command again"
            )
        self.loader = open_loader(self.tokenize / TRAIN, recipe)

    def draw(self, count: int, seed: int) -> list[Place]:
        """`count` random tokens of the steps that were trained."""
        generator = np.random.default_rng([seed, 0x76657269])  # "veri": its own stream of draws
        places = []
        for _ in range(count):
            step = int(generator.integers(self.steps or 1))
            limits = (self.loader.plan.rows_at(step), self.loader.context)
            row, position = (int(generator.integers(limit)) for limit in limits)
            if self.loader.positions(step, row, row + 1)[0, position] == PADDING:
                position = 0  # a row begins with text
            places.append(Place(step, row, position))
        return places

    def trace(self, places: Iterable[Place]) -> list[TraceResult]:
        """Each token traced back; the tables are read once for all of them."""
        found = [self.locate(place) for place in places]
        ids = {result.document for result in found}
        documents = rows_by_id(document_parts(self.curate), ids)
        decisions = rows_by_id(decision_parts(self.curate), ids)
        encoded = {identity: self.tokenizer.encode(row["text"]) for identity, row in documents.items()}
        return [
            self.follow(r, documents.get(r.document), decisions.get(r.document), encoded.get(r.document)) for r in found
        ]

    def locate(self, place: Place) -> TraceResult:
        """The token in its shard and document, by the loader's two answers: the tokens, and the documents behind them."""
        step, row, position = place
        rows = self.loader.plan.rows_at(step)
        if not (0 <= row < rows and 0 <= position <= self.loader.context and step >= 0):
            raise InputError(
                f"no token at step {step}, row {row}, position {position}: a batch has {rows} rows "
                f"of {self.loader.context + 1} tokens"
            )
        shards = self.loader.shards
        token = int(self.loader.rows(step, row, row + 1)[0, position])
        at = int(self.loader.positions(step, row, row + 1)[0, position])
        if at == PADDING:
            raise InputError(f"step {step}, row {row}, position {position} is padding: it comes from no document")
        shard = shards.shard_of(at)
        index = position
        for span in self.loader.documents(step, row, row + 1)[0]:
            if index < span.stop - span.start:
                break
            index -= span.stop - span.start
        problems = []
        record = shards.record(span.document)
        document_token = span.start + index
        document, start, _ = shards.document_at(at)
        if (document, at - start) != (span.document, document_token):
            problems.append("the loader and the shard's index disagree on its document")
        if int(shards.document_tokens(span.document)[document_token]) != token:
            problems.append("its shard holds another token there")
        return TraceResult(
            *place,
            token,
            self.tokenizer.decode([token]),
            shard=f"{TRAIN}/{shards.manifest['shards'][shard]['file']}",
            shard_token=at - int(shards.first_token[shard]),
            document=record.id,
            document_token=document_token,
            source=record.source,
            domain=record.domain,
            problems=tuple(problems),
        )

    def follow(
        self,
        found: TraceResult,
        document: dict[str, Any] | None,
        decision: dict[str, Any] | None,
        encoded: np.ndarray | None,
    ) -> TraceResult:
        """`found` with the rest of the trail: the text around the token, the decision, the source."""
        if is_linked(self.tokenize / TRAIN):
            return self.read_around(found)
        problems = list(found.problems)
        fields = asdict(found)
        if decision is None:
            problems.append(f"no decision on {found.document}")
        else:
            fields["verdict"] = decision["verdict"]
            if (decision["verdict"], decision["split"]) != ("kept", TRAIN):
                problems.append(f"the decision on {found.document} is {decision['verdict']} ({decision['split']})")
        if document is None or encoded is None:
            problems.append(f"{found.document} is not among the kept documents")
        else:
            fields |= {name: document[name] for name in ("licence", "origin")}
            if (document["source"], document["domain"]) != (found.source, found.domain):
                problems.append(f"source or domain of {found.document} is not what the shards say")
            text = document["text"].encode()
            expected = (
                int(encoded[found.document_token]) if found.document_token < len(encoded) else self.tokenizer.eos_id
            )
            if found.document_token > len(encoded) or expected != found.token:
                problems.append(f"the text of {found.document} encodes to another token there")
            elif self.tokenizer.exact:
                start = len(self.tokenizer.decode_bytes(encoded[: found.document_token]))
                piece = self.tokenizer.decode_bytes([found.token])
                stop = start + len(piece)
                if text[start:stop] != piece:
                    problems.append(f"the text of {found.document} holds other bytes at {start}")
                fields |= {
                    "byte_start": start,
                    "byte_stop": stop,
                    "before": text[max(0, start - EXCERPT_BYTES) : start].decode(errors="replace").lstrip("\ufffd"),
                    "after": text[stop : stop + EXCERPT_BYTES].decode(errors="replace").rstrip("\ufffd"),
                }
        return TraceResult(**{**fields, "problems": tuple(problems)})

    def read_around(self, found: TraceResult) -> TraceResult:
        """`found` with the text around the token as its shard has it: where the text came from, its maker knows."""
        shards = self.loader.shards
        at = self.loader.positions(found.step, found.row, found.row + 1)[0, found.position]
        _, start, stop = shards.document_at(int(at))
        before = self.tokenizer.decode(shards.read(max(start, int(at) - EXCERPT_BYTES), int(at)))
        after = self.tokenizer.decode(
            shards.read(int(at) + 1, max(int(at) + 1, min(stop - 1, int(at) + EXCERPT_BYTES)))
        )
        return replace(found, before=before[-EXCERPT_BYTES:], after=after[:EXCERPT_BYTES])


def trace(folder: RunFolder, step: int, row: int, position: int) -> TraceResult:
    """The origin of one token that training read."""
    return Lineage(folder).trace([Place(step, row, position)])[0]


def rows_by_id(paths: Iterable[Path], ids: set[str]) -> dict[str, dict[str, Any]]:
    """The rows with these ids of Parquet files; row groups without any of them are read no further than their ids."""
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    names = file.read_row_group(group, columns=["id"]).column("id").to_pylist()
                    wanted = [index for index, name in enumerate(names) if name in ids]
                    if wanted:
                        table = file.read_row_group(group).take(pa.array(wanted))
                        found |= {row["id"]: row for row in table.to_pylist()}
        except (pa.ArrowException, OSError) as error:
            raise SeedbedError(
                f"{path} cannot be read ({str(error).splitlines()[0]}): delete its folder and run the same command again"
            ) from None
    return found
