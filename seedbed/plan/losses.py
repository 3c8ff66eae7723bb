"""Loss by a law of `seedbed.laws` as the planner asks for it: dense models and mixtures of experts, forwards and backwards.

A mixture of experts counts as the dense model that Ludziejewski et al. 2025 (arXiv 2502.05172) give the same loss on the same
tokens, at most seven times its active parameters (Ling reports efficiency leverages over 7: Tian et al. 2025, arXiv 2507.17702);
a law that knows experts itself is asked directly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.errors import InputError
from seedbed.laws import PUBLISHED, Law, Prediction
from seedbed.laws.forms import log_expansion, make_inputs

Number = Any
MOST_LEVERAGE = 7.0
DECADES = (4.0, 17.0)  # of tokens in which a law is inverted


@dataclass(frozen=True)
class LossModel:
    law: Law
    unique_tokens: float | None = None  # of the corpus, for a law of repetition
    unit: str = "nats a token"

    def loss(self, active: Number, tokens: Number, experts: int = 1) -> Number:
        size, extra = self.asked(active, tokens, experts)
        return self.law.loss(size, tokens, **extra)

    def predict(self, active: float, tokens: float, experts: int = 1) -> Prediction:
        """With the law's interval and warnings."""
        size, extra = self.asked(active, tokens, experts)
        return self.law.predict(float(np.asarray(size)), tokens, **extra)

    def asked(self, active: Number, tokens: Number, experts: int) -> tuple[Number, dict[str, Any]]:
        columns = self.law.form.columns
        extra: dict[str, Any] = {}
        if "unique_tokens" in columns:
            if self.unique_tokens is None:
                raise InputError("--unique-tokens: this law knows repetition: say how many tokens the corpus has")
            extra["unique_tokens"] = np.minimum(self.unique_tokens, tokens)
        if "experts" in columns:
            return active, {**extra, "experts": float(experts)}
        if "active_fraction" in columns:
            return active, {**extra, "active_fraction": 1.0}
        return (active if experts == 1 else active * leverage(active, tokens, experts)), extra

    def tokens_for(self, active: Number, loss: float, experts: int = 1) -> Number:
        """Tokens at which a model of this size reaches the loss; infinite where it never does."""
        shape = np.shape(active)
        low, high = np.full(shape, DECADES[0]), np.full(shape, DECADES[1])
        for _ in range(50):
            middle = (low + high) / 2
            above = self.loss(active, 10**middle, experts) > loss
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.where(high >= DECADES[1] - 1e-6, np.inf, 10**high)


def leverage(active: Number, tokens: Number, experts: int) -> Number:
    """Parameters of the dense model with the same loss on the same tokens, over the mixture's active ones."""
    law = PUBLISHED["ludziejewski"]
    p = law.parameters
    shape = np.broadcast_shapes(np.shape(active), np.shape(tokens))
    n, d = np.broadcast_to(active, shape).reshape(-1), np.broadcast_to(tokens, shape).reshape(-1)
    mixture = law.loss(n, d, experts=np.full(n.shape, float(experts)))
    x = log_expansion(make_inputs(1.0, 1.0, experts=1.0))
    by_tokens = p["B"] * np.exp(p["omega"] * x) * d ** -(p["beta"] - p["zeta"] * x)
    left = np.maximum(mixture - p["E"] - by_tokens, 1e-12)
    size = (p["A"] * np.exp(p["delta"] * x) / left) ** (1 / (p["alpha"] - p["gamma"] * x))
    return np.clip(size / n, 1.0, MOST_LEVERAGE).reshape(shape)
