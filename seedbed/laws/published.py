"""Published laws, with the source of each constant.

`PUBLISHED` holds laws of the loss; `OPTIMA`, `LEARNING_RATES` and `BATCHES` power laws that were published by themselves.
Losses are nats per token of each paper's own text and tokenizer: they say how loss moves, not what another corpus will show.
"""

import difflib

import numpy as np

from seedbed.errors import InputError
from seedbed.laws.forms import CHINCHILLA, EXPERTS, KAPLAN, REPETITION, SPARSITY, Array, Form
from seedbed.laws.law import FittedRange, Law
from seedbed.laws.power import PowerLaw

# Of the 240 points that Besiroglu et al. read off figure 4 of Hoffmann et al.: what `python bench/laws.py` prints of them.
CHINCHILLA_RANGE = FittedRange((5.7e7, 1.6e10), (8.2e8, 3.2e11), (1.4e18, 1.3e22), (0.46, 341.0))
COVARIANCE_240: Array = np.array(
    [
        [2.06713934e-04, 2.21272840e-03, 3.69531828e-03, 1.30767846e-04, 1.80291649e-04],
        [2.21272840e-03, 6.41027486e-02, -2.13021252e-02, 3.81924865e-03, -1.07251837e-03],
        [3.69531828e-03, -2.13021252e-02, 1.68530155e-01, -1.33397871e-03, 8.24860512e-03],
        [1.30767846e-04, 3.81924865e-03, -1.33397871e-03, 2.27881948e-04, -6.72135723e-05],
        [1.80291649e-04, -1.07251837e-03, 8.24860512e-03, -6.72135723e-05, 4.03990998e-04],
    ]
)  # of (ln E, ln A, ln B, alpha, beta), 1,000 resamples of the points
RESIDUAL_240 = 0.0047  # 68% of the points lie within this of the law, in log loss
WIDENING_240 = 2.13  # the largest 48, told from the others, asked for intervals so much wider


def make_besiroglu() -> Law:
    theta = CHINCHILLA.theta({"E": 1.81686, "A": 482.0, "B": 2085.4, "alpha": 0.34781, "beta": 0.36585})
    generator = np.random.default_rng(2404)
    draws = generator.multivariate_normal(theta, COVARIANCE_240, 1000)
    residuals = RESIDUAL_240 * generator.standard_normal(240)
    source = "Besiroglu et al. 2024 (arXiv 2404.10102), table 1; covariance by our bootstrap of their 240 points"
    return Law(CHINCHILLA, theta, draws, residuals, CHINCHILLA_RANGE, source, widening=WIDENING_240)


def bare(form: Form, values: dict[str, float], source: str, fitted: FittedRange | None, *notes: str) -> Law:
    """A law as published: without covariance, so without intervals."""
    theta = form.theta(values)
    return Law(form, theta, np.zeros((0, len(theta))), np.zeros(0), fitted, source, "as published", notes)


PUBLISHED: dict[str, Law] = {
    "besiroglu": make_besiroglu(),
    "chinchilla": bare(
        CHINCHILLA,
        {"E": 1.6934, "A": 406.4, "B": 410.7, "alpha": 0.33917, "beta": 0.28491},
        "Hoffmann et al. 2022, approach 3, unrounded from the paper's TeX (Besiroglu et al. 2024, table 1)",
        CHINCHILLA_RANGE,
        "does not fit the points it was made from and allots too few tokens a parameter (Besiroglu et al. 2024)",
    ),
    "kaplan": bare(
        KAPLAN,
        {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103},
        "Kaplan et al. 2020, table 2 (parameters without embeddings)",
        None,
        "no irreducible loss, fitted below 1.5B parameters: far too large models at large compute (Hoffmann et al. 2022)",
    ),
    "muennighoff": bare(
        REPETITION,
        {
            "E": float(np.exp(0.6254804)),
            "A": float(np.exp(6.255414)),
            "B": float(np.exp(7.3049974)),
            "alpha": 0.3526596,
            "R_D": 15.387756,
            "R_N": 5.309743,
        },
        "Muennighoff et al. 2023 (arXiv 2305.16264), equation 7, constants of its released code",
        None,
    ),
    "ludziejewski": bare(
        EXPERTS,
        {
            "E": 1.3637,
            "A": 35.91,
            "B": 35.98,
            "alpha": 0.1889,
            "beta": 0.1775,
            "delta": -0.2285,
            "gamma": 0.0098,
            "omega": 0.5529,
            "zeta": -0.0259,
        },
        "Ludziejewski et al. 2025 (arXiv 2502.05172), table 3; to 2.7B active parameters and 32 experts, one of them a token's",
        None,
    ),
    "abnar": bare(
        SPARSITY,
        {
            "E": 0.94,
            "A": 16612.50,
            "B": 5455.67,
            "C": 0.4598,
            "F": 17.26,
            "alpha": 0.5962,
            "beta": 0.3954,
            "lambda": -0.1666,
            "delta": 0.1603,
            "gamma": 0.1595,
        },
        "Abnar et al. 2025 (arXiv 2501.12370), table 3",
        None,
        "explained 68% of the variance at a sparsity it had not seen (its table 3)",
    ),
}

OPTIMA: dict[str, tuple[PowerLaw, ...]] = {
    "llama3": (PowerLaw("tokens", 0.299, {"flops": 0.537}, "Llama 3 (arXiv 2407.21783), section 3.2.1"),),
    "deepseek": (
        PowerLaw("tokens", 5.8316, {"flops": 0.4757}, "DeepSeek LLM (arXiv 2401.02954), equation 4: C = M D"),
        PowerLaw("flops_per_token", 0.1715, {"flops": 0.5243}, "DeepSeek LLM (arXiv 2401.02954), equation 4: C = M D"),
    ),
}

LEARNING_RATES = {
    "deepseek": PowerLaw("learning_rate", 0.3118, {"flops": -0.125}, "DeepSeek LLM (arXiv 2401.02954), equation 1"),
    "step": PowerLaw(
        "learning_rate",
        1.79,
        {"params": -0.713, "tokens": 0.307},
        "Step Law (Li et al. 2025, arXiv 2503.04715), equation 1",
    ),
}

BATCHES = {
    "deepseek": PowerLaw("batch_tokens", 0.2920, {"flops": 0.3271}, "DeepSeek LLM (arXiv 2401.02954), equation 1"),
    "step": PowerLaw(
        "batch_tokens", 0.58, {"tokens": 0.571}, "Step Law (Li et al. 2025, arXiv 2503.04715), equation 1"
    ),
}


def held_by(name: str, form: Form) -> tuple[Array, frozenset[str]]:
    """The parameters of a published law of this form, and those of them that a fit of repetition holds: all but R_D and R_N."""
    law = PUBLISHED.get(name)
    if law is None:
        nearest = difflib.get_close_matches(name, PUBLISHED, 1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(PUBLISHED)}"
        raise InputError(f"--base: no published law {name!r}: {hint}")
    if law.form is not form or form is not REPETITION:
        raise InputError(f"--base: {name} has the form {law.form.name!r}: only --form repetition is fitted over a base")
    return law.theta, frozenset(form.parameters) - {"R_D", "R_N"}
