"""What a cut model would compute wrongly is refused before anything is built."""

from dataclasses import replace

import pytest

from seedbed.errors import InputError
from seedbed.model.config import ExpertsConfig, TransformerConfig, llama_config
from seedbed.recipe.layout import parse_layout
from seedbed.train.parallel.sharded import Sharded

CONFIG = llama_config(TransformerConfig(300, 2, 64, 4, 2, 96, 32))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(CONFIG, causal=False, windows=(8, 0)), "leave out cp or model.windows"),
        (replace(CONFIG, experts=ExpertsConfig(4, 2, 32, balance="loss")), "set model.balance=bias"),
    ],
)
def test_context_parallelism_refuses_what_needs_whole_rows(config: TransformerConfig, message: str) -> None:
    with pytest.raises(InputError, match=f"train.parallel: .*{message}"):
        Sharded(config, parse_layout("cp=2"), "cpu", False)
