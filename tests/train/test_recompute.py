"""Recomputing changes what is kept in memory, not one bit of the gradients."""

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager
from torch.utils._python_dispatch import TorchDispatchMode

from seedbed.model.config import ExpertsConfig, TransformerConfig, seedbed_config
from seedbed.model.transformer import Transformer, build_model
from seedbed.train.recompute import Recompute, recompute_layers


def small_model() -> Transformer:
    base = TransformerConfig(vocab_size=61, layers=3, width=32, heads=2, kv_heads=1, mlp_width=64, context=16)
    return build_model(seedbed_config(base), seed=3)


def kept_bytes(model: Transformer, tokens: torch.Tensor) -> tuple[int, dict[str, torch.Tensor]]:
    """Bytes that autograd keeps of one forward pass beyond the weights, and the gradients."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = model.losses(tokens[:, :-1], tokens[:, 1:])[0]
    losses.mean().backward()
    return sum(kept.values()), {n: p.grad.to_dense() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["selective", "full"])
def test_gradients_are_the_same_bits_from_less_memory(kind: Recompute) -> None:
    tokens = torch.randint(0, 61, (8, 17), generator=torch.Generator().manual_seed(0))
    model = small_model()
    with torch.no_grad():  # output projections start at zero: nothing would flow back
        for parameter in model.parameters():
            parameter.add_(0.02)
    plain_bytes, plain = kept_bytes(model, tokens)
    for parameter in model.parameters():
        parameter.grad = None
    names = set(model.state_dict())
    recompute_layers(model.layers, kind)
    fewer_bytes, gradients = kept_bytes(model, tokens)
    assert set(model.state_dict()) == names
    assert fewer_bytes < (0.5 if kind == "full" else 1.0) * plain_bytes
    assert gradients.keys() == plain.keys()
    for name, gradient in gradients.items():
        assert torch.equal(gradient, plain[name]), name


class Calls(TorchDispatchMode):
    """Counts an operator's calls."""

    def __init__(self, operator: object) -> None:
        super().__init__()
        self.operator, self.count = operator, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += func is self.operator
        return func(*args, **(kwargs or {}))


def test_experts_products_are_kept() -> None:
    base = TransformerConfig(61, 2, 32, 2, 2, 64, 16, experts=ExpertsConfig(4, 2, 32))
    model = build_model(seedbed_config(base), seed=3)
    recompute_layers(model.layers, "selective")
    tokens = torch.randint(0, 61, (2, 17), generator=torch.Generator().manual_seed(0))
    with Calls(torch.ops.seedbed.grouped_product.default) as forward:
        loss = model.losses(tokens[:, :-1], tokens[:, 1:])[0].mean()
    with Calls(torch.ops.seedbed.grouped_product.default) as backward:
        loss.backward()
    assert (forward.count, backward.count) == (2 * 2, 0)


def test_recomputed_layers_compile_whole_and_once() -> None:
    """`fullgraph`: a layer that torch.compile could not enter, or not to its end, is an error."""
    base = TransformerConfig(61, 4, 32, 2, 2, 64, 16, experts=ExpertsConfig(4, 2, 32))
    model = build_model(seedbed_config(base), seed=3)
    recompute_layers(model.layers, "selective")
    seen: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        seen.append(graph)
        return aot_eager(graph, inputs)

    for layer in model.layers:
        layer.compile(dynamic=False, backend=backend, fullgraph=True)
    tokens = torch.randint(0, 61, (2, 17), generator=torch.Generator().manual_seed(0))
    model.losses(tokens[:, :-1], tokens[:, 1:])[0].mean().backward()
    assert len(seen) == 2  # with value embeddings and without
