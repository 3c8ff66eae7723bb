"""What runs when memory is short: each rung is lighter than the one before, and the global batch stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.model.config import TransformerConfig
from seedbed.run.machine import measured_peak
from seedbed.train.execution import MOST_LOGIT_BYTES, Execution, lighter, loss_chunk

WEIGHT = {"none": 2, "selective": 1, "full": 0}


@given(rows=st.integers(1, 512), context=st.sampled_from([128, 1024, 8192]), may_recompute=st.booleans())
def test_every_rung_is_lighter_and_the_ladder_ends(rows: int, context: int, may_recompute: bool) -> None:
    execution, rungs = Execution("cuda", "bfloat16", True, 1, rows), 0
    while (below := lighter(execution, context, may_recompute)) is not None:
        before = (execution.micro_batch_rows, WEIGHT[execution.recompute])
        after = (below.micro_batch_rows, WEIGHT[below.recompute])
        assert before > after and all(b >= a for b, a in zip(before, after, strict=True))
        assert rows % below.micro_batch_rows == 0
        execution, rungs = below, rungs + 1
        assert rungs < 20
    assert execution.micro_batch_rows % 2 == 1
    assert execution.recompute == ("full" if may_recompute else "none")


@given(vocab_size=st.integers(256, 300_000), rows=st.integers(1, 256))
def test_no_more_logits_are_held_than_allowed(vocab_size: int, rows: int) -> None:
    config = TransformerConfig(vocab_size, 2, 64, 2, 2, 256, 1024)
    chunk = loss_chunk(config, Execution("cpu", "float32", False, 1, rows))
    held = (chunk or rows * config.context) * vocab_size * 4
    assert held <= MOST_LOGIT_BYTES["cpu"]
    assert chunk == 0 or chunk < rows * config.context
    assert loss_chunk(config, Execution("cpu", "float32", False, 1, rows, loss_chunk_tokens=7)) == 7


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float8"])
def test_every_precision_has_a_measured_peak(precision: str) -> None:
    assert measured_peak("cpu", Execution("cpu", precision, False, 1, 1).peak_dtype, 1) > 0


def test_what_is_compiled_for_a_gpu_holds_narrow_logits() -> None:
    """65,536 tokens of GPT-2's vocabulary: 6.6 GB of bfloat16 are held whole, 13.2 GB of float32 are not."""
    config = TransformerConfig(50_304, 2, 64, 2, 2, 256, 1024)
    assert loss_chunk(config, Execution("cuda", "bfloat16", True, 1, 64)) == 0
    assert 0 < loss_chunk(config, Execution("cuda", "bfloat16", False, 1, 64)) < 65_536
    assert 0 < loss_chunk(config, Execution("cuda", "float32", True, 1, 64)) < 65_536
