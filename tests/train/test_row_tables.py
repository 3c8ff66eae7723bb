"""Tables with one dense gradient train as those with sparse ones do."""

import torch

from seedbed.model.config import TransformerConfig, seedbed_config
from seedbed.model.transformer import Transformer, build_model
from seedbed.recipe.schema import TrainConfig
from seedbed.train.optimizers import Optimizer
from seedbed.train.row_tables import RowTable, touched_masks, use_row_tables

CONFIG = seedbed_config(TransformerConfig(97, 2, 32, 2, 2, 64, 16))


def trained(rows: bool) -> tuple[Transformer, Optimizer]:
    """After three steps of two micro-batches each, in which a third of the tokens occurs."""
    model = build_model(CONFIG, seed=3)
    if rows:
        use_row_tables(model)
    optimizer = Optimizer(model, TrainConfig(steps=3), steps=3)
    generator = torch.Generator().manual_seed(0)
    for step in range(3):
        for _ in range(2):
            tokens = torch.randint(32 * step, 32 * step + 33, (4, 17), generator=generator)
            model.losses(tokens[:, :-1], tokens[:, 1:])[0].mean().backward()
        for table, mask_V in touched_masks([m for m in model.modules() if isinstance(m, RowTable)]):
            assert mask_V.sum() <= 33
            table.weight.touched = mask_V  # type: ignore[attr-defined]
        optimizer.step(step)
        model.zero_grad()
    return model, optimizer


def test_rows_move_as_sparse_gradients_move_them() -> None:
    (sparse, before), (rows, after) = trained(False), trained(True)
    assert (
        sum(isinstance(module, RowTable) for module in rows.modules()) == 2
    )  # the embedding, one layer's value embedding
    state = rows.state_dict()
    assert state.keys() == sparse.state_dict().keys()
    for name, value in sparse.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5, msg=name)
    for name, value in before.rows.state().items():
        tolerance = 0.0 if name.endswith("touches") else 1e-4
        torch.testing.assert_close(after.rows.state()[name], value, rtol=tolerance, atol=tolerance / 10, msg=name)


def test_looking_up_without_gradients_touches_nothing() -> None:
    model = build_model(CONFIG, seed=3)
    use_row_tables(model)
    with torch.no_grad():
        model(torch.zeros(1, 4, dtype=torch.int64))
    assert all(module.touched_V is None for module in model.modules() if isinstance(module, RowTable))
