"""The cases of kernels that wait for memory, each beside torch's own way."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.kernel_counts import (
    Case,
    Sizes,
    elementwise_bytes,
    mask_bytes,
    of,
    optimizer_bytes,
    quantize_bytes,
)


def _vector_add(sizes: Sizes, device: str) -> Iterator[Case]:
    x, y = (torch.randn(sizes.elements, device=device) for _ in range(2))
    add = of("vector_add")
    moved = elementwise_bytes(sizes.elements, 4, reads=2, writes=1)
    yield Case("float32", lambda: add(x, y), lambda: x + y, moved, sizes.elements)


def _axpy(sizes: Sizes, device: str) -> Iterator[Case]:
    x, y = (torch.randn(sizes.elements, device=device) for _ in range(2))
    ours = of("axpy")
    moved = elementwise_bytes(sizes.elements, 4, reads=2, writes=1)
    yield Case(
        "float32",
        lambda: ours(x, y, alpha=1.5),
        lambda: torch.add(y, x, alpha=1.5),
        moved,
        2 * sizes.elements,
    )


def _reduction(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    total, rows = of("reduction", "sum_all"), of("reduction", "sum_rows")
    moved = elementwise_bytes(x.numel(), 4, reads=1, writes=0)
    yield Case("all, float32", lambda: total(x), lambda: x.sum(), moved, x.numel())
    yield Case("rows, float32", lambda: rows(x), lambda: x.sum(-1), moved, x.numel())


def _softmax(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    ours = of("softmax")
    moved = elementwise_bytes(x.numel(), 4, reads=1, writes=1)
    yield Case("float32", lambda: ours(x), lambda: x.softmax(-1), moved, 5 * x.numel())


def _layer_norm(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    weight, bias = x[0].clone(), x[1].clone()
    ours = of("layer_norm")
    yield Case(
        "float32",
        lambda: ours(x, weight, bias),
        lambda: functional.layer_norm(x, x.shape[-1:], weight, bias),
        elementwise_bytes(x.numel(), 4, reads=1, writes=1),
        9 * x.numel(),
    )


def _rms_norm(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    weight = x[0].clone()
    ours = of("rms_norm")
    yield Case(
        "float32",
        lambda: ours(x, weight),
        lambda: functional.rms_norm(x, x.shape[-1:], weight, 1e-6),
        elementwise_bytes(x.numel(), 4, reads=1, writes=1),
        4 * x.numel(),
    )


def _dropout(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.elements, device=device)
    ours = of("dropout")
    yield Case(
        "float32",
        lambda: ours(x, 0.1, seed=3),
        lambda: functional.dropout(x, 0.1),
        elementwise_bytes(x.numel(), 4, reads=1, writes=1),
        25 * x.numel(),
    )


def _cross_entropy(sizes: Sizes, device: str) -> Iterator[Case]:
    logits = torch.randn(sizes.rows, sizes.cols, device=device, requires_grad=True)
    labels = torch.randint(sizes.cols, (sizes.rows,), device=device)
    ours = of("cross_entropy")
    # Ours stores the gradient as it finds the loss, and scales it in backward.
    yield Case(
        "forward and backward, float32",
        lambda: torch.autograd.grad(ours(logits, labels), logits),
        lambda: torch.autograd.grad(functional.cross_entropy(logits, labels), logits),
        elementwise_bytes(logits.numel(), 4, reads=2, writes=2),
        6 * logits.numel(),
        compiled=False,
    )


def _distillation_loss(sizes: Sizes, device: str) -> Iterator[Case]:
    student, teacher = (
        torch.randn(sizes.rows, sizes.cols, device=device) for _ in range(2)
    )
    labels = torch.randint(sizes.cols, (sizes.rows,), device=device)
    ours = of("distillation_loss")

    def eager() -> Tensor:
        soft = functional.kl_div(
            functional.log_softmax(student / 4, -1),
            functional.log_softmax(teacher / 4, -1),
            log_target=True,
            reduction="batchmean",
        )
        return 0.1 * functional.cross_entropy(student, labels) + 0.9 * 16 * soft

    yield Case(
        "forward, float32",
        lambda: ours(student, teacher, labels),
        eager,
        elementwise_bytes(student.numel(), 4, reads=2, writes=0),
        12 * student.numel(),
    )


def _tensors(sizes: Sizes, device: str) -> list[Tensor]:
    size = max(1, sizes.elements // sizes.tensors)
    return [torch.randn(size, device=device) for _ in range(sizes.tensors)]


def _fused_adamw(sizes: Sizes, device: str) -> Iterator[Case]:
    optimizers = []
    for build in (
        of("fused_adamw", "FusedAdamW"),
        lambda params: torch.optim.AdamW(params, foreach=True),
        lambda params: torch.optim.AdamW(params, fused=True),
    ):
        params = [torch.nn.Parameter(tensor) for tensor in _tensors(sizes, device)]
        for param in params:
            param.grad = torch.ones_like(param)
        optimizers.append(build(params))
    ours, foreach, fused = optimizers
    elements = sum(param.numel() for param in ours.param_groups[0]["params"])
    yield Case(
        f"{sizes.tensors} tensors, float32",
        ours.step,
        foreach.step,
        optimizer_bytes(elements, 4, averages=2),
        14 * elements,
        fused=fused.step,
        compiled=False,
    )


def _fused_lion(sizes: Sizes, device: str) -> Iterator[Case]:
    ours = of("fused_lion", "fused_lion_")
    params, grads, exp_avgs = (_tensors(sizes, device) for _ in range(3))
    elements = sum(param.numel() for param in params)

    def eager() -> None:
        directions = torch._foreach_lerp(exp_avgs, grads, 0.1)
        torch._foreach_sign_(directions)
        torch._foreach_add_(params, directions, alpha=-1e-4)
        torch._foreach_lerp_(exp_avgs, grads, 0.01)

    yield Case(
        f"{sizes.tensors} tensors, float32",
        lambda: ours(params, grads, exp_avgs, lr=1e-4),
        eager,
        optimizer_bytes(elements, 4, averages=1),
        10 * elements,
    )


def _clip_grad_norm(sizes: Sizes, device: str) -> Iterator[Case]:
    ours = of("clip_grad_norm", "clip_grad_norm_")
    params = _tensors(sizes, device)
    for param in params:
        param.grad = torch.randn_like(param)
    elements = sum(param.numel() for param in params)
    largest = [elements**0.5 / 2]  # of the norm, about

    def falling(clip: Callable[..., Tensor]) -> Tensor:
        # Each time a little less, so that each time all gradients must be scaled.
        largest[0] *= 0.999
        return clip(params, largest[0])

    yield Case(
        f"{sizes.tensors} tensors, float32",
        lambda: falling(ours),
        lambda: falling(torch.nn.utils.clip_grad_norm_),
        elementwise_bytes(elements, 4, reads=2, writes=1),
        3 * elements,
        compiled=False,
    )


def _magnitude_mask(sizes: Sizes, device: str) -> Iterator[Case]:
    weight = torch.randn(sizes.elements, device=device)
    ours = of("magnitude_mask")

    def eager() -> Tensor:
        magnitude = weight.abs()
        return magnitude > magnitude.kthvalue(weight.numel() // 2).values

    moved = mask_bytes(weight.numel(), 4)
    yield Case(
        "half, float32", lambda: ours(weight, 0.5), eager, moved, 22 * weight.numel()
    )


def _group_quantize(sizes: Sizes, device: str) -> Iterator[Case]:
    x = torch.randn(sizes.rows, sizes.cols, device=device)
    ours, back = of("group_quantize"), of("group_quantize", "group_dequantize")
    reference = of("group_quantize", "group_quantize_reference")
    undone = of("group_quantize", "group_dequantize_reference")
    for bits in (8, 4):
        codes = ours(x, 64, bits=bits)
        moved = quantize_bytes(x.numel(), 4, bits=bits, group_size=64)
        yield Case(
            f"{bits} bits, float32",
            lambda bits=bits: ours(x, 64, bits=bits),
            lambda bits=bits: reference(x, 64, bits=bits),
            moved,
            8 * x.numel(),
        )
        yield Case(
            f"back from {bits} bits, float32",
            lambda codes=codes: back(*codes),
            lambda codes=codes: undone(*codes),
            moved,
            3 * x.numel(),
        )


MEMORY_BOUND = {
    case.__name__[1:]: case
    for case in (
        _vector_add,
        _axpy,
        _reduction,
        _softmax,
        _layer_norm,
        _rms_norm,
        _dropout,
        _cross_entropy,
        _distillation_loss,
        _fused_adamw,
        _fused_lion,
        _clip_grad_norm,
        _magnitude_mask,
        _group_quantize,
    )
}
