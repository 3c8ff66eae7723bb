"""U V^T of a matrix by odd polynomials alone: matrix products, which every device does well, in place of an SVD.

Two forms of the same iteration X <- a X + b (X X^T) X + c (X X^T)^2 X:

- `gram_polar`, for runs in float32. With r <= c it runs on the r x r Gram matrix: with G = X X^T each step X <- q(G) X only
  needs G <- q(G) G q(G) and Q <- q(G) Q, so the long side is touched twice in all, however many steps are taken: for a
  matrix of r x 4r and three steps 34 r^3 FLOPs in place of 54 r^3.
- `direct_polar`, bfloat16, for runs whose products are: over ten times as fast as float32's on a GPU, 2.4 times in these stacks
  on a CPU that has them (bench/polar.py). The Gram form is not safe there: rounding makes small eigenvalues of G negative by
  2^-9 of its largest, and q amplifies those without bound.

Stacks [N, R, C] of matrices of one shape are iterated together.
"""

import torch
from torch import Tensor

# Odd quintics a x + b x^3 + c x^5 of the Polar Express (Amsel et al. 2025, table 1): each is the best for the interval the
# ones before it leave. Five suffice for bfloat16; docs/experiments/first-light.md has what fewer cost.
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
# In bfloat16 a singular value may round to just above 1, where the polynomials grow: each but the last is evaluated at
# x / 1.01 (Amsel et al. 2025, section 4.4).
BFLOAT16_SAFETY = 1.01


def polar_dtype(precision: str) -> torch.dtype:
    """What the iteration computes in, in a run of this precision (`Execution`)."""
    return torch.float32 if precision == "float32" else torch.bfloat16


def orthogonalize(x_NRC: Tensor, steps: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """U V^T of each matrix in the stack [N, R, C], to the accuracy of `steps` iterations in `dtype`, in that of `x_NRC`."""
    transposed = x_NRC.shape[1] > x_NRC.shape[2]
    x = x_NRC.mT if transposed else x_NRC
    if dtype == torch.bfloat16:
        result = direct_polar(x, steps).to(x_NRC.dtype)
    else:
        result = gram_polar(x, steps)
    return result.mT if transposed else result


def gram_polar(x_NRC: Tensor, steps: int) -> Tensor:
    """The iteration on X X^T, for R <= C."""
    gram = x_NRC @ x_NRC.mT
    # the Frobenius norm bounds the spectral norm; 1.01 leaves room for rounding
    scale = 1.0 / (1.01 * gram.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)[..., None].sqrt() + 1e-7)
    gram = gram * scale * scale
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    total = None
    for i in range(steps):
        a, b, c = POLAR_EXPRESS[min(i, len(POLAR_EXPRESS) - 1)]
        polynomial = torch.baddbmm(b * gram, gram, gram, alpha=c) + a * eye
        total = polynomial if total is None else polynomial @ total
        if i + 1 < steps:
            gram = polynomial @ gram @ polynomial
    assert total is not None
    return (total * scale) @ x_NRC


def direct_polar(x_NRC: Tensor, steps: int) -> Tensor:
    """The iteration on X itself in bfloat16, for R <= C; the norm is taken in float32."""
    norm = torch.linalg.vector_norm(x_NRC, dim=(1, 2), keepdim=True, dtype=torch.float32)
    x = x_NRC.bfloat16() * (1 / (1.01 * norm + 1e-7)).bfloat16()
    for i in range(steps):
        a, b, c = POLAR_EXPRESS[min(i, len(POLAR_EXPRESS) - 1)]
        if i + 1 < steps:
            a, b, c = a / BFLOAT16_SAFETY, b / BFLOAT16_SAFETY**3, c / BFLOAT16_SAFETY**5
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
