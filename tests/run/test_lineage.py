"""A traced token is found in its text, and in the file it was collected from, by plain means."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from seedbed.errors import InputError
from seedbed.run.folder import RunFolder
from seedbed.run.lineage import Lineage, Place, rows_by_id, trace
from seedbed.tokens.tokenizer import Tokenizer


def test_every_token_of_a_batch_is_in_its_text(finished_run: RunFolder) -> None:
    """The trail against the files themselves: raw shard bytes, and the source text as `collect` read it."""
    lineage = Lineage(finished_run)
    tokenizer = Tokenizer.load(finished_run.stage_path("tokenizer") / "tokenizer.json")
    parts = sorted(finished_run.stage_path("curate").glob("documents-*.parquet"))
    texts = {row["id"]: row["text"] for part in parts for row in pq.read_table(part).to_pylist()}
    recipe = finished_run.recipe()
    context = recipe.model.context or 0
    for step in (0, 7):
        batch = lineage.loader.batch(step)
        for row in range(len(batch)):
            found = lineage.trace(Place(step, row, position) for position in range(context + 1))
            assert [result.token for result in found] == batch[row].tolist()
            for result in found:
                assert result.problems == ()
                raw = np.fromfile(finished_run.stage_path("tokenize") / result.shard, "<u2")
                assert raw[result.shard_token] == result.token
                data = texts[result.document].encode()
                assert data[result.byte_start : result.byte_stop] == tokenizer.decode_bytes([result.token])
                assert Path(result.origin).read_bytes().startswith(data[: result.byte_stop])
                assert result.verdict == "kept"
                around = f"{result.before}{result.text}{result.after}"
                assert around in texts[result.document]
            for one, following in itertools.pairwise(found):
                if one.document == following.document and one.token != tokenizer.eos_id:
                    assert one.byte_stop == following.byte_start


def test_trace_of_one_token_and_of_none(finished_run: RunFolder) -> None:
    result = trace(finished_run, 2, 1, 5)
    assert (result.step, result.row, result.position) == (2, 1, 5)
    for place in ((0, 99, 0), (0, 0, 99), (-1, 0, 0), (0, -1, 0)):
        with pytest.raises(InputError, match="no token at step"):
            trace(finished_run, *place)


def test_rows_by_id_reads_what_is_asked(finished_run: RunFolder) -> None:
    table = finished_run.stage_path("curate") / "decisions-00000.parquet"
    every = {row["id"]: row for row in pq.read_table(table).to_pylist()}
    some = set(list(every)[::7])
    assert rows_by_id([table], {*some, "unknown"}) == {identity: every[identity] for identity in some}
    assert rows_by_id([], some) == {}
