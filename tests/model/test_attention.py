"""Every path of attention gives what a plain float64 loop over queries gives."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from seedbed.model.attention import attend, blocked_keys
from seedbed.model.block_attention import probabilities_kept
from seedbed.model.flex import block_mask, flex_attend

K, HEADS, GROUPS, ROWS = 8, 4, 2, 2


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain(q: Tensor, k: Tensor, v: Tensor, causal: bool, window: int, documents: Tensor | None) -> Tensor:
    """One query at a time over the keys that it may see."""
    T, S = q.shape[2], k.shape[2]
    result = torch.zeros(ROWS, HEADS, T, K, dtype=torch.float64)
    for row, head, t in itertools.product(range(ROWS), range(HEADS), range(T)):
        here = S - T + t
        seen = [
            s
            for s in range(S)
            if (not causal or s <= here)
            and (not window or abs(here - s) < window)
            and (documents is None or documents[row, s] == documents[row, here])
        ]
        keys, values = (x[row, head // (HEADS // GROUPS), seen].double() for x in (k, v))
        weights = (keys @ q[row, head, t].double() / math.sqrt(K)).softmax(0)
        result[row, head, t] = weights @ values
    return result


@pytest.mark.parametrize(("block_keys", "plain_keys"), [(2048, 0), (0, 0), (0, 512)], ids=["blocks", "kernel", "plain"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 1, 5, 100])
@pytest.mark.parametrize("case", ["whole", "documents", "cached", "one token"])
def test_attention_sees_what_it_may(
    case: str, window: int, causal: bool, block_keys: int, plain_keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seedbed.model.block_attention.MOST_KEYS", block_keys)
    monkeypatch.setattr("seedbed.model.attention.PLAIN_ATTENTION_KEYS", plain_keys)
    S = 24
    T = {"cached": 7, "one token": 1}.get(case, S)
    q, k, v = random((ROWS, HEADS, T, K), 1), random((ROWS, GROUPS, S, K), 2), random((ROWS, GROUPS, S, K), 3)
    documents = None
    if case == "documents":
        documents = torch.tensor([[0] * 9 + [1] * 11 + [-1] * 4, [0] * 1 + [1] * 2 + [2] * 21])
    found = attend(q, k, v, causal, window, documents)
    torch.testing.assert_close(found.double(), plain(q, k, v, causal, window, documents), rtol=0, atol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("window", [0, 1, 50, 130])
@pytest.mark.parametrize("T", [1, 128, 300])
def test_blocks_of_queries_give_the_output_and_the_gradients_of_whole_rows(T: int, window: int, packed: bool) -> None:
    """In float64 to the last digits, in bfloat16 to its rounding; the same bits where no gradient is asked."""
    documents = torch.arange(T)[None] // torch.tensor([[37], [90]]) if packed else None
    exact = [random((ROWS, 2, T, width), 9 + i).double().requires_grad_() for i, width in enumerate((16, 16, 24))]
    upstream = random((ROWS, 2, T, 24), 5).double()
    blocked = blocked_keys(T, T, torch.device("cpu"), True, window, documents)
    expected = F.scaled_dot_product_attention(*exact, ~blocked)  # type: ignore[misc, operator]
    expected_gradients = torch.autograd.grad(expected, exact, upstream)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.bfloat16, 0.03)):
        given = [x.detach().to(dtype).requires_grad_() for x in exact]
        found = attend(*given, True, window, documents)  # type: ignore[misc]
        gradients = torch.autograd.grad(found, given, upstream.to(dtype))
        for one, other in zip((found, *gradients), (expected, *expected_gradients), strict=True):
            assert (one.double() - other).norm() <= tolerance * (1e-9 + other.norm())
        with torch.no_grad():
            assert torch.equal(attend(*given, True, window, documents), found)  # type: ignore[misc]


def test_blocks_leave_out_what_nobody_sees() -> None:
    """Of 1,024 x 1,024 scores five eighths are made, with a window of 256 seven sixteenths and a token more a query."""
    assert probabilities_kept(1024) == 5 * 2**20 // 8
    assert probabilities_kept(1024, window=256) == 7 * 2**20 // 16 + 3 * 255 * 256 - 3 * 256 * 256


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile")
@torch.no_grad()
def test_flex_attention_sees_the_same(packed: bool, window: int, causal: bool) -> None:
    """The operator as the CPU computes it, in one case from a traced graph; the GPU's kernel is generated from the same."""
    T = 24
    q, k, v = random((ROWS, HEADS, T, K), 1), random((ROWS, GROUPS, T, K), 2), random((ROWS, GROUPS, T, K), 3)
    documents = torch.tensor([[0] * 9 + [1] * 11 + [-1] * 4, [0] * 1 + [1] * 2 + [2] * 21]) if packed else None
    function = (
        torch.compile(flex_attend, backend="eager", fullgraph=True) if packed and window and causal else flex_attend
    )
    found = function(q, k, v, causal, window, documents)
    torch.testing.assert_close(found.double(), plain(q, k, v, causal, window, documents), rtol=0, atol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("causal", "window", "tokens"), [(True, 0, 512), (False, 0, 512), (True, 200, 500), (False, 7, 384)]
)
def test_blocks_are_those_that_torch_makes(causal: bool, window: int, tokens: int, packed: bool) -> None:
    documents = torch.arange(tokens).expand(2, tokens) // 150 if packed else None
    mask = block_mask(tokens, torch.device("cpu"), causal, window, documents)
    expected = create_block_mask(mask.mask_mod, 2 if packed else None, None, tokens, tokens, device="cpu")
    assert mask.shape == expected.shape and torch.equal(mask.to_dense(), expected.to_dense())
    for name in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices"):
        assert torch.equal(getattr(mask, name), getattr(expected, name)), name


def test_blocks_out_of_a_window_and_of_other_documents_are_left_out() -> None:
    """Of 8 x 8 blocks a causal mask keeps 36; a window of a block keeps two a row, two halves keep their own triangles."""
    cpu, halves = torch.device("cpu"), torch.arange(1024)[None] // 512
    kept = {
        (True, 0, False): 36,
        (True, 128, False): 15,
        (False, 128, False): 22,
        (True, 0, True): 20,
        (False, 0, True): 32,
    }
    for (causal, window, packed), blocks in kept.items():
        mask = block_mask(1024, cpu, causal, window, halves if packed else None)
        assert mask.full_kv_num_blocks is not None
        assert int(mask.kv_num_blocks.sum() + mask.full_kv_num_blocks.sum()) == blocks
