import copy

import pytest
import torch
from torch.nn import Parameter

from mlopt_edu.optim import SGD, Adam, GradientDescent, NAdam
from mlopt_edu.optim.batches import batches, read, step_count


def parameters(*shapes, dtype=torch.float32):
    params = [Parameter(torch.ones(shape, dtype=dtype)) for shape in shapes]
    for param in params:
        param.grad = torch.full_like(param, 2.0)
    return params


def shapes_of(found):
    return [[tuple(param.shape) for param in batch.params.entries] for batch in found]


def test_a_batch_shares_group_dtype_and_key_in_the_order_of_the_parameters():
    a, b, c, d = parameters((1,), (2,), (3,), (4,))
    (e,) = parameters((5,), dtype=torch.float64)
    optimizer = GradientDescent([{"params": [a, e, b, c]}, {"params": [d]}])
    assert shapes_of(batches(optimizer)) == [[(1,), (2,), (3,)], [(5,)], [(4,)]]
    b.grad = None
    assert shapes_of(batches(optimizer)) == [[(1,), (3,)], [(5,)], [(4,)]]
    optimizer.state[c]["seen"] = True
    split = [[(1,)], [(3,)], [(5,)], [(4,)]]
    assert shapes_of(batches(optimizer, key=bool)) == split
    split = [[(1,)], [(5,)], [(3,)], [(4,)]]
    assert shapes_of(batches(optimizer, kind=lambda param: param.numel() > 2)) == split


def test_parameters_that_started_late_are_a_batch_of_their_own():
    early, late = parameters((1,), (2,))
    grad, late.grad = late.grad, None
    optimizer = Adam([early, late])
    optimizer.step()
    optimizer.step()
    late.grad = grad
    optimizer.step()
    assert [optimizer.state[param]["step"].item() for param in (early, late)] == [3, 1]
    assert shapes_of(batches(optimizer, key=step_count)) == [[(1,)], [(2,)]]
    assert shapes_of(batches(optimizer)) == [[(1,), (2,)]]


def test_maximize_negates_what_the_update_sees_and_not_the_gradient():
    (param,) = parameters((2,))
    (batch,) = batches(GradientDescent([param], maximize=True))
    assert batch.grads.entries[0].tolist() == [-2, -2]
    assert param.grad.tolist() == [2, 2]


def test_buffers_are_created_once_and_are_the_state():
    params = parameters((2,), (1, 3))
    optimizer = GradientDescent(params)
    (batch,) = batches(optimizer)
    averages, copies = batch.buffers("average", fill=0.5), batch.buffers("z", fill=None)
    averages.mul_(2.0)
    for param, average, copied in zip(
        params, averages.entries, copies.entries, strict=True
    ):
        state = optimizer.state[param]
        assert average is state["average"]
        assert copied is state["z"]
        assert average.dtype == param.dtype
        assert torch.equal(average, torch.ones_like(param))
        assert torch.equal(copied, param)
        assert copied.data_ptr() != param.data_ptr()
    (again,) = batches(optimizer)
    assert again.buffers("average").entries[0] is averages.entries[0]


def test_a_buffer_that_some_lack_is_created_for_those():
    first, second = parameters((1,), (2,))
    optimizer = GradientDescent([first, second])
    optimizer.state[first]["average"] = torch.full((1,), 7.0)
    (batch,) = batches(optimizer)
    values = [entry.tolist() for entry in batch.buffers("average").entries]
    assert values == [[7], [0, 0]]


def test_counts_are_numbers_of_each_parameter_in_single_precision_on_the_cpu():
    params = parameters((2,), (3,), dtype=torch.float64)
    optimizer = GradientDescent(params)
    for expected in (1, 2, 3):
        (batch,) = batches(optimizer, key=step_count)
        assert batch.count_step() == expected
    counts = [optimizer.state[param]["step"] for param in params]
    assert [(count.dtype, count.shape, count.item()) for count in counts] == [
        (torch.float32, (), 3.0)
    ] * 2
    assert counts[0] is not counts[1]


def test_numbers_cast_by_load_state_dict_come_back_to_single_precision():
    params = parameters((2,), dtype=torch.float64)
    optimizer = GradientDescent(params)
    optimizer.state[params[0]]["product"] = torch.tensor(0.5, dtype=torch.float64)
    (batch,) = batches(optimizer)
    (product,) = batch.scalars("product").entries
    assert (product.dtype, product.item()) == (torch.float32, 0.5)
    assert optimizer.state[params[0]]["product"] is product


def test_complex_tensors_are_seen_as_real_and_kept_as_complex():
    param = Parameter(torch.tensor([1 + 2j]))
    param.grad = torch.tensor([3 - 4j])
    optimizer = GradientDescent([param], maximize=True)
    (batch,) = batches(optimizer)
    assert batch.grads.entries[0].tolist() == [[-3, 4]]
    with torch.no_grad():
        batch.params.mul_(2.0)
    batch.buffers("average", fill=0.25).add_(batch.grads)
    assert param.tolist() == [2 + 4j]
    assert optimizer.state[param]["average"].tolist() == [-2.75 + 4.25j]


def test_read_gives_a_number():
    assert read(torch.tensor(0.5)) == 0.5
    assert type(read(torch.tensor(0.5))) is float


def test_a_gradient_that_is_not_dense_is_refused():
    (param,) = parameters((2, 2))
    param.grad = torch.eye(2).to_sparse()
    with pytest.raises(
        ValueError, match=r"dense, got layout torch\.sparse_coo .*\(2, 2"
    ):
        batches(GradientDescent([param]))


# What is remembered from step to step never decides what a step does.


def descend(optimizer, params, *, steps=1):
    for _ in range(steps):
        for param in params:
            if param.requires_grad:
                param.grad = param.detach() - 3
        optimizer.step()


def forget_one(optimizer, params):
    del optimizer.state[params[0]]


def replace_one(optimizer, params):
    optimizer.state[params[0]] = {}


def copy_one(optimizer, params):
    optimizer.state[params[0]] = copy.deepcopy(dict(optimizer.state[params[0]]))


def forget_all(optimizer, params):
    optimizer.state.clear()


def reset_one_count(optimizer, params):
    optimizer.state[params[1]]["step"].fill_(1)


def replace_one_buffer(optimizer, params):
    optimizer.state[params[1]]["exp_avg"] = torch.ones_like(params[1])


def freeze_one(optimizer, params):
    params[1].requires_grad_(False)
    params[1].grad = None


def move_to_a_new_group(optimizer, params):
    moved = optimizer.param_groups[0]["params"].pop()
    optimizer.add_param_group({"params": [moved], "lr": 0.5})


def swap_the_order(optimizer, params):
    optimizer.param_groups[0]["params"].reverse()


def change_a_dtype(optimizer, params):
    params[0].grad = None
    params[0].data = params[0].data.double()
    for name in ("exp_avg", "exp_avg_sq"):
        optimizer.state[params[0]][name] = optimizer.state[params[0]][name].double()


def load_what_was_stored(optimizer, params):
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


@pytest.mark.parametrize(
    "change",
    [
        forget_one,
        replace_one,
        copy_one,
        forget_all,
        reset_one_count,
        replace_one_buffer,
        freeze_one,
        move_to_a_new_group,
        swap_the_order,
        change_a_dtype,
        load_what_was_stored,
    ],
)
@pytest.mark.parametrize("cls", [Adam, NAdam])
def test_a_change_between_two_steps_is_noticed(cls, change):
    results = []
    for remembers in (True, False):
        params = [Parameter(torch.ones(n) * n) for n in (3, 2, 4)]
        optimizer = cls(params, lr=0.1)
        descend(optimizer, params, steps=2)
        change(optimizer, params)
        for _ in range(2):
            if not remembers:
                del optimizer.__dict__["_plan"]
            descend(optimizer, params)
        results.append([param.detach() for param in params])
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_counts_in_one_piece_of_memory_are_still_counts_of_their_own():
    params = parameters((2,), (3,), (4,))
    optimizer = Adam(params)
    optimizer.step()
    steps = [optimizer.state[param]["step"] for param in params]
    assert steps[1].data_ptr() - steps[0].data_ptr() == steps[0].itemsize
    params[1].grad = None
    optimizer.step()
    assert [step.item() for step in steps] == [2, 1, 2]
    params[1].grad = torch.ones(3)
    optimizer.step()
    assert [step.item() for step in steps] == [3, 2, 3]
    # Taken apart, as `load_state_dict` leaves those of torch: the same.
    for param in params:
        state = optimizer.state[param]
        state["step"] = state["step"].clone()
    optimizer.step()
    counts = [optimizer.state[param]["step"].item() for param in params]
    assert counts == [4, 3, 4]


def test_large_parameters_move_as_small_ones_do():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 2**18, generator=generator)
    large = [Parameter(row.clone()) for row in values]
    small = [Parameter(row[:10].clone()) for row in values]
    for params in (large, small):
        optimizer = Adam(params, lr=0.1, eps=1e-3)
        descend(optimizer, params, steps=3)
    assert shapes_of(batches(optimizer)) == [[(10,)] * 3]
    assert shapes_of(batches(SGD(large))) == [[(2**18,)]] * 3
    assert shapes_of(batches(SGD(large), split_large=False)) == [[(2**18,)] * 3]
    for one, other in zip(large, small, strict=True):
        torch.testing.assert_close(one[:10], other)
