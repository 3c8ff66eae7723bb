"""The texts of a shard as its documents were scored: normalised, with every step's edits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.corpus import normalise
from seedbed.corpus.chain import apply_steps
from seedbed.corpus.score import read_spans
from seedbed.corpus.store import UNREADABLE, damaged

Form = Literal["NFC", "NFKC", "none"]


def edited_texts(part: Path, spans: Path, unicode_form: Form, rows: np.ndarray) -> Iterator[tuple[int, str, str]]:
    """(row, text, url) of these rows of a shard, which are ascending. Row groups without any of them are not read.

    `part`: the collected documents, `spans`: what scoring marked in them. Memory: a row group's text.
    """
    if not len(rows):
        return
    marked = read_spans(spans, rows)
    try:
        with pq.ParquetFile(part) as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                wanted = rows[slice(*np.searchsorted(rows, [start, end]))]
                if len(wanted):
                    table = file.read_row_group(group, ["text", "url"]).take(pa.array(wanted - start))
                    for row, text, url in zip(wanted.tolist(), *(c.to_pylist() for c in table.columns), strict=True):
                        text = normalise.normalise(text, unicode_form)
                        yield row, apply_steps(text, marked.get(row, ())), url
                start = end
    except UNREADABLE as error:
        raise damaged(part, error) from None
