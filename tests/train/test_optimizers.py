"""Optimizers against their float64 or reference forms."""

import pytest
import torch
from torch import Tensor

from seedbed.train.optimizers.adamw import AdamW, RowAdamW
from seedbed.train.optimizers.muon import Muon
from seedbed.train.optimizers.polar import orthogonalize


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 48, 48), (2, 96, 24), (4, 24, 96), (1, 128, 512)])
def test_the_polar_iteration_brings_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    x = draw(*shape)
    result = orthogonalize(x, 5).double()
    u, _, vt = torch.linalg.svd(x.double(), full_matrices=False)
    # measured on these stacks: between 0.8764 and 1.1236, at a relative distance of 0.09 from U V^T
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.87 and values.max() < 1.13
    assert (result - u @ vt).norm() / (u @ vt).norm() < 0.1


@pytest.mark.parametrize("shape", [(3, 48, 48), (4, 24, 96), (1, 128, 512)])
@pytest.mark.parametrize(("steps", "largest"), [(3, 1.95), (5, 1.15)])
def test_the_bfloat16_iteration_follows_the_float32_one(
    shape: tuple[int, int, int], steps: int, largest: float
) -> None:
    x = draw(*shape)
    x[0, 1] = x[0, 0]  # a matrix without full rank: its vanishing singular value must not grow
    exact, rounded = orthogonalize(x, steps).double(), orthogonalize(x, steps, torch.bfloat16).double()
    # measured: .05 to .114 (most of it the safety factor's), largest values 1.90 and 1.13
    assert (rounded - exact).norm() / exact.norm() < 0.13
    assert torch.linalg.svdvals(rounded).max() < largest


def test_the_polar_iteration_ignores_scale_and_survives_zero() -> None:
    x = draw(2, 16, 32)
    torch.testing.assert_close(orthogonalize(x, 5), orthogonalize(x * 1e-3, 5), rtol=0, atol=5e-3)
    assert torch.equal(orthogonalize(torch.zeros(1, 8, 8), 5), torch.zeros(1, 8, 8))


def test_muon_moves_each_matrix_as_if_it_were_alone() -> None:
    weights = {name: draw(*shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items())}
    together = {name: weight.clone() for name, weight in weights.items()}
    muon = Muon(together, weight_decay=0.1, polar_steps=5)
    alone = {name: weight.clone() for name, weight in weights.items()}
    singles = {name: Muon({name: weight}, weight_decay=0.1, polar_steps=5) for name, weight in alone.items()}
    for step in range(3):
        for i, name in enumerate(SHAPES):
            together[name].grad = draw(*SHAPES[name], seed=100 * step + i)
            alone[name].grad = together[name].grad.clone()
        muon.step(0.02, 0.9)
        for single in singles.values():
            single.step(0.02, 0.9)
    for name in SHAPES:
        torch.testing.assert_close(together[name], alone[name], rtol=0, atol=1e-5)
        assert not torch.equal(together[name], weights[name])


SHAPES = {"a": (8, 16), "b": (16, 8), "c": (8, 16), "d": (12, 12)}


def test_muon_is_nesterov_momentum_made_orthogonal() -> None:
    weight = draw(6, 10).clone()
    before = weight.clone()
    muon = Muon({"w": weight}, weight_decay=0.0, polar_steps=5)
    momentum = torch.zeros(6, 10)
    for step in range(2):
        gradient = draw(6, 10, seed=step + 1)
        weight.grad = gradient.clone()
        muon.step(0.1, 0.9)
        momentum = 0.9 * momentum + 0.1 * gradient
        before = before - 0.1 * orthogonalize((0.1 * gradient + 0.9 * momentum)[None], 5)[0]
    torch.testing.assert_close(weight, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_equals_that_of_torch(weight_decay: float) -> None:
    ours = {"matrix": draw(5, 7), "vector": draw(9)}
    theirs = {name: torch.nn.Parameter(value.clone()) for name, value in ours.items()}
    groups = [
        {"params": [theirs["matrix"]], "weight_decay": weight_decay},
        {"params": [theirs["vector"]], "weight_decay": 0.0},  # vectors do not decay
    ]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    adamw = AdamW(ours, (0.9, 0.95), 1e-8, weight_decay)
    for step in range(1, 21):
        for i, (name, value) in enumerate(ours.items()):
            value.grad = draw(*value.shape, seed=10 * step + i)
            theirs[name].grad = value.grad.clone()
        adamw.step(0.01, step)
        reference.step()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name].detach(), rtol=1e-5, atol=1e-6)


def sparse_gradient(rows: list[int], values: Tensor, num_rows: int) -> Tensor:
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (num_rows, values.shape[1]))


def test_row_adamw_touches_only_the_rows_a_gradient_names() -> None:
    table = draw(10, 4)
    before = table.clone()
    rows = RowAdamW({"t": table}, beta2=0.995, eps=1e-10)
    table.grad = sparse_gradient([7, 2, 7], draw(3, 4, seed=1), 10)
    rows.step(0.1)
    changed = (table != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [2, 7]
    # the first touch moves each channel by the learning rate, whatever the gradient's size and however often it came
    torch.testing.assert_close((table - before)[[2, 7]].abs(), torch.full((2, 4), 0.1), rtol=1e-4, atol=0)
    assert rows.state()["t.touches"].flatten().tolist() == [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]


def test_row_adamw_with_every_row_touched_is_adam_without_momentum() -> None:
    table, other = draw(6, 4), torch.nn.Parameter(draw(6, 4))
    reference = torch.optim.Adam([other], lr=0.01, betas=(0.0, 0.99), eps=1e-8)
    rows = RowAdamW({"t": table}, beta2=0.99, eps=1e-8)
    for step in range(20):
        gradient = draw(6, 4, seed=step)
        table.grad = sparse_gradient([5, 0, 3, 1, 4, 2], gradient[[5, 0, 3, 1, 4, 2]], 6)
        other.grad = gradient
        rows.step(0.01)
        reference.step()
    torch.testing.assert_close(table, other.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["muon", "adamw", "rows"])
def test_state_that_was_saved_goes_on_bit_for_bit(kind: str) -> None:
    def make(weight: Tensor) -> AdamW | RowAdamW | Muon:
        if kind == "muon":
            return Muon({"w": weight}, 0.1, 5)
        return AdamW({"w": weight}, (0.9, 0.95), 1e-8, 0.1) if kind == "adamw" else RowAdamW({"w": weight}, 0.9, 1e-8)

    def step(optimizer: AdamW | RowAdamW | Muon, weight: Tensor, number: int) -> None:
        gradient = draw(6, 4, seed=number)
        weight.grad = sparse_gradient([1, 4], gradient[:2], 6) if kind == "rows" else gradient
        if isinstance(optimizer, Muon):
            optimizer.step(0.1, 0.9)
        elif isinstance(optimizer, AdamW):
            optimizer.step(0.1, number)
        else:
            optimizer.step(0.1)

    unbroken = draw(6, 4)
    optimizer = make(unbroken)
    for number in (1, 2, 3):
        step(optimizer, unbroken, number)
    resumed, saved = unbroken.clone(), {name: value.clone() for name, value in optimizer.state().items()}
    continued = make(resumed)
    continued.load_state(saved)
    for number in (4, 5):
        step(optimizer, unbroken, number)
        step(continued, resumed, number)
    assert torch.equal(unbroken, resumed)
