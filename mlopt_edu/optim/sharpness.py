r"""Sharpness: the largest eigenvalue of the Hessian, and the step size it allows.

Near a minimum the loss is a quadratic with Hessian H. Along the eigenvector of the
eigenvalue λ, heavy ball with momentum β obeys e_{t+1} = (1 + β - lr λ) e_t - β e_{t-1};
both roots of its characteristic polynomial lie within the unit circle exactly when
0 < lr λ < 2 (1 + β). The largest λ therefore bounds lr by 2 (1 + β) / λ.

The eigenvalue is found by Lanczos iteration, which needs only products H v, each the
gradient of (gradient · v): H itself, n by n, is never formed.

Papers: Polyak, "Some methods of speeding up the convergence of iteration methods",
1964; Nesterov, "Introductory Lectures on Convex Optimization", 2004, section 2.1;
Pearlmutter, "Fast exact multiplication by the Hessian", 1994; the name and its role in
deep learning: Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at
the Edge of Stability", 2021, arXiv:2103.00065. Differs from the papers: nothing.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def sharpness(
    loss: Tensor,
    params: Iterable[Tensor],
    *,
    tol: float = 1e-4,
    max_iterations: int = 100,
    generator: torch.Generator | None = None,
) -> float:
    """Compute the largest eigenvalue of the Hessian of `loss`.

    Largest means rightmost on the number line, not largest in magnitude: only positive
    curvature bounds the step size. The result is negative if the loss curves down
    in every direction. The graph of `loss` is kept, no `.grad` is touched, and dropout
    or batches drawn before the call stay as they were drawn.

    Time: at most `max_iterations` Hessian-vector products, each about two backward
    passes. Memory: one vector of all parameters for each iteration.

    Args:
        loss: Scalar with a graph that can be differentiated twice.
        params: Real tensors that require a gradient, all on one device.
        tol: Residual ‖H v - λ v‖ at which to stop, as a share of |λ|; above 0. It
            bounds the relative error of λ, which is usually about its square.
        max_iterations: Most products to make, at least 1.
        generator: Draws the start vector; seed 0 by default, so the result repeats.

    Returns:
        The eigenvalue, in units of loss per squared unit of the parameters.

    Raises:
        ValueError: If an argument is out of its range, or the Hessian is not finite.
        RuntimeError: If `max_iterations` products do not reach `tol`.

    Example:
        >>> w = torch.zeros(2, requires_grad=True)
        >>> round(sharpness(3 * w[0] ** 2 - 5 * w[1] ** 2, [w]), 4)
        6.0
    """
    params = list(params)
    if loss.numel() != 1 or not loss.requires_grad:
        raise ValueError(
            "loss must be a scalar that depends on params through a graph, got shape "
            f"{tuple(loss.shape)} with requires_grad={loss.requires_grad}"
        )
    if not all(param.requires_grad and param.is_floating_point() for param in params):
        raise ValueError(
            "params must be real tensors with requires_grad=True, not all are"
        )
    if sum(param.numel() for param in params) == 0:
        raise ValueError("params must hold at least one number, got none")
    if not tol > 0:
        raise ValueError(f"tol must be above 0, got {tol}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")

    start = torch.cat([param.detach().reshape(-1) for param in params])
    if generator is None:
        generator = torch.Generator(start.device).manual_seed(0)
    start = torch.randn(
        start.shape, generator=generator, device=start.device, dtype=start.dtype
    )
    product = _hessian_vector_product(loss, params)
    return _largest_eigenvalue(product, start, tol=tol, max_iterations=max_iterations)


def max_stable_lr(sharpness_value: float, *, momentum: float = 0.0) -> float:
    """Compute the step size beyond which heavy ball diverges on a quadratic.

    Below it every start converges if the smallest eigenvalue is above 0. Momentum
    raises the bound up to twofold. It holds for `SGD` without dampening and Nesterov.

    Args:
        sharpness_value: Largest eigenvalue of the Hessian, above 0.
        momentum: Share of the old velocity that is kept, in [0, 1).

    Returns:
        2 (1 + momentum) / sharpness_value, in the units of `lr`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> max_stable_lr(4.0), max_stable_lr(4.0, momentum=0.5)
        (0.5, 0.75)
    """
    if not sharpness_value > 0:
        raise ValueError(
            f"sharpness_value must be above 0, got {sharpness_value}: without "
            "positive curvature no step size is too large"
        )
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
    return 2 * (1 + momentum) / sharpness_value


def _hessian_vector_product(
    loss: Tensor, params: list[Tensor]
) -> Callable[[Tensor], Tensor]:
    grads = torch.autograd.grad(loss, params, create_graph=True, materialize_grads=True)
    flat = torch.cat([grad.reshape(-1) for grad in grads])

    def product(vector: Tensor) -> Tensor:
        # A loss that is linear in params has a gradient without a graph.
        if not flat.requires_grad:
            return torch.zeros_like(vector)
        rows = torch.autograd.grad(
            flat, params, vector, retain_graph=True, materialize_grads=True
        )
        return torch.cat([row.reshape(-1) for row in rows])

    return product


def _largest_eigenvalue(
    product: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    tol: float,
    max_iterations: int,
) -> float:
    """Lanczos: H restricted to the span of start, H start, H² start … is tridiagonal.

    In the orthonormal basis Q its diagonal is alpha and its off-diagonal beta. The
    largest eigenvalue of that small matrix rises towards the one of H; with y its
    eigenvector, the residual ‖H Q y - λ Q y‖ is beta times the last entry of y.
    """
    precision = torch.finfo(start.dtype).eps
    basis = [start / start.norm()]
    alphas: list[float] = []
    betas: list[float] = []
    while True:
        image = product(basis[-1])
        if not image.isfinite().all():
            raise ValueError("loss must have a finite Hessian, got inf or nan in it")
        alphas.append(float(image @ basis[-1]))
        # In rounded arithmetic one pass against the last two vectors loses
        # orthogonality, and eigenvalues then appear twice.
        for _ in range(2):
            for vector in basis:
                image = image - (image @ vector) * vector
        betas.append(float(image.norm()))

        diagonal = torch.tensor(alphas, dtype=torch.float64)
        off_diagonal = torch.tensor(betas[:-1], dtype=torch.float64)
        ritz_values, ritz_vectors = torch.linalg.eigh(
            diagonal.diag() + off_diagonal.diag(1) + off_diagonal.diag(-1)
        )
        largest = float(ritz_values[-1])
        residual = betas[-1] * abs(float(ritz_vectors[-1, -1]))
        noise = 10 * precision * float(ritz_values.abs().max())
        if residual <= max(tol * abs(largest), noise) or len(basis) == len(start):
            return largest
        if len(basis) == max_iterations:
            raise RuntimeError(
                f"sharpness must reach tol={tol} within max_iterations="
                f"{max_iterations}, got {largest:.6g} with residual {residual:.2g}: "
                "raise either"
            )
        basis.append(image / betas[-1])
