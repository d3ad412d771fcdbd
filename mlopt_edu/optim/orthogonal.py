"""Newton-Schulz iteration: the orthogonal factors of a matrix by products alone.

If D = U S Vᵀ, then orthogonal(D) = U Vᵀ takes every direction at full size. From
X_0 = D / |D|,

    X_{k+1} = a X_k + (b A + c A²) X_k,   A = X_k X_kᵀ

applies the polynomial a s + b s³ + c s⁵ to each singular value s. (a, b, c) are chosen
for the steepest start, so that five rounds bring even small s near 1: not to it, but
into [0.7, 1.2] or so, which is as good.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
Differs from the source: on a CPU the iteration runs in the precision of the matrix, at
least float32, not in bfloat16.
"""

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def newton_schulz(
    matrix: Tensor,
    *,
    steps: int = 5,
    coefficients: tuple[float, float, float] = COEFFICIENTS,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return nearly U Vᵀ of a matrix U S Vᵀ.

    Args:
        matrix: Tensor of shape (..., n, m): one matrix, or a stack of them.
        steps: Rounds of the iteration, at least 0.
        coefficients: (a, b, c) of the polynomial; (2, -1.5, 0.5) converges to U Vᵀ
            itself, in more steps.
        dtype: What to compute in; by default bfloat16 on a GPU, elsewhere the dtype of
            `matrix` and at least float32.

    Returns:
        Tensor of the shape and dtype of `matrix`.

    Example:
        >>> d, exact = torch.tensor([[0.0, 3], [-2, 0]]), (2, -1.5, 0.5)
        >>> newton_schulz(d, coefficients=exact, steps=9)
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    if dtype is None and matrix.is_cuda:
        dtype = torch.bfloat16
    elif dtype is None:
        dtype = torch.promote_types(matrix.dtype, torch.float32)
    a, b, c = coefficients
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    # The smaller Gram matrix is the cheaper one.
    wide = (matrix.mT if is_tall else matrix).to(dtype)
    x: Tensor = wide.reshape(wide.shape[:-2].numel(), *wide.shape[-2:])
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    x = x.reshape(wide.shape)
    return (x.mT if is_tall else x).to(matrix.dtype)
