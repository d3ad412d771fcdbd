import pytest
import torch

from mlopt_edu.optim import Tensors
from mlopt_edu.optim.multi_tensor import each

SHAPES = [(4, 3), (5,), (), (0, 2), (1,)]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

FOUR = ("add", "sub", "mul", "div")
A, B, C = "first operand", "second operand", "positive operand"

# Method, arguments, options; the operands stand for tensors or `Tensors` of them.
CALLS = [
    ("neg", (), {}),
    ("abs", (), {}),
    ("sign_", (), {}),
    ("sqrt", (), {}),
    ("sqrt_", (), {}),
    ("rsqrt_", (), {}),
    ("norm", (), {}),
    ("clone", (), {}),
    ("copy_", (A,), {}),
    ("clamp_", (), {"min": A}),
    ("clamp_", (), {"min": 0.25}),
    *(
        (name + suffix, (other,), {})
        for name in FOUR
        for suffix in ("", "_")
        for other in (A, 0.3)
    ),
    *(
        (name + suffix, (A,), {"alpha": 0.3})
        for name in ("add", "sub")
        for suffix in ("", "_")
    ),
    ("lerp", (A, 0.3), {}),
    ("lerp_", (A, 0.3), {}),
    ("addcmul", (A, B), {"value": 0.3}),
    ("addcmul_", (A, B), {}),
    ("addcmul_", (A, B), {"value": 0.3}),
    ("addcdiv_", (A, C), {}),
    ("addcdiv_", (A, C), {"value": 0.3}),
]

# The same with a number in a 0-dim tensor; NUMBER stands for either.
NUMBER = "number"
NUMBER_CALLS = [
    *((name + suffix, (NUMBER,), {}) for name in FOUR for suffix in ("", "_")),
    *((name + end, (A,), {"alpha": NUMBER}) for name in FOUR[:2] for end in ("", "_")),
    ("lerp", (A, NUMBER), {}),
    ("lerp_", (A, NUMBER), {}),
    ("addcmul_", (A, B), {"value": NUMBER}),
    ("addcdiv_", (A, C), {"value": NUMBER}),
]


def operands(dtype):
    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]

    positive = [entry.abs() + 0.5 for entry in drawn(3)]
    return {"self": drawn(0), A: drawn(1), B: drawn(2), C: positive}


def substituted(value, lists, index=None):
    """Replace an operand's name by its `Tensors`, or by one of its entries."""
    if not isinstance(value, str):
        return value
    return Tensors(lists[value]) if index is None else lists[value][index]


def called(target, name, args, options, lists, index=None):
    return getattr(target, name)(
        *(substituted(value, lists, index) for value in args),
        **{key: substituted(value, lists, index) for key, value in options.items()},
    )


def test_every_method_is_in_the_table():
    public = {name for name in vars(Tensors) if not name.startswith("_")}
    assert {name for name, _, _ in CALLS} == public - {"entries"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "args", "options"), CALLS)
def test_methods_mean_what_they_mean_on_a_tensor(name, args, options, dtype):
    actual, expected = operands(dtype), operands(dtype)
    target = Tensors(actual["self"])
    result = called(target, name, args, options, actual)
    assert (result is target) == name.endswith("_")
    for index, tensor in enumerate(expected["self"]):
        answer = called(tensor, name, args, options, expected, index)
        # Also what must stay as it was: operands, and the target of a pure method.
        torch.testing.assert_close(
            [result.entries[index], *(actual[key][index] for key in actual)],
            [answer, *(expected[key][index] for key in expected)],
            rtol=0,
            atol=0,
            equal_nan=True,
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "args", "options"), NUMBER_CALLS)
def test_numbers_may_be_tensors_without_dimensions(name, args, options, dtype):
    results = []
    for number in (0.3, torch.tensor(0.3, dtype=torch.float64)):
        lists = operands(dtype)
        call = [number if value == NUMBER else value for value in args]
        named = {k: number if v == NUMBER else v for k, v in options.items()}
        results.append(called(Tensors(lists["self"]), name, call, named, lists))
    expected, actual = (list(result.entries) for result in results)
    torch.testing.assert_close(actual, expected, rtol=2e-6, atol=1e-7)


def test_entries_without_dimensions_multiply_each_their_own_tensor():
    ratios = Tensors([torch.tensor(2.0), torch.tensor(3.0)])
    product = Tensors([torch.ones(2, 2), torch.ones(3)]).mul_(ratios)
    torch.testing.assert_close(
        list(product.entries), [torch.full((2, 2), 2.0), torch.full((3,), 3.0)]
    )


def test_entries_of_several_dtypes_keep_their_own():
    entries = [torch.ones(2, dtype=dtype) for dtype in DTYPES]
    result = Tensors(entries).mul(0.3)
    for entry, start in zip(result.entries, entries, strict=True):
        assert torch.equal(entry, start * 0.3)
        assert entry.dtype == start.dtype


def test_each_applies_a_function_to_one_tensor_or_to_every_entry():
    lists = operands(torch.float32)
    many = each(torch.outer, *(Tensors(lists[name][1:2] * 2) for name in ("self", A)))
    one = each(torch.outer, lists["self"][1], lists[A][1])
    assert isinstance(one, torch.Tensor)
    assert len(many.entries) == 2
    assert all(torch.equal(entry, one) for entry in many.entries)
    with pytest.raises(ValueError, match="shorter"):
        each(torch.add, Tensors(lists["self"]), Tensors(lists[A][:2]))
