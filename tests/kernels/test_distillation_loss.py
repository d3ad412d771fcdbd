import pytest
import torch
from torch.nn import functional

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.distillation_loss import (
    DTYPES,
    distillation_loss,
    distillation_loss_backward,
    distillation_loss_forward,
)

# The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
RTOL = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 1e-5}
SHAPES = [(1, 1), (7, 1), (1, 300), (5, 65)]


def drawn(shape, device, dtype=torch.float32):
    """Logits of student and teacher, and labels of which every third is missing."""
    generator = torch.Generator().manual_seed(sum(shape))
    logits = 4 * torch.randn(2, *shape, generator=generator)
    labels = torch.randint(shape[-1], shape[:-1], generator=generator)
    labels[..., 2::3] = -100
    return *logits.to(device, dtype), labels.to(device)


def exact(student, teacher, labels, temperature, hard_weight, soft_weight):
    """Return the loss in float64 by torch's own functions, and its gradient."""
    n_classes = student.shape[-1]
    student = student.detach().double().requires_grad_()
    rows = student.reshape(-1, n_classes)
    log_q = (rows / temperature).log_softmax(-1)
    log_p = (teacher.double().reshape(-1, n_classes) / temperature).log_softmax(-1)
    soft = functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    hard = functional.cross_entropy(rows, labels.reshape(-1))
    loss = hard_weight * hard + soft_weight * temperature**2 * soft
    return loss, torch.autograd.grad(loss, student)[0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "temperature"),
    [
        (torch.float32, 1.0),
        (torch.float32, 3.5),
        (torch.float16, 3.5),
        (torch.bfloat16, 1.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("config", [None, (2, 64)], ids=["chosen", "online"])
def test_kernels_agree_with_float64(guarded, device, shape, dtype, temperature, config):
    student, teacher, labels = drawn(shape, device, dtype)
    wanted, wanted_grad = exact(student, teacher, labels, temperature, 0.3, 0.6)
    n_rows = shape[0]
    losses = guarded(n_rows, torch.float32)
    log_sums = guarded(3 * n_rows, torch.float32)
    grad_student = guarded(student.numel(), dtype)
    hard_scale = 0.3 / (labels != -100).sum(0, keepdim=True).float()
    options = {
        "temperature": temperature,
        "soft_scale": 0.6 / n_rows,
        "config": config,
    }
    distillation_loss_forward(
        student,
        teacher,
        labels,
        hard_scale,
        losses.output,
        log_sums.output.view(3, n_rows),
        **options,
    )
    losses.check()
    log_sums.check()
    torch.testing.assert_close(
        losses.output.double().sum(), wanted, rtol=1e-5, atol=1e-5
    )
    distillation_loss_backward(
        torch.tensor([4.0], device=device),
        student,
        teacher,
        labels,
        hard_scale,
        log_sums.output.view(3, n_rows),
        grad_student.output.view(shape),
        **options,
    )
    grad_student.check()
    rtol, actual_grad = RTOL[dtype], grad_student.output.view(shape).double()
    torch.testing.assert_close(actual_grad, 4 * wanted_grad, rtol=rtol, atol=rtol / 4)


def kernel_loss(guarded, student, teacher, labels, config):
    losses = guarded(len(labels), torch.float32)
    distillation_loss_forward(
        student,
        teacher,
        labels,
        torch.ones(1, device=student.device),
        losses.output,
        torch.empty(3, len(labels), device=student.device),
        temperature=2.0,
        soft_scale=1.0,
        config=config,
    )
    losses.check()
    return losses.output


@pytest.mark.parametrize("config", [None, (2, 2)], ids=["chosen", "online"])
def test_classes_that_are_ruled_out(guarded, device, config):
    inf = torch.inf
    student = torch.tensor([[-inf, -inf, 1.0, 0.0], [0.0, -inf, 0.0, 0.0]]).to(device)
    teacher = torch.tensor([[-inf, -inf, 4.0, -4.0], [0.0, 0.0, 0.0, 0.0]]).to(device)
    none = torch.full((2,), -100, device=device)
    actual = kernel_loss(guarded, student, teacher, none, config)
    (wanted, _) = exact(student[:1, 2:], teacher[:1, 2:], none[:1] * 0, 2.0, 0.0, 1.0)
    torch.testing.assert_close(actual[0].double(), wanted, rtol=1e-5, atol=0)
    # The student excludes what the teacher allows.
    assert actual[1] == inf


def test_a_student_that_has_learnt_everything_has_loss_zero(guarded, device):
    student, _, labels = drawn((6, 40), device)
    actual = kernel_loss(guarded, student, student, labels * 0 - 100, (2, 16))
    torch.testing.assert_close(actual, torch.zeros_like(actual), rtol=0, atol=1e-5)


def test_a_label_that_is_no_class_gives_nan(guarded, device):
    student, teacher, _ = drawn((3, 5), device)
    labels = torch.tensor([5, -1, 4], device=device)
    actual = kernel_loss(guarded, student, teacher, labels, None)
    assert actual.isnan().tolist() == [True, True, False]


# The public function, on the CPU and on a GPU alike.


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_loss_and_gradient_against_float64(device, dtype):
    student, teacher, labels = drawn((3, 5, 7), device, dtype)
    wanted, wanted_grad = exact(student, teacher, labels, 5.0, 0.2, 0.7)
    student = student.transpose(0, 1).requires_grad_()
    teacher = teacher.transpose(0, 1).requires_grad_()
    loss = distillation_loss(
        student,
        teacher,
        labels.t(),
        temperature=5.0,
        hard_weight=0.2,
        soft_weight=0.7,
    )
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=0)
    loss.backward(torch.tensor(4.0, device=device))
    assert teacher.grad is None
    rtol, actual = RTOL[dtype], student.grad.transpose(0, 1).double()
    torch.testing.assert_close(actual, 4 * wanted_grad, rtol=rtol, atol=rtol / 4)


def test_without_labels_or_rows_the_loss_is_zero_there(device):
    student, teacher, labels = drawn((4, 3), device)
    none = torch.full_like(labels, -100)
    assert distillation_loss(student, student, none) <= 1e-6
    hard = distillation_loss(student, teacher, labels, hard_weight=1, soft_weight=0)
    torch.testing.assert_close(hard, functional.cross_entropy(student, labels))
    assert distillation_loss(student[:0], teacher[:0], labels[:0]) == 0


@pytest.mark.filterwarnings("default")
def test_operators_are_registered_as_torch_requires(device):
    student, teacher, labels = drawn((4, 3), device)
    numbers = (4.0, 0.1, 0.9)
    torch.library.opcheck(
        torch.ops.mlopt.distillation_loss.default,
        (student.requires_grad_(), teacher, labels, *numbers),
    )
    log_sums = torch.ones(3, 4, device=device)
    grad = torch.ones((), device=device)
    torch.library.opcheck(
        torch.ops.mlopt.distillation_loss_backward.default,
        (grad, student.detach(), teacher, labels, log_sums, *numbers),
    )


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    compiled = torch.compile(distillation_loss, backend="aot_eager", fullgraph=True)
    student, teacher, labels = drawn((4, 3), device)
    loss = compiled(student.requires_grad_(), teacher, labels)
    wanted, wanted_grad = exact(student, teacher, labels, 4.0, 0.1, 0.9)
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=0)
    (actual,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(actual.double(), wanted_grad, rtol=1e-5, atol=1e-6)


def test_bad_arguments_are_refused_by_name(device):
    student, teacher, labels = drawn((4, 3), device)
    for bad, sentence in {
        teacher[:2]: r"teacher_logits must have the shape of .*\[4, 3\].*\[2, 3\]",
        teacher.double(): "teacher_logits must have the dtype of .*, got torch.float64",
        teacher.to("meta"): "teacher_logits must have the device of .*, got meta",
    }.items():
        with pytest.raises(ValueError, match=f"^{sentence}"):
            distillation_loss(student, bad, labels)
    for bad, sentence in {
        labels[:2]: r"labels must have the shape \(4,\), .*, got \(2,\)",
        labels.to("meta"): "labels must have the device of .*, got meta",
    }.items():
        with pytest.raises(ValueError, match=f"^{sentence}"):
            distillation_loss(student, teacher, bad)
    for name, value, sentence in [
        ("temperature", 0.0, "temperature must be finite and above 0, got 0.0"),
        ("temperature", torch.inf, "temperature must be finite and above 0, got inf"),
        ("hard_weight", -1, "hard_weight must be finite and at least 0, got -1"),
        ("soft_weight", torch.nan, "soft_weight must be finite and at least 0, got "),
    ]:
        with pytest.raises(ValueError, match=f"^{sentence}"):
            distillation_loss(student, teacher, labels, **{name: value})
    with pytest.raises(ValueError, match=r"^student_logits must have at least one cl"):
        distillation_loss(student[:, :0], teacher[:, :0], labels)
    with pytest.raises(TypeError, match=r"^student_logits must have one of .*float64"):
        distillation_loss(student.double(), teacher, labels)
    with pytest.raises(TypeError, match=r"^labels must have the dtype int64, got "):
        distillation_loss(student, teacher, labels.int())
