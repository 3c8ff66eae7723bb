"""The forms of scaling laws: log loss and its exact gradient, for many parameter vectors at once.

Every form but one is the logarithm of a sum of exponentials whose exponents are linear in the parameters: constants enter by
their logarithm (E = exp(e)), so all are positive and the gradient is a softmax-weighted design matrix. Nothing overflows.
Shapes: B parameter vectors, P points, K terms, T parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seedbed.errors import InputError

Array = NDArray[np.float64]

# Clark et al. 2022 saturate the number of experts; the two ends as Ludziejewski et al. 2025 fit them (arXiv 2502.05172, table 3).
EXPERTS_START, EXPERTS_MOST = 2.0732, 290.4521
MOST_EXCESS = 1e6  # repetitions: their worth has ended long before, and nothing overflows
MOST_LOG = 300.0  # of a constant, either way: no fit of sense comes near
EXPONENTS = (0.01, 3.0)  # where a fit looks for exponents: published ones lie between .05 and .6


@dataclass(frozen=True)
class Inputs:
    """What a law is asked about: float arrays [P]. `params` of a mixture of experts: see the form."""

    params: Array
    tokens: Array
    unique_tokens: Array | None = None
    experts: Array | None = None
    active_fraction: Array | None = None

    def column(self, name: str) -> Array:
        value = getattr(self, name)
        if value is None:
            raise InputError(f"this form needs a column {name}: add it, or choose --form chinchilla")
        return np.asarray(value, np.float64)

    def __len__(self) -> int:
        return len(self.params)

    def take(self, rows: NDArray[np.int64]) -> "Inputs":
        columns = ("params", "tokens", "unique_tokens", "experts", "active_fraction")
        values = [getattr(self, name) for name in columns]
        return Inputs(*(None if v is None else v[rows] for v in values))  # type: ignore[arg-type]


def make_inputs(
    params: float | Array,
    tokens: float | Array,
    unique_tokens: float | Array | None = None,
    experts: float | Array | None = None,
    active_fraction: float | Array | None = None,
) -> Inputs:
    """Inputs of numbers or arrays, broadcast against each other and flattened."""
    given = [params, tokens, unique_tokens, experts, active_fraction]
    known = [np.asarray(value, np.float64) for value in given if value is not None]
    flat = iter([column.reshape(-1) for column in np.broadcast_arrays(*known)])
    return Inputs(*(None if value is None else next(flat) for value in given))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Form:
    """A family of laws. `logs` are the parameters held as logarithms; `slopes` those that are exponents."""

    name: str
    equation: str
    source: str
    parameters: tuple[str, ...]
    logs: frozenset[str]
    slopes: frozenset[str]
    columns: tuple[str, ...] = ()
    evaluate: Callable[[Array, Inputs], tuple[Array, Array]] = field(repr=False, default=lambda t, i: (t, t))
    starts: Callable[[Inputs, Array], Array] = field(repr=False, default=lambda i, y: y)

    def log_loss(self, theta: Array, inputs: Inputs) -> Array:
        """[B, T] -> [B, P]."""
        return self.evaluate(np.atleast_2d(theta), inputs)[0]

    def natural(self, theta: Array) -> dict[str, Array]:
        """Parameters by name, in the units of the equation; each an array over the leading axes of `theta`."""
        columns = np.moveaxis(np.asarray(theta), -1, 0)
        return {n: np.exp(c) if n in self.logs else c for n, c in zip(self.parameters, columns, strict=True)}

    def theta(self, values: dict[str, float]) -> Array:
        """The parameter vector of published values."""
        return np.array([np.log(values[n]) if n in self.logs else values[n] for n in self.parameters])

    def limits(self, log_loss: Array) -> tuple[Array, Array]:
        """Least and most of each parameter in a fit: exponents stay positive, an irreducible loss of nothing stops at 1%."""
        low, high = np.full(len(self.parameters), -np.inf), np.full(len(self.parameters), np.inf)
        for index, name in enumerate(self.parameters):
            if name in self.slopes:
                low[index], high[index] = EXPONENTS
            elif name == "E":
                low[index], high[index] = log_loss.min() + np.log(0.01), MOST_LOG
            elif name in ("R_D", "R_N"):
                low[index], high[index] = np.log(0.1), np.log(1e4)
            elif name in self.logs:
                low[index], high[index] = -MOST_LOG, MOST_LOG
        return low, high


Design = Callable[[Inputs], Array]  # [P, K, T]: exponents = design @ theta


def of_power_terms(design: Design) -> Callable[[Array, Inputs], tuple[Array, Array]]:
    """log L = log sum_k exp(design_k . theta), and its gradient."""

    def evaluate(theta: Array, inputs: Inputs) -> tuple[Array, Array]:
        design_PKT = design(inputs)
        P, K, T = design_PKT.shape
        logits_BPK = (theta @ design_PKT.reshape(P * K, T).T).reshape(-1, P, K)
        log_loss_BP, weights_BPK = log_sum_exp(logits_BPK)
        return log_loss_BP, np.einsum("bpk,pkt->bpt", weights_BPK, design_PKT)

    return evaluate


def log_sum_exp(logits: Array) -> tuple[Array, Array]:
    """Over the last axis: its value and the softmax."""
    largest = logits.max(-1, keepdims=True)
    parts = np.exp(logits - largest)
    total = parts.sum(-1, keepdims=True)
    return (largest + np.log(total))[..., 0], parts / total


def design_of(terms: Sequence[dict[int, Callable[[Inputs], Array | float]]], num_parameters: int) -> Design:
    """A design matrix from each term's {parameter: what it is multiplied by}."""

    def design(inputs: Inputs) -> Array:
        matrix = np.zeros((len(inputs), len(terms), num_parameters))
        for number, term in enumerate(terms):
            for parameter, factor in term.items():
                matrix[:, number, parameter] = factor(inputs)
        return matrix

    return design


def one(inputs: Inputs) -> float:
    return 1.0


def minus_log_params(inputs: Inputs) -> Array:
    return -np.log(inputs.params)


def minus_log_tokens(inputs: Inputs) -> Array:
    return -np.log(inputs.tokens)


def log_expansion(inputs: Inputs) -> Array:
    """log of the saturating number of experts, 1/Ê = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max (Clark et al. 2022)."""
    base = 1 / (1 / EXPERTS_START - 1 / EXPERTS_MOST)
    return -np.log(1 / (inputs.column("experts") - 1 + base) + 1 / EXPERTS_MOST)


def log_active(inputs: Inputs) -> Array:
    return np.log(inputs.column("active_fraction"))


def start_grid(inputs: Inputs, log_loss: Array) -> Array:
    """[27, 5]: (e, a, b, alpha, beta) whose three terms together make the mean loss at the middle of the points."""
    middle_n, middle_d = np.log(inputs.params).mean(), np.log(inputs.tokens).mean()
    found = []
    for floor in (0.3, 0.6, 0.9):
        rest = log_loss.mean() + np.log((1 - floor) / 2)
        for alpha in (0.15, 0.35, 0.7):
            for beta in (0.15, 0.35, 0.7):
                constants = (log_loss.mean() + np.log(floor), rest + alpha * middle_n, rest + beta * middle_d)
                found.append([*constants, alpha, beta])
    return np.array(found)


def evaluate_kaplan(theta: Array, inputs: Inputs) -> tuple[Array, Array]:
    """theta = (log N_c, log D_c, alpha_N, alpha_D)."""
    center_n, center_d, alpha_n, alpha_d = (column[:, None] for column in theta.T)
    by_params, by_tokens = center_n - np.log(inputs.params), center_d - np.log(inputs.tokens)
    total, weights = log_sum_exp(np.stack([alpha_n / alpha_d * by_params, by_tokens], -1))
    first, second = weights[..., 0], weights[..., 1]
    gradient = [
        alpha_n * first,
        alpha_d * second,
        first * by_params,
        total - first * alpha_n / alpha_d * by_params,
    ]
    return alpha_d * total, np.stack(gradient, -1)


def kaplan_starts(inputs: Inputs, log_loss: Array) -> Array:
    found = []
    for alpha_n in (0.03, 0.1, 0.3):
        for alpha_d in (0.03, 0.1, 0.3):
            middle = log_loss.mean() - alpha_d * np.log(2)
            center_n = np.log(inputs.params).mean() + middle / alpha_n
            found.append([center_n, np.log(inputs.tokens).mean() + middle / alpha_d, alpha_n, alpha_d])
    return np.array(found)


def excess(log_ratio: Array) -> Array:
    """Repetitions beyond the first pass, from the log of how many passes there are."""
    return np.expm1(np.minimum(log_ratio, np.log(MOST_EXCESS)))


def saturate(repeats: Array, half_life: Array) -> tuple[Array, Array]:
    """What `repeats` repetitions are worth, R*(1 - exp(-R/R*)), and its derivative by R*."""
    decay = np.exp(-repeats / half_life)
    return half_life * (1 - decay), 1 - decay - repeats / half_life * decay


def evaluate_repetition(theta: Array, inputs: Inputs) -> tuple[Array, Array]:
    """theta = (e, a, b, alpha, log R_D, log R_N), beta = alpha. Muennighoff et al. 2023, equations 5 to 7.

    D' = U + U R_D (1 - exp(-(D/U - 1)/R_D)); N' likewise from U_N, the parameters that are optimal for U tokens, or N if fewer.
    """
    e, a, b, alpha, log_half_d, log_half_n = (column[:, None] for column in theta.T)
    log_n, log_d = np.log(inputs.params), np.log(inputs.tokens)
    log_u = np.log(np.minimum(inputs.column("unique_tokens"), inputs.tokens))
    log_fit = log_u + (a - b) / alpha  # U_N = G^2 U with G = (A/B)^(1/(2 alpha))
    fits = log_fit >= log_n
    log_un = np.where(fits, log_n, log_fit)
    half_d, half_n = np.exp(log_half_d), np.exp(log_half_n)
    worth_d, slope_d = saturate(excess(log_d - log_u), half_d)
    worth_n, slope_n = saturate(excess(log_n - log_un), half_n)
    effective_d, effective_n = log_u + np.log1p(worth_d), log_un + np.log1p(worth_n)
    total, weights = log_sum_exp(
        np.stack([np.broadcast_to(e, effective_n.shape), a - alpha * effective_n, b - alpha * effective_d], -1)
    )
    by_n, by_d = weights[..., 1], weights[..., 2]
    # N' depends on (a, b, alpha) through U_N where parameters are in excess
    decay_n = np.exp(-excess(log_n - log_un) / half_n)
    by_un = np.where(fits, 0.0, 1 - decay_n * (1 + excess(log_n - log_un)) / (1 + worth_n))
    gradient = [
        weights[..., 0],
        by_n * (1 - by_un),
        by_d + by_n * by_un,
        -by_n * (effective_n - by_un * (a - b) / alpha) - by_d * effective_d,
        -by_d * alpha * half_d * slope_d / (1 + worth_d),
        -by_n * alpha * half_n * slope_n / (1 + worth_n),
    ]
    return total, np.stack(gradient, -1)


def repetition_starts(inputs: Inputs, log_loss: Array) -> Array:
    grid = start_grid(inputs, log_loss)
    grid = grid[grid[:, 3] == grid[:, 4]]
    ends = [(d, n) for d in (4.0, 15.0, 60.0) for n in (2.0, 10.0)]
    return np.array([[*row[:4], np.log(d), np.log(n)] for row in grid for d, n in ends])


CHINCHILLA = Form(
    "chinchilla",
    "L = E + A N^-alpha + B D^-beta",
    "Hoffmann et al. 2022, equation 10 (approach 3)",
    ("E", "A", "B", "alpha", "beta"),
    frozenset("EAB"),
    frozenset({"alpha", "beta"}),
    evaluate=of_power_terms(design_of([{0: one}, {1: one, 3: minus_log_params}, {2: one, 4: minus_log_tokens}], 5)),
    starts=start_grid,
)

TIED = Form(
    "tied",
    "L = E + A N^-alpha + B D^-alpha",
    "Muennighoff et al. 2023, appendix A: one exponent, optimal N and D grow alike",
    ("E", "A", "B", "alpha"),
    frozenset("EAB"),
    frozenset({"alpha"}),
    evaluate=of_power_terms(design_of([{0: one}, {1: one, 3: minus_log_params}, {2: one, 3: minus_log_tokens}], 4)),
    starts=lambda inputs, y: (g := start_grid(inputs, y))[g[:, 3] == g[:, 4]][:, :4],
)

KAPLAN = Form(
    "kaplan",
    "L = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D",
    "Kaplan et al. 2020, equation 1.5; no irreducible loss",
    ("N_c", "D_c", "alpha_N", "alpha_D"),
    frozenset({"N_c", "D_c"}),
    frozenset({"alpha_N", "alpha_D"}),
    evaluate=evaluate_kaplan,
    starts=kaplan_starts,
)

REPETITION = Form(
    "repetition",
    "L = E + A N'^-alpha + B D'^-alpha, D' = U + U R_D (1 - exp(-(D/U - 1)/R_D)), N' alike",
    "Muennighoff et al. 2023, equations 5 to 7",
    ("E", "A", "B", "alpha", "R_D", "R_N"),
    frozenset({"E", "A", "B", "R_D", "R_N"}),
    frozenset({"alpha"}),
    ("unique_tokens",),
    evaluate=evaluate_repetition,
    starts=repetition_starts,
)

EXPERTS = Form(
    "experts",
    "L = E + A X^delta N^-(alpha - gamma ln X) + B X^omega D^-(beta - zeta ln X), N active, X the saturating number of experts",
    "Ludziejewski et al. 2025, equation 6; X = Ê of Clark et al. 2022 with the ends of its table 3",
    ("E", "A", "B", "alpha", "beta", "delta", "gamma", "omega", "zeta"),
    frozenset("EAB"),
    frozenset({"alpha", "beta"}),
    ("experts",),
    evaluate=of_power_terms(
        design_of(
            [
                {0: one},
                {
                    1: one,
                    3: minus_log_params,
                    5: log_expansion,
                    6: lambda i: log_expansion(i) * np.log(i.params),
                },
                {
                    2: one,
                    4: minus_log_tokens,
                    7: log_expansion,
                    8: lambda i: log_expansion(i) * np.log(i.tokens),
                },
            ],
            9,
        )
    ),
    starts=lambda inputs, y: np.pad(start_grid(inputs, y), ((0, 0), (0, 4))),
)

SPARSITY = Form(
    "sparsity",
    "L = E + A N^-alpha + B D^-beta + C (1-S)^-lambda + F (1-S)^-delta N^-gamma, N all parameters, 1-S the active fraction",
    "Abnar et al. 2025, equation 6; R2 68% on held-out sparsity .98 (its table 3)",
    ("E", "A", "B", "C", "F", "alpha", "beta", "lambda", "delta", "gamma"),
    frozenset("EABCF"),
    frozenset({"alpha", "beta"}),
    ("active_fraction",),
    evaluate=of_power_terms(
        design_of(
            [
                {0: one},
                {1: one, 5: minus_log_params},
                {2: one, 6: minus_log_tokens},
                {3: one, 7: lambda i: -log_active(i)},
                {4: one, 8: lambda i: -log_active(i), 9: minus_log_params},
            ],
            10,
        )
    ),
    starts=lambda inputs, y: np.array(
        [
            [e, a, b, e - 1, a - 1, alpha, beta, -0.2, 0.2, alpha / 2]
            for e, a, b, alpha, beta in start_grid(inputs, y - np.log(1.5))
        ]
    ),
)

FORMS = {form.name: form for form in (CHINCHILLA, TIED, KAPLAN, REPETITION, EXPERTS, SPARSITY)}


def form_of(name: str) -> Form:
    """The form of that name, or an error that names the nearest."""
    import difflib

    if name not in FORMS:
        nearest = difflib.get_close_matches(name, FORMS, 1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(FORMS)}"
        raise InputError(f"--form: no form {name!r}: {hint}")
    return FORMS[name]
