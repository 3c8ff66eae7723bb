"""From a number of parameters to a model's shape and batch."""

import math

from seedbed.errors import InputError


def parse_count(text: str) -> int:
    """'2M' -> 2_000_000; units k, M, B, T."""
    units = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
    try:
        value = float(text[:-1]) * units[text[-1].lower()] if text[-1:].lower() in units else float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 1):
        raise InputError(f"model.size: {text!r} is not a size: give parameters such as 2M, 120M or 1.3B")
    return int(value)


def derive_shape(parameters: int) -> tuple[int, int]:
    """Layers and width for about `parameters` in the layers (12 L W^2; four times the width in the feed-forward part).

    Width per layer is 32 at the smallest and grows to 128: nanochat uses 64 at 100M and Llama 3 8B 128; the low end
    is the shape small CPU runs are usually given (4 x 128), not tuned here.
    """
    best = (math.inf, 1, 32)
    step = 32 if parameters < 20_000_000 else 64 if parameters < 500_000_000 else 128
    for layers in range(2, 129):
        for width in range(step, 16_385, step):
            count = 12 * layers * width * width
            if count > 2 * parameters:
                break
            ratio = width / layers
            wanted = min(max(32.0, 32.0 * (parameters / 1e6) ** 0.15), 128.0)
            miss = abs(math.log(count / parameters)) + 0.5 * abs(math.log(ratio / wanted))
            best = min(best, (miss, layers, width))
    return best[1], best[2]


def derive_heads(width: int) -> int:
    """Heads of 32 dimensions up to width 192, 64 up to 1024, 128 above (nanochat and Llama 3 use 128)."""
    head = 32 if width <= 192 else 64 if width <= 1024 else 128
    while width % head:
        head //= 2
    return width // head


def derive_swiglu_mlp(width: int) -> int:
    """Two thirds of 4 x width for the three matrices of SwiGLU, rounded up to 32 (Touvron et al. 2023, section 2.2)."""
    return math.ceil(8 * width / 3 / 32) * 32


def derive_batch_tokens(parameters: int, context: int) -> int:
    """Global batch: 1,024 tokens at 1M parameters growing as N^0.75 to 0.5M tokens at 4B, a power of two of contexts."""
    tokens = 1024 * (parameters / 1e6) ** 0.75
    return context * 2 ** max(0, round(math.log2(tokens / context)))
