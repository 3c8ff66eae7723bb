"""The micro-batch follows the memory that is free, before anything is allocated."""

import pytest

from seedbed.errors import InputError
from seedbed.model.config import TransformerConfig, llama_config
from seedbed.train.host_fit import fitting_rows

CONFIG = llama_config(TransformerConfig(32_000, 12, 768, 12, 12, 2048, 1024))


def test_less_memory_gives_fewer_rows_and_then_one_line() -> None:
    rows = [fitting_rows(CONFIG, 32, "adamw", False, int(gigabytes * 1e9)) for gigabytes in (500, 32, 16, 8)]
    assert rows[0] == 32
    assert rows == sorted(rows, reverse=True) and rows[-1] < 32
    assert all(32 % count == 0 for count in rows)
    with pytest.raises(InputError, match=r"model\.size: a step needs about .* GB .* are free: choose a smaller"):
        fitting_rows(CONFIG, 32, "adamw", False, 10**9)


def test_recomputing_layers_makes_room() -> None:
    assert fitting_rows(CONFIG, 32, "adamw", True, 8 * 10**9) >= fitting_rows(CONFIG, 32, "adamw", False, 8 * 10**9)
