import pytest
import torch
from torch.nn import Parameter

from mlopt_edu.optim import GradientDescent, Tensors, gradient_descent_update


def test_on_a_quadratic_it_is_a_power_of_a_matrix():
    # w_t - w* = (I - lr H)^t (w_0 - w*)
    root = torch.tensor([[2.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    hessian, optimum = root @ root.T, torch.tensor([1.0, -2.0], dtype=torch.float64)
    start = torch.tensor([3.0, 5.0], dtype=torch.float64)
    w = Parameter(start.clone())
    optimizer = GradientDescent([w], lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        error = w - optimum
        (error @ hessian @ error / 2).backward()
        optimizer.step()
    step = torch.eye(2, dtype=torch.float64) - 0.1 * hessian
    expected = optimum + torch.linalg.matrix_power(step, 40) @ (start - optimum)
    torch.testing.assert_close(w.detach(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("condition", [1.5, 10.0, 100.0])
def test_best_step_size_shrinks_the_error_by_the_rate_of_the_condition(condition):
    curvature = torch.tensor([1.0, condition], dtype=torch.float64)
    w = torch.ones(2, dtype=torch.float64)
    for _ in range(20):
        gradient_descent_update(w, curvature * w, lr=2 / (1 + condition))
    rate = (condition - 1) / (condition + 1)
    torch.testing.assert_close(w.abs(), torch.full_like(w, rate**20), rtol=1e-9, atol=0)


def test_one_tensor_and_many_take_the_same_step():
    params = [torch.ones(2), torch.tensor(3.0)]
    grads = [torch.tensor([1.0, 2.0]), torch.tensor(-1.0)]
    alone = [param.clone() for param in params]
    gradient_descent_update(Tensors(params), Tensors(grads), lr=0.5)
    for param, grad in zip(alone, grads, strict=True):
        gradient_descent_update(param, grad, lr=0.5)
    assert torch.equal(params[0], torch.tensor([0.5, 0.0]))
    assert torch.equal(params[1], torch.tensor(3.5))
    assert all(map(torch.equal, params, alone))
