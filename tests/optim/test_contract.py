"""What every optimizer must do; a new one joins by being in mlopt_edu.optim."""

import copy
import inspect
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import Parameter

import mlopt_edu.optim as optim

CLASSES = [
    value
    for value in vars(optim).values()
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
]

# More than the defaults, for classes whose options switch other code on.
VARIANTS: dict[type, list[dict[str, Any]]] = {
    optim.SGD: [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "dampening": 0.3, "weight_decay": 1e-3},
    ],
}

# Per argument: values outside its range. An argument that is missing here fails.
BAD: dict[str, list[Any]] = {
    "lr": [-1e-3, math.inf, math.nan],
    "momentum": [-0.1, 1.0, math.nan],
    "dampening": [-0.1, 1.1, math.nan],
    "weight_decay": [-1.0, math.inf, math.nan],
}

Make = Callable[..., torch.optim.Optimizer]


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    given = dict(inspect.signature(cls).parameters)
    del given["params"]
    return given


VARIANT_CASES = [
    pytest.param(
        lambda params, cls=cls, options=options, **more: cls(
            params, **({"lr": 1e-2} | options | more)
        ),
        id=f"{cls.__name__}{options or ''}",
    )
    for cls in CLASSES
    for options in VARIANTS.get(cls, [{}])
]

each_variant = pytest.mark.parametrize("make", VARIANT_CASES)
each_class = pytest.mark.parametrize("cls", CLASSES)


def seeded(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def small_net() -> tuple[nn.Module, Callable[[], Tensor]]:
    """A net for the sine of a line, with its loss."""
    net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    with torch.no_grad():
        for seed, param in enumerate(net.parameters()):
            param.copy_(seeded(*param.shape, seed=seed))
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    return net, lambda: (net(x) - torch.sin(2 * x)).square().mean()


def train(
    optimizer: torch.optim.Optimizer, loss_of: Callable[[], Tensor], steps: int
) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
    return loss_of().item()


def values(net: nn.Module) -> Tensor:
    return torch.cat([param.detach().reshape(-1) for param in net.parameters()])


def test_there_are_optimizers():
    assert {optim.GradientDescent, optim.SGD} <= set(CLASSES)


# It optimizes.


@each_variant
def test_quadratic(make: Make):
    w = Parameter(torch.ones(3, dtype=torch.float64))
    curvature = torch.tensor([1.0, 3.0, 10.0], dtype=torch.float64)
    assert train(make([w]), lambda: (curvature * w.square()).sum() / 2, 500) < 0.07


@each_variant
def test_rosenbrock(make: Make):
    w = Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))

    def loss_of() -> Tensor:
        return 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2

    # The floor of the valley where it is entered lies at 4: below 2, it was followed.
    assert train(make([w], lr=5e-4), loss_of, 4000) < 2


@each_variant
def test_small_net(make: Make):
    net, loss_of = small_net()
    before = loss_of().item()
    assert train(make(net.parameters()), loss_of, 300) < before / 4


@each_variant
def test_maximize_climbs_as_minimizing_the_negative_descends(make: Make):
    down, loss_down = small_net()
    up, loss_up = small_net()
    train(make(down.parameters()), lambda: -loss_down(), 5)
    train(make(up.parameters(), maximize=True), loss_up, 5)
    assert torch.equal(values(down), values(up))


@each_variant
def test_step_size_zero_changes_nothing(make: Make):
    net, loss_of = small_net()
    before = values(net)
    train(make(net.parameters(), lr=0.0), loss_of, 3)
    assert torch.equal(before, values(net))


# It can be stored and goes on bit for bit.


def through_state_dict(
    optimizer: torch.optim.Optimizer, net: nn.Module, make: Make
) -> tuple[torch.optim.Optimizer, nn.Module]:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    net = copy.deepcopy(net)
    # The stored options must win over these.
    restored = make(net.parameters(), lr=0.5)
    restored.load_state_dict(torch.load(file, weights_only=True))
    return restored, net


def through_pickle(
    optimizer: torch.optim.Optimizer, net: nn.Module, make: Make
) -> tuple[torch.optim.Optimizer, nn.Module]:
    return pickle.loads(pickle.dumps((optimizer, net)))


def through_deepcopy(
    optimizer: torch.optim.Optimizer, net: nn.Module, make: Make
) -> tuple[torch.optim.Optimizer, nn.Module]:
    return copy.deepcopy((optimizer, net))


@pytest.mark.parametrize(
    "stored", [through_state_dict, through_pickle, through_deepcopy]
)
@each_variant
def test_goes_on_bit_for_bit(make: Make, stored: Callable[..., Any]):
    net, loss_of = small_net()
    optimizer = make(net.parameters())
    train(optimizer, loss_of, 7)
    restored, copied = stored(optimizer, net, make)
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    train(optimizer, loss_of, 8)
    train(restored, lambda: (copied(x) - torch.sin(2 * x)).square().mean(), 8)
    assert torch.equal(values(net), values(copied))


# Any tensor, any dtype.


@each_variant
def test_without_gradient_a_parameter_and_its_state_stay_untouched(make: Make):
    idle, busy = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer = make([idle, busy])
    for _ in range(3):
        busy.grad = torch.ones(3)
        optimizer.step()
    assert torch.equal(idle, torch.ones(3))
    assert idle not in optimizer.state
    assert not torch.equal(busy, torch.ones(3))


@each_variant
def test_a_first_gradient_may_come_late(make: Make):
    early, late, alone = (Parameter(torch.ones(3)) for _ in range(3))
    optimizer, other = make([early, late]), make([alone])
    for step in range(6):
        early.grad = torch.full((3,), 1.0 + step)
        if step >= 3:
            late.grad = torch.full((3,), 2.0 + step)
            alone.grad = late.grad
        optimizer.step()
        other.step()
    assert torch.equal(late, alone)


@each_variant
def test_nothing_to_do(make: Make):
    optimizer = make([{"params": []}, {"params": [Parameter(torch.ones(2))]}])
    assert optimizer.step() is None


@each_variant
def test_scalar_empty_and_non_contiguous_tensors(make: Make):
    def run(params: list[Parameter]) -> list[Parameter]:
        optimizer = make(params)
        for step in range(4):
            for param in params:
                param.grad = torch.full_like(param, 1.0 + step)
            optimizer.step()
        return params

    scalar, empty, transposed, strided = run(
        [
            Parameter(torch.tensor(2.0)),
            Parameter(torch.empty(0, 3)),
            Parameter(seeded(4, 3, dtype=torch.float32).t()),
            Parameter(seeded(8, dtype=torch.float32)[::2]),
        ]
    )
    expected = run(
        [
            Parameter(torch.tensor([2.0])),
            Parameter(seeded(4, 3, dtype=torch.float32).t().contiguous()),
            Parameter(seeded(8, dtype=torch.float32)[::2].contiguous()),
        ]
    )
    assert scalar.shape == ()
    assert empty.shape == (0, 3)
    assert scalar.item() == expected[0].item()
    assert torch.equal(transposed, expected[1])
    assert torch.equal(strided, expected[2])


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
@each_variant
def test_dtype_and_device_are_kept(make: Make, dtype: torch.dtype):
    param = Parameter(torch.ones(3, dtype=dtype))
    optimizer = make([param])
    for _ in range(2):
        param.grad = torch.ones_like(param)
        optimizer.step()
    state = [
        value for value in optimizer.state[param].values() if value.shape == param.shape
    ]
    assert {param.dtype, *(value.dtype for value in state)} == {dtype}
    assert {value.device for value in state} <= {param.device}
    assert param.isfinite().all()
    assert (param < 1).all()


@each_variant
def test_mixed_dtypes_in_one_group_move_as_they_would_alone(make: Make):
    def params() -> list[Parameter]:
        return [
            Parameter(seeded(3, dtype=dtype))
            for dtype in (torch.float64, torch.float32, torch.float64)
        ]

    together, alone = params(), params()
    optimizers = [make(together), *(make([param]) for param in alone)]
    for step in range(3):
        for param in together + alone:
            param.grad = torch.full_like(param, 1.0 + step)
        for optimizer in optimizers:
            optimizer.step()
    assert all(map(torch.equal, together, alone))


# It works with the rest of torch.


@each_variant
def test_closure_runs_with_gradients_and_its_loss_is_returned(make: Make):
    net, loss_of = small_net()
    optimizer = make(net.parameters())
    before = values(net)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    expected = loss_of().item()
    assert optimizer.step(closure).item() == expected
    assert not torch.equal(before, values(net))


@each_variant
def test_gradients_are_read_only(make: Make):
    param = Parameter(torch.ones(3))
    param.grad = torch.tensor([1.0, -2.0, 3.0])
    for maximize in (False, True):
        optimizer = make([param], maximize=maximize)
        optimizer.step()
        optimizer.step()
    assert torch.equal(param.grad, torch.tensor([1.0, -2.0, 3.0]))


@each_variant
def test_sparse_gradients_are_refused_before_anything_moves(make: Make):
    dense = Parameter(torch.ones(2))
    dense.grad = torch.ones(2)
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    optimizer = make([{"params": [dense]}, {"params": table.parameters()}])
    with pytest.raises(ValueError, match=r"^gradients must be dense, got .*sparse=Fal"):
        optimizer.step()
    assert torch.equal(dense, torch.ones(2))


@each_variant
def test_learning_rate_schedulers_drive_it(make: Make):
    scheduled, by_hand = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer, other = make([scheduled], lr=0.1), make([by_hand])
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    for step in range(5):
        other.param_groups[0]["lr"] = 0.1 * 0.5**step
        for param in (scheduled, by_hand):
            param.grad = torch.full_like(param, 1.0 + step)
        optimizer.step()
        scheduler.step()
        other.step()
    assert torch.equal(scheduled, by_hand)


@each_variant
def test_grad_scaler_unscales_and_skips_overflow(make: Make):
    scaled, plain = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer, other = make([scaled]), make([plain])
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for factor in (1.0, math.inf, 2.0):
        optimizer.zero_grad()
        scaler.scale((factor * scaled).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        if math.isfinite(factor):
            plain.grad = torch.full_like(plain, factor)
            other.step()
    assert torch.equal(scaled, plain)


# Compiling under the tests' own "warnings are errors" trips on torch's warnings.
@pytest.mark.filterwarnings("default")
@each_variant
def test_compiled_step_is_the_same_step(make: Make):
    torch.compiler.reset()
    eager, compiled = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer, other = make([eager]), make([compiled])
    compiled_step = torch.compile(other.step, backend="aot_eager", fullgraph=True)
    for step in range(4):
        for param in (eager, compiled):
            param.grad = torch.full_like(param, 1.0 + step)
        optimizer.step()
        compiled_step()
    torch.testing.assert_close(eager, compiled, rtol=1e-6, atol=0)


# Groups and ranges.


@each_class
def test_groups_have_their_own_options_and_can_be_added(cls: type):
    slow, fast, later = (Parameter(torch.ones(2)) for _ in range(3))
    optimizer = cls([{"params": [slow], "lr": 1e-3}, {"params": [fast]}], lr=1e-1)
    optimizer.add_param_group({"params": [later], "lr": 0.0})
    for param in (slow, fast, later):
        param.grad = torch.ones(2)
    optimizer.step()
    assert (slow < 1).all()
    assert (slow > fast).all()
    assert torch.equal(later, torch.ones(2))


@each_class
def test_bad_ranges_are_refused_by_name(cls: type):
    for name, argument in arguments(cls).items():
        if isinstance(argument.default, bool):
            continue
        for value in BAD[name]:
            sentence = rf"^{name} must .*, got .*{value}"
            param = Parameter(torch.ones(1))
            with pytest.raises(ValueError, match=sentence):
                cls([param], **{name: value})
            with pytest.raises(ValueError, match=sentence):
                cls([{"params": [param], name: value}])
            optimizer = cls([param])
            with pytest.raises(ValueError, match=sentence):
                optimizer.add_param_group(
                    {"params": [Parameter(torch.ones(1))], name: value}
                )
            assert len(optimizer.param_groups) == 1


@each_class
def test_options_after_lr_are_keyword_only(cls: type):
    kinds = {
        name: argument.kind
        for name, argument in arguments(cls).items()
        if name not in ("lr", "betas")
    }
    assert set(kinds.values()) <= {inspect.Parameter.KEYWORD_ONLY}


@each_class
def test_update_function_is_exported_beside_its_class(cls: type):
    module = inspect.getmodule(cls)
    assert module is not None
    stem = module.__name__.rsplit(".", 1)[1]
    assert callable(getattr(optim, f"{stem}_update"))
