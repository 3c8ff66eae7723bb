"""A mixture of experts equals every expert run on every token and weighted, in its values and in its gradients."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seedbed.model.config import ARCHITECTURES, ExpertsConfig, TransformerConfig
from seedbed.model.experts import MixtureOfExperts, Router
from seedbed.model.grouped import grouped_product, kernel_backward, kernel_forward
from seedbed.model.transformer import Transformer, build_model

EXPERTS = ExpertsConfig(num_experts=6, experts_per_token=2, expert_width=24)
BASE = TransformerConfig(vocab_size=70, layers=3, width=32, heads=4, kv_heads=2, mlp_width=48, context=16)
VARIANTS = {
    "relu2, sigmoid": replace(EXPERTS),
    "swiglu, softmax, two shared": replace(EXPERTS, gate="softmax", shared_experts=2),
    "gelu, softmax not normalised": replace(EXPERTS, gate="softmax", normalise_gates=False),
    "swiglu, groups, scaled": replace(EXPERTS, groups=3, groups_per_token=2, routed_scale=2.5, shared_experts=1),
    "relu2, one of six": replace(EXPERTS, experts_per_token=1, normalise_gates=False),
    "swiglu, all of six": replace(EXPERTS, experts_per_token=6),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


def make(name: str, **changes: object) -> MixtureOfExperts:
    """A mixture in float64, all of whose parts differ from zero."""
    experts = replace(VARIANTS[name], **changes)  # type: ignore[arg-type]
    config = replace(BASE, feed_forward=name.split(",")[0].split()[0], experts=experts)
    part = MixtureOfExperts(config).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        biases = [part.router.bias_E] if experts.balance == "bias" else []
        for tensor in [*part.parameters(), *biases]:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    part.router.begin_step(1)
    return part


def random_input(rows: int = 2, tokens: int = 9) -> Tensor:
    x = torch.randn(rows, tokens, BASE.width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return x.float().double()  # the router reads float32


def feed(kind: str, x: Tensor, up: Tensor, gate: Tensor | None, down: Tensor) -> Tensor:
    u = x @ up.T
    if kind == "relu2":
        inner = u.clamp_min(0) ** 2
    elif kind == "gelu":
        inner = 0.5 * u * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
    else:
        assert gate is not None
        inner = (x @ gate.T) / (1 + (-(x @ gate.T)).exp()) * u
    return inner @ down.T


def reference(part: MixtureOfExperts, x_BTD: Tensor) -> Tensor:
    """Token by token: scores, allowed groups, the best by score and bias; then every expert on the token, weighted."""
    experts, router, stack = part.config, part.router, part.experts
    outputs = []
    for x in x_BTD.flatten(0, 1):
        logits = router.weight @ x
        scores = logits.softmax(0) if experts.gate == "softmax" else 1 / (1 + (-logits).exp())
        ranking = (scores + router.bias_E).tolist() if experts.balance == "bias" else scores.tolist()
        size = experts.num_experts // experts.groups
        groups = [ranking[g * size : (g + 1) * size] for g in range(experts.groups)]
        best = sorted(range(len(groups)), key=lambda g: -sum(sorted(groups[g])[-2:]))[: experts.groups_per_token]
        allowed = [e for e in range(experts.num_experts) if e // size in best]
        chosen = sorted(allowed, key=lambda e: -ranking[e])[: experts.experts_per_token]
        gates = torch.stack([scores[e] if e in chosen else scores[e] * 0 for e in range(experts.num_experts)])
        if experts.normalise_gates:
            gates = gates / gates.sum()
        total = torch.zeros_like(x)
        for e in range(experts.num_experts):
            gate = stack.gate[e] if stack.kind == "swiglu" else None
            total = total + experts.routed_scale * gates[e] * feed(stack.kind, x, stack.up[e], gate, stack.down[e])
        if experts.shared_experts:
            gate = part.shared.gate.weight if stack.kind == "swiglu" else None
            total = total + feed(stack.kind, x, part.shared.up.weight, gate, part.shared.down.weight)
        outputs.append(total)
    return torch.stack(outputs).view_as(x_BTD)


@every_variant
def test_values_and_gradients_equal_every_expert_on_every_token(name: str) -> None:
    part, x = make(name).eval(), random_input().requires_grad_()
    parameters = list(part.parameters())
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = reference(part, x)
    wanted = torch.autograd.grad((expected * upstream).sum(), [x, *parameters])
    found = part(x)
    # scores and gates are float32 whatever the rest is
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    for own, other in zip(torch.autograd.grad((found * upstream).sum(), [x, *parameters]), wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_grouped_products_are_those_of_a_loop_also_for_experts_without_rows(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    counts = torch.tensor([0, 5, 0, 30, 1, 28, 0])
    x = torch.randn(64, 16, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(7, 24, 16, generator=generator).to(dtype).requires_grad_()
    upstream = torch.randn(64, 24, generator=generator).to(dtype)
    expert = torch.arange(7).repeat_interleave(counts)
    expected = torch.einsum("si,soi->so", x.double(), weight.double()[expert])
    wanted = torch.autograd.grad((expected * upstream.double()).sum(), (x, weight))
    found = grouped_product(x, weight, counts)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)
    for own, other in zip(torch.autograd.grad(found, (x, weight), upstream), wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=5 * tolerance)
    if dtype != torch.float64:  # the calls of the CUDA way, which the CPU answers too
        ends = counts.cumsum(0, dtype=torch.int32)
        assert torch.equal(kernel_forward(x.detach(), weight.detach(), ends), found)
        loop = torch.autograd.grad(grouped_product(x, weight, counts), (x, weight), upstream)
        for own, other in zip(kernel_backward(upstream, x.detach(), weight.detach(), ends), loop, strict=True):
            assert torch.equal(own, other)


def test_a_grouped_product_of_no_rows_has_gradients_of_zero() -> None:
    x, weight = torch.zeros(0, 16, requires_grad=True), torch.ones(3, 24, 16, requires_grad=True)
    product = grouped_product(x, weight, torch.zeros(3, dtype=torch.int64))
    assert product.shape == (0, 24)
    product.sum().backward()
    assert weight.grad is not None and not weight.grad.any()


def test_no_choice_is_dropped_when_all_tokens_want_one_expert() -> None:
    part, x = make("relu2, one of six").train(), random_input()
    part.router.bias_E[4] = 9
    torch.testing.assert_close(part(x), reference(part, x), rtol=0, atol=2e-6)
    assert part.router.load_E.tolist() == [0, 0, 0, 0, 18, 0]


def test_the_bias_chooses_and_does_not_weigh() -> None:
    part, x = make("relu2, sigmoid").eval(), random_input()
    with torch.no_grad():
        part.router.bias_E.copy_(torch.tensor([0, 0, 9.0, 0, 8.0, 0]))
    chosen, gates = part.router(x)
    assert (chosen == torch.tensor([2, 4])).all()
    scores = (x.flatten(0, 1) @ part.router.weight.T).sigmoid()[:, [2, 4]]
    torch.testing.assert_close(gates.double(), (scores / scores.sum(1, keepdim=True)).detach(), rtol=0, atol=1e-6)


def test_the_bias_moves_against_the_load_by_its_rate() -> None:
    model = build_model(replace(ARCHITECTURES["llama"](BASE), experts=replace(EXPERTS, dense_layers=1)), seed=1)
    assert list(model.routers()) == [1, 2]
    router = model.routers()[1]
    router.load_E.copy_(torch.tensor([0, 2, 4, 4, 4, 10]))  # the mean is 4
    model.end_step(lambda loads: loads)
    torch.testing.assert_close(router.bias_E, torch.tensor([0.001, 0.001, 0, 0, 0, -0.001]))
    assert model.expert_loads()[1] == pytest.approx([0, 0.5, 1, 1, 1, 2.5])
    model.end_step(lambda loads: loads + torch.tensor([9, 0, 0, 0, 0, -9]))  # other ranks turn the balance
    torch.testing.assert_close(router.bias_E, torch.tensor([0, 0.002, 0, 0, 0, 0]), atol=1e-9, rtol=0)


def test_loads_count_every_choice_of_a_step_in_training_only() -> None:
    part, x = make("swiglu, softmax, two shared").train(), random_input()
    part(x)
    part(x[:1])
    chosen, _ = part.router.eval()(x)
    counted = torch.bincount(chosen.flatten(), minlength=6) + torch.bincount(chosen[:9].flatten(), minlength=6)
    assert torch.equal(part.router.load_E, counted)
    part.router.begin_step(1)
    assert not part.router.load_E.any()


@pytest.mark.parametrize("name", ["swiglu, softmax, two shared", "relu2, sigmoid"])
def test_auxiliary_losses_add_their_gradient_whatever_the_micro_batch(name: str) -> None:
    part = make(name, balance="loss", loss_weight=0.5, z_loss_weight=0.25).train()
    rows, (B, T) = random_input(4), (4, 9)
    experts, router = part.config, part.router

    def gradient(micro: int) -> Tensor:
        part.zero_grad()
        router.begin_step(B)
        for start in range(0, B, micro):
            part(rows[start : start + micro]).sum().backward()
        assert router.weight.grad is not None
        return router.weight.grad.clone()

    plain = torch.autograd.grad(reference(part, rows).sum(), router.weight)[0]
    logits = rows @ router.weight.T
    scores = logits.softmax(-1) if experts.gate == "softmax" else logits.sigmoid()
    loss = torch.zeros((), dtype=torch.float64)
    for row in range(B):
        chosen = scores[row].topk(experts.experts_per_token).indices.flatten()
        f = torch.bincount(chosen, minlength=6) * 6 / (experts.experts_per_token * T)
        share = (scores[row] / scores[row].sum(-1, keepdim=True)).mean(0)
        loss = loss + 0.5 * (f * share).sum() + 0.25 * logits[row].logsumexp(-1).square().mean()
    wanted = plain + torch.autograd.grad(loss / B, router.weight)[0]
    for micro in (4, 2, 1):
        torch.testing.assert_close(gradient(micro), wanted, rtol=0, atol=2e-5)
    part.eval()
    part.zero_grad()
    part(rows).sum().backward()
    assert router.weight.grad is not None
    torch.testing.assert_close(router.weight.grad, plain, rtol=0, atol=2e-5)


def test_the_balance_loss_is_the_switch_papers() -> None:
    transformers = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    config = replace(BASE, experts=replace(EXPERTS, gate="softmax", balance="loss", loss_weight=1.0))
    router = Router(config)
    torch.nn.init.normal_(router.weight)
    logits = random_input(1)[0].float() @ router.weight.T
    chosen = logits.topk(2).indices
    found = router.auxiliary_loss(logits[None], logits.softmax(-1)[None], chosen)
    # theirs counts each of a token's two choices whole
    expected = transformers.load_balancing_loss_func((logits,), num_experts=6, top_k=2) / 2
    torch.testing.assert_close(found, expected)


def test_the_compiler_sees_one_graph_of_fixed_shapes() -> None:
    part, x = make("swiglu, softmax, two shared", balance="loss").float().train(), random_input().float()
    compiled = torch.compile(part, fullgraph=True, dynamic=False, backend="aot_eager")
    upstream = torch.randn(x.shape)
    plain = torch.autograd.grad(part(x), list(part.parameters()), upstream)
    loads = part.router.load_E.clone()
    found = torch.autograd.grad(compiled(x), list(part.parameters()), upstream)
    for own, other in zip(found, plain, strict=True):
        torch.testing.assert_close(own, other)
    assert torch.equal(part.router.load_E, 2 * loads)


def moe_model(architecture: str, **changes: object) -> Transformer:
    experts = replace(EXPERTS, shared_experts=1, **changes)  # type: ignore[arg-type]
    return build_model(replace(ARCHITECTURES[architecture](BASE), experts=experts), seed=1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fresh_experts_differ_and_share_the_load(architecture: str) -> None:
    model = moe_model(architecture).train()
    tokens = torch.randint(0, 70, (16, 16), generator=torch.Generator().manual_seed(6))
    model.begin_step(16)
    model(tokens)
    for i, router in model.routers().items():
        assert not router.bias_E.any()
        up = model.layers[i].feed_forward.experts.up
        assert up.flatten(1).unique(dim=0).shape[0] == 6
        assert router.load_E.sum() == 16 * 16 * 2
        assert router.load_E.min() > 0
