"""Steps of models on a CUDA device that does not exist: `eager` or `compiled`. test_pretended_gpu.py loads what makes it.

Tensors have shapes and dtypes alone; whatever would have to read one raises, so what passes
never waits for the device. `eager`: forward, backward, gradient norm and the dense optimizers. `compiled`: layers and loss are
traced whole, forward and backward.
"""

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from seedbed.model.config import (
    ExpertsConfig,
    LatentConfig,
    TransformerConfig,
    gpt2_config,
    llama_config,
    olmo2_config,
    qwen3_config,
    seedbed_config,
)
from seedbed.model.transformer import Transformer
from seedbed.train.batch import Batch
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution
from seedbed.train.optimizers import RowAdamW
from seedbed.train.parallel import Ranks
from seedbed.train.recompute import Recompute

ROWS, CONTEXT = 2, 512  # enough tokens for FlexAttention
BASE = TransformerConfig(1000, 2, 256, 4, 4, 512, CONTEXT)
EXPERTS = ExpertsConfig(8, 2, 128)
DEFAULT = seedbed_config(BASE)
CASES: dict[str, tuple[TransformerConfig, str, bool, Recompute]] = {  # model, precision, documents, what is recomputed
    "default": (DEFAULT, "bfloat16", False, "none"),
    "default in float8": (DEFAULT, "float8", False, "selective"),
    "n-grams": (replace(DEFAULT, ngram_rows=4096), "bfloat16", False, "none"),
    "windows": (replace(DEFAULT, windows=(128, 0)), "bfloat16", False, "none"),
    "documents": (DEFAULT, "bfloat16", True, "selective"),
    "gpt2": (gpt2_config(BASE), "bfloat16", False, "none"),
    "gpt2 in float32": (gpt2_config(BASE), "float32", False, "none"),
    "llama with documents": (llama_config(replace(BASE, kv_heads=2)), "bfloat16", True, "full"),
    "qwen3": (qwen3_config(replace(BASE, kv_heads=2)), "bfloat16", False, "none"),
    "olmo2": (olmo2_config(BASE), "bfloat16", False, "none"),
    "latent": (replace(llama_config(BASE), latent=LatentConfig(64, 32, 32, 32)), "bfloat16", False, "none"),
    "experts": (replace(DEFAULT, experts=EXPERTS), "bfloat16", False, "selective"),
    "balanced experts": (
        replace(llama_config(BASE), experts=replace(EXPERTS, balance="loss")),
        "bfloat16",
        False,
        "none",
    ),
}
SETTINGS = dict(
    schedule="trapezoid", warmup_fraction=0.01, decay_fraction=0.6, final_lr_fraction=0.02, matrix_lr=None, embedding_lr=None,
    head_lr=None, weight_decay=0.1, grad_clip=None, start_from=None, decay_from_step=None,
)  # fmt: skip


class Data:
    """Two micro-batches of one text."""

    mixture = None
    batch_rows = 2 * ROWS

    def __init__(self, documents: bool) -> None:
        self.loader = self.plan = self
        self.documents = documents

    def rows_at(self, step: int) -> int:
        return self.batch_rows

    def num_targets(self, step: int) -> int:
        return self.batch_rows * CONTEXT

    def rows(self, step: int, start: int, stop: int) -> Batch:
        tokens = torch.zeros(stop - start, CONTEXT, dtype=torch.int64)
        return Batch(tokens, tokens, documents_BT=tokens if self.documents else None)


def built(config: TransformerConfig, seed: int, device: str) -> Transformer:
    """`build_model` for tensors that cannot move from the meta device."""
    with torch.device(device):
        model = Transformer(config)
    model.init_weights(seed)
    return model


def check(*dtypes: torch.dtype) -> None:
    assert len(set(dtypes)) == 1, f"the residual stream comes, goes and should be: {dtypes}"


def step(name: str, optimizer: str, compiled: bool) -> None:
    config, precision, documents, recompute = CASES[name]
    execution = Execution("cuda", precision, False, 1, ROWS, recompute)
    settings = SimpleNamespace(optimizer=optimizer, **SETTINGS)
    engine = Engine(config, settings, 100, 1, execution, Data(documents), Ranks())  # type: ignore[arg-type]
    if compiled:
        for layer in engine.model.layers:
            layer.compile(dynamic=False, backend="aot_eager", fullgraph=True)
        whole = torch.compile(engine.model.own_losses, dynamic=False, backend="aot_eager", fullgraph=True)
        engine.model.own_losses = whole  # type: ignore[method-assign]
    else:
        stream = torch.float32 if precision == "float32" else torch.bfloat16
        for layer in engine.model.layers:
            layer.register_forward_hook(lambda layer, inputs, x_BTD: check(inputs[0].dtype, x_BTD.dtype, stream))
    engine.model.train()
    engine.model.begin_step(engine.batch_rows)
    told = engine.reduce(engine.accumulate(engine.micro_batches(0), 1e-3))
    assert told.shape == (3,) and told.device.type == "cuda"
    for kind, part in engine.optimizer.parts().items():
        if not isinstance(part, RowAdamW):  # which counts the rows
            part.step(0.01, 0.9 if kind == "matrices" and optimizer == "muon" else 1)  # type: ignore[arg-type]


with ExitStack() as stack:
    stack.enter_context(FakeTensorMode(allow_fallback_kernels=False))
    for target, value in {
        "torch.cuda.get_device_capability": lambda *_: (9, 0),
        "torch.cuda.is_bf16_supported": lambda *_, **__: True,
        "torch.cuda.amp.common.amp_definitely_not_available": lambda: False,
        "torch.Tensor.pin_memory": lambda tensor: tensor,
        "seedbed.train.engine.build_model": built,
    }.items():
        stack.enter_context(mock.patch(target, value))
    for name in CASES:
        torch.compiler.reset()
        step(name, "muon" if "default" in name else "adamw", sys.argv[1] == "compiled")
        print(name, flush=True)
print(Path(__file__).name, "done")
