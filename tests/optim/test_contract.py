"""What every optimizer must do; a new one joins by being in mlopt_edu.optim."""

import copy
import inspect
import io
import math
import pickle
import re
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

# What each class is tried with: options, besides lr. More than one set for classes
# whose options switch other code on.
VARIANTS: dict[type, list[dict[str, Any]]] = {
    optim.SGD: [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "dampening": 0.3, "weight_decay": 1e-3},
        {"momentum": 0.5, "dampening": 0.3, "weight_decay": 1e-3, "fused": True},
    ],
    optim.Adagrad: [
        {"initial_accumulator_value": 0.1, "lr_decay": 1e-3},
        {"weight_decay": 1e-3, "fused": True},
    ],
    optim.Adadelta: [{"weight_decay": 1e-3}],
    optim.RMSprop: [
        {"alpha": 0.9},
        {"alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 1e-3},
    ],
    optim.Adam: [
        {},
        {"amsgrad": True, "weight_decay": 1e-3},
        {"amsgrad": True, "weight_decay": 1e-3, "fused": True},
    ],
    optim.AdamW: [{}, {"fused": True}],
    optim.NAdam: [{}, {"weight_decay": 1e-3, "decoupled_weight_decay": True}],
    optim.Lion: [{}, {"betas": (0.5, 0.9), "weight_decay": 1e-3}],
    optim.Adafactor: [{}, {"relative_step": False, "weight_decay": 1e-3}],
    optim.Muon: [
        {},
        {"adjust_lr_fn": "original", "nesterov": False},
        {"use_muon": False, "weight_decay": 1e-3},
    ],
    optim.ScheduleFreeSGD: [{}, {"warmup_steps": 3, "weight_decay": 1e-3}],
    optim.ScheduleFreeAdamW: [{}, {"warmup_steps": 3, "weight_decay": 1e-3}],
    optim.LARS: [
        {"trust_coefficient": 0.5},
        {"trust_coefficient": 0.5, "nesterov": True, "weight_decay": 1e-3},
        {"adapt": False},
    ],
    optim.LAMB: [{}, {"weight_decay": 1e-3}, {"adapt": False}],
    optim.Lookahead: [{"k": 4, "momentum": 0.5}],
    optim.SAM: [{"rho": 0.1, "momentum": 0.5}],
}

# Step sizes: for the quadratic and the net, for Rosenbrock's valley, and elsewhere.
DEFAULT_LR = {"quadratic": 1e-2, "net": 1e-2, "rosenbrock": 7e-4, "else": 1e-2}
LR: dict[type, dict[str, float]] = {
    optim.Adagrad: {"quadratic": 0.5, "net": 0.1, "rosenbrock": 0.5},
    optim.Adadelta: dict.fromkeys(DEFAULT_LR, 1.0),
    optim.RMSprop: {"rosenbrock": 5e-3},
    optim.Adam: {"rosenbrock": 2e-2},
    optim.AdamW: {"rosenbrock": 2e-2},
    optim.NAdam: {"rosenbrock": 2e-2},
    optim.Lion: {"rosenbrock": 5e-3},
    optim.Adafactor: {"rosenbrock": 1e-2},
    optim.Muon: {"rosenbrock": 5e-3},
    optim.ScheduleFreeSGD: {"rosenbrock": 3e-3},
    optim.ScheduleFreeAdamW: {"rosenbrock": 5e-2},
    optim.LAMB: {"rosenbrock": 3e-2},
}

# Per argument: values outside its range. An argument that is missing here fails.
BAD: dict[str, list[Any]] = {
    "lr": [-1e-3, math.inf, math.nan],
    "betas": [(-0.1, 0.9), (1.0, 0.9), (0.9, 1.0), (0.9, math.nan), (0.9,)],
    "eps": [-1e-8, math.inf, math.nan],
    "rho": [-0.1, 1.0, math.nan],
    "alpha": [-0.1, 1.0, math.nan],
    "momentum": [-0.1, 1.0, math.nan],
    "dampening": [-0.1, 1.1, math.nan],
    "weight_decay": [-1.0, math.inf, math.nan],
    "lr_decay": [-1.0, math.inf, math.nan],
    "momentum_decay": [-1.0, math.inf, math.nan],
    "initial_accumulator_value": [-1.0, math.inf, math.nan],
    "trust_coefficient": [0.0, -1.0, math.inf, math.nan],
    "beta2_decay": [0.1, -math.inf, math.nan],
    "d": [0.0, -1.0, math.nan],
    "ns_steps": [0, -1, math.inf, math.nan],
    "ns_dtype": [torch.int32, torch.complex64],
    "adjust_lr_fn": ["keller", None],
    "warmup_steps": [-1, math.inf, math.nan],
    "k": [0, -1, math.inf, math.nan],
}

# Where a class means something else by the name of an argument.
BAD_OF: dict[type, dict[str, list[Any]]] = {
    optim.Adafactor: {"eps": [(-1e-3, 1e-3), (None, -1.0), (math.inf, 1e-3)]},
    optim.ScheduleFreeSGD: {"momentum": [0.0, 1.0, -0.1, math.nan]},
    optim.ScheduleFreeAdamW: {"betas": [(0.0, 0.9), (1.0, 0.9), (0.9,)]},
    optim.Lookahead: {"alpha": [0.0, 1.1, math.nan]},
    optim.SAM: {"rho": [-0.1, math.inf, math.nan]},
}

# Wrappers stand around this class. Their options have this prefix in a group.
INNER: dict[type, tuple[type, str]] = {
    optim.Lookahead: (optim.SGD, "lookahead_"),
    optim.SAM: (optim.SGD, "sam_"),
}

# Sums and products take a transposed matrix in another order, so they round otherwise;
# Newton-Schulz multiplies what rounding leaves of a zero by 3.4 in every round.
LAYOUT_ROUNDING: dict[type, float] = {optim.Adafactor: 1e-6, optim.Muon: 1e-3}


# What compiling makes: two graphs, of the first step, which creates the state, and of
# all others. Here the steps with and without a synchronization are two kinds.
GRAPHS: dict[type, int] = {optim.Lookahead: 3}


class SAMWithoutClosure(optim.SAM):
    """Finds the same gradients twice, for tests that call `step()`.

    SAM itself refuses that, and with it GradScaler, which passes no closure on.
    """

    def step(self, closure: Any = lambda: None) -> Any:
        return super().step(closure)


Make = Callable[..., torch.optim.Optimizer]


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    given = dict(inspect.signature(cls).parameters)
    given.pop("optimizer" if cls in INNER else "params")
    return given


def build(cls: type, params: Any, **options: Any) -> Any:
    if cls not in INNER:
        return cls(params, **options)
    own = {name: options.pop(name) for name in arguments(cls) if name in options}
    inner, _ = INNER[cls]
    wrapper = SAMWithoutClosure if cls is optim.SAM else cls
    return wrapper(inner(params, **options), **own)


def maker(cls: type, options: dict[str, Any]) -> Make:
    lrs = DEFAULT_LR | LR.get(cls, {})

    def make(params: Any, *, problem: str = "else", **more: Any) -> Any:
        return build(cls, params, **({"lr": lrs[problem]} | options | more))

    make.cls = cls
    return make


VARIANT_CASES = [
    pytest.param(maker(cls, options), id=f"{cls.__name__}{options or ''}")
    for cls in CLASSES
    for options in VARIANTS.get(cls, [{}])
]

# Of each class the one with most options on, by convention.
LAST_VARIANT_CASES = list(
    {case.id.partition("{")[0]: case for case in VARIANT_CASES}.values()
)

each_variant = pytest.mark.parametrize("make", VARIANT_CASES)
each_last_variant = pytest.mark.parametrize("make", LAST_VARIANT_CASES)
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
    optimizer = make([w], problem="quadratic")
    for _ in range(500):
        w.grad = curvature * w.detach()
        optimizer.step()
    assert (curvature * w.square()).sum() / 2 < 0.07


@each_variant
def test_rosenbrock(make: Make):
    w = Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    optimizer = make([w], problem="rosenbrock")
    for _ in range(1000):
        x, y = w.tolist()
        slope = [400 * x * (x * x - y) - 2 * (1 - x), 200 * (y - x * x)]
        w.grad = torch.tensor(slope, dtype=torch.float64)
        optimizer.step()
    x, y = w.tolist()
    # The floor of the valley where it is entered lies at 4: below 2, it was followed.
    assert 100 * (y - x * x) ** 2 + (1 - x) ** 2 < 2


@each_variant
def test_small_net(make: Make):
    net, loss_of = small_net()
    before = loss_of().item()
    assert train(make(net.parameters(), problem="net"), loss_of, 100) < before / 4


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
    rounding = LAYOUT_ROUNDING.get(make.cls, 0.0)
    torch.testing.assert_close(transposed, expected[1], rtol=rounding, atol=rounding)
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
@each_last_variant
def test_compiled_step_is_the_same_step_and_compiled_once(make: Make):
    def params() -> list[Parameter]:
        return [Parameter(seeded(*shape)) for shape in ((3,), (2, 3))]

    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    eager, compiled = params(), params()
    optimizer, other = make(eager), make(compiled)
    compiled_step = torch.compile(other.step, backend="aot_eager", fullgraph=True)
    for step in range(20):
        for param in eager + compiled:
            param.grad = torch.full_like(param, 1.0 + step)
        optimizer.step()
        compiled_step()
    for param, expected in zip(compiled, eager, strict=True):
        torch.testing.assert_close(param, expected, rtol=1e-8, atol=1e-8)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs <= GRAPHS.get(make.cls, 2)


# Groups and ranges.


@each_class
def test_groups_have_their_own_options_and_can_be_added(cls: type):
    slow, fast, later = (Parameter(torch.ones(2)) for _ in range(3))
    groups = [{"params": [slow], "lr": 1e-3}, {"params": [fast]}]
    optimizer = build(cls, groups, lr=1e-1)
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
        for value in (BAD | BAD_OF.get(cls, {}))[name]:
            sentence = rf"^{name} must .*, got .*{re.escape(str(value))}"
            param = Parameter(torch.ones(1))
            option = INNER.get(cls, (None, ""))[1] + name
            with pytest.raises(ValueError, match=sentence):
                build(cls, [param], **{name: value})
            with pytest.raises(ValueError, match=sentence):
                build(cls, [{"params": [param], option: value}])
            optimizer = build(cls, [param])
            with pytest.raises(ValueError, match=sentence):
                optimizer.add_param_group(
                    {"params": [Parameter(torch.ones(1))], option: value}
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
    ours = [base for base in inspect.getmro(cls) if base.__module__.startswith("mlopt")]
    stems = [base.__module__.rsplit(".", 1)[1] for base in ours]
    assert any(callable(getattr(optim, f"{stem}_update", None)) for stem in stems)
