r"""The mask of the largest weights, exact to one weight, without sorting.

    mask = False for the `count` smallest |w|; of equal ones the first go

The bits of a float without its sign are an integer that grows with |w|. So the count-th
smallest of them, the threshold, is found digit by digit, 8 bits at a time (a radix
select), as one finds a word in a dictionary letter by letter:

    a pass   counts the next digit of the weights whose digits so far are the
             threshold's; the digit whose count reaches past what is left to drop is
             the threshold's next digit

float32 has 31 bits and takes 4 passes, float16 and bfloat16 have 15 and take 2. Counted
for each weight of b bytes:

    bytes       b passes: b each; mask: read b, write 1    b^2 + b + 1  (float32: 21)
    operations  a pass: 4; mask: 6                         4 b + 6      (float32: 22)
    intensity   22 / 21 in float32                         about 1

A sort by radix would write and read keys and indices in each pass: 16 bytes more.

Programs never meet: each stores its own histogram, and torch's cumsum adds them up, in
the order of the weights. That gives the totals, and to each program how many weights
that equal the threshold come before its own: ties fall by index, the same in each run.
"""

import torch
from torch import Tensor

from mlopt_kernels._triton import tl, triton

DTYPES = (torch.float16, torch.bfloat16, torch.float32)

# Programs beyond this many take longer chunks instead: a histogram each costs 1 KiB.
MOST_PROGRAMS = 2048


def magnitude_mask_reference(weight: Tensor, count: int) -> Tensor:
    """Mask by a stable sort in plain torch; what the kernels must agree with.

    Args:
        weight: Tensor of any shape in one of `DTYPES`; NaN counts as the largest.
        count: Weights that go, from 0 to all.

    Returns:
        A contiguous boolean tensor of the shape of `weight` with `count` False.
    """
    mask = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[weight.flatten().abs().sort(stable=True).indices[:count]] = False
    return mask.reshape(weight.shape)


@triton.jit
def _next_digit(
    state_ptr,  # (2,): the threshold's digits so far, the weights left to drop
    cumulative_ptr,  # (n_programs, 256)
    n_programs,
):
    """Return the threshold's next digit, and what is left to drop at that digit."""
    left = tl.load(state_ptr + 1)
    digits = tl.arange(0, 256)
    totals = tl.load(cumulative_ptr + tl.cast(n_programs - 1, tl.int64) * 256 + digits)
    below = tl.cumsum(totals, 0) - totals
    # The last digit that fewer weights lie below than are to be dropped.
    digit = tl.max(tl.where((below < left) & (totals > 0), digits, 0))
    return digit, left - tl.sum(tl.where(digits == digit, below, 0))


@triton.jit
def _histogram_kernel(
    bits_ptr,  # (n_elements,)
    state_ptr,  # (n_passes + 1, 2)
    cumulative_ptr,  # (n_programs, 256), of the pass before
    histogram_ptr,  # (n_programs, 256)
    n_elements,
    n_programs,
    pass_number,
    SHIFT: tl.constexpr,  # noqa: N803
    FIRST: tl.constexpr,  # noqa: N803
    SIGN: tl.constexpr,  # noqa: N803
    BLOCKS: tl.constexpr,  # noqa: N803
    BLOCK_SIZE: tl.constexpr,
):
    """Count the digit at SHIFT in BLOCKS blocks of neighbouring weights."""
    program = tl.program_id(0)
    threshold = tl.zeros((), tl.int64)
    if not FIRST:
        before = state_ptr + 2 * (pass_number - 1)
        digit, left = _next_digit(before, cumulative_ptr, n_programs)
        threshold = tl.load(before) * 256 + digit
        # Every program finds the same; the next pass reads what the first one stores.
        if program == 0:
            tl.store(before + 2, threshold)
            tl.store(before + 3, left)
    digits = tl.arange(0, 256)
    counts = tl.zeros((256,), tl.int32)
    start = program.to(tl.int64) * BLOCKS * BLOCK_SIZE
    for block in range(BLOCKS):
        offsets = start + block * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
        inside = offsets < n_elements
        # The sign is cut off; shifted right, the digits so far are a number.
        magnitude = tl.load(bits_ptr + offsets, mask=inside, other=0).to(tl.int32)
        magnitude = magnitude & (SIGN - 1)
        if not FIRST:
            inside = inside & ((magnitude >> (SHIFT + 8)) == threshold)
        counts += tl.histogram((magnitude >> SHIFT) & 255, 256, mask=inside)
    tl.store(histogram_ptr + program.to(tl.int64) * 256 + digits, counts)


@triton.jit
def _mask_kernel(
    bits_ptr,  # (n_elements,)
    state_ptr,  # (n_passes + 1, 2)
    cumulative_ptr,  # (n_programs, 256), of the last pass
    mask_ptr,  # (n_elements,)
    n_elements,
    n_programs,
    n_passes,
    SIGN: tl.constexpr,  # noqa: N803
    BLOCKS: tl.constexpr,  # noqa: N803
    BLOCK_SIZE: tl.constexpr,
):
    """Compare BLOCKS blocks of neighbouring weights to the threshold."""
    program = tl.program_id(0)
    last = state_ptr + 2 * (n_passes - 1)
    digit, left = _next_digit(last, cumulative_ptr, n_programs)
    threshold = tl.load(last) * 256 + digit
    # What earlier programs hold of the threshold is dropped before this one's.
    earlier = (program - 1).to(tl.int64) * 256 + digit
    seen = tl.load(cumulative_ptr + earlier, mask=program > 0, other=0)
    start = program.to(tl.int64) * BLOCKS * BLOCK_SIZE
    for block in range(BLOCKS):
        offsets = start + block * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
        inside = offsets < n_elements
        magnitude = tl.load(bits_ptr + offsets, mask=inside, other=0).to(tl.int32)
        magnitude = magnitude & (SIGN - 1)
        equal = (inside & (magnitude == threshold)).to(tl.int32)
        rank = seen + tl.cumsum(equal, 0)  # 1 for the first of them all
        keep = (magnitude > threshold) | ((equal == 1) & (rank > left))
        tl.store(mask_ptr + offsets, keep, mask=inside)
        seen += tl.sum(equal)


def magnitude_mask_forward(
    weight: Tensor, count: int, mask: Tensor, *, block_size: int = 4096
) -> None:
    """Launch the kernels: a pass for each digit, then the mask. No host waits.

    Args:
        weight: Contiguous tensor in one of `DTYPES`.
        count: Weights that go, from 0 to all.
        mask: Contiguous boolean tensor of the shape of `weight`; written.
        block_size: Elements of a block, a power of two; a program has a few blocks.
    """
    n_elements = weight.numel()
    if count in (0, n_elements):
        mask.fill_(count == 0)
        return
    width = 8 * weight.element_size()
    bits = weight.view(torch.int32 if width == 32 else torch.int16)
    shape = {
        "SIGN": 1 << (width - 1),
        "BLOCKS": triton.next_power_of_2(
            triton.cdiv(n_elements, block_size * MOST_PROGRAMS)
        ),
        "BLOCK_SIZE": block_size,
    }
    n_programs = triton.cdiv(n_elements, block_size * shape["BLOCKS"])
    n_passes = width // 8
    state = weight.new_zeros((n_passes + 1, 2), dtype=torch.int64)
    state[0, 1] = count
    histogram = weight.new_empty((n_programs, 256), dtype=torch.int32)
    cumulative = histogram
    for number in range(n_passes):
        _histogram_kernel[(n_programs,)](
            bits,
            state,
            cumulative,
            histogram,
            n_elements,
            n_programs,
            number,
            SHIFT=width - 8 * (number + 1),
            FIRST=number == 0,
            **shape,
        )
        cumulative = histogram.cumsum(0)
    _mask_kernel[(n_programs,)](
        bits, state, cumulative, mask, n_elements, n_programs, n_passes, **shape
    )


@torch.library.custom_op("mlopt::magnitude_mask", mutates_args=(), device_types="cpu")
def _magnitude_mask(weight: Tensor, count: int) -> Tensor:
    return magnitude_mask_reference(weight, count)


@_magnitude_mask.register_kernel("cuda")
def _magnitude_mask_cuda(weight: Tensor, count: int) -> Tensor:
    mask = weight.new_empty(weight.shape, dtype=torch.bool)
    # Triton launches on the current GPU, which need not be that of the weights.
    with torch.cuda.device(weight.device):
        magnitude_mask_forward(weight.contiguous(), count, mask)
    return mask


@_magnitude_mask.register_fake
def _magnitude_mask_fake(weight: Tensor, count: int) -> Tensor:
    return weight.new_empty(weight.shape, dtype=torch.bool)


def magnitude_mask(weight: Tensor, amount: float | int) -> Tensor:
    """Return the mask that drops the `amount` of weights nearest to 0.

    On a CPU this computes `magnitude_mask_reference`; on an NVIDIA GPU it launches the
    kernels. `torch.compile` works through it; no gradient passes. A non-contiguous
    weight is copied first.

    Args:
        weight: Tensor of any shape in one of `DTYPES`; NaN counts as the largest.
        amount: What goes: share in [0, 1] as a float, rounded to a whole number of
            weights as by `round`, or count as an int.

    Returns:
        A contiguous boolean tensor of the shape of `weight` with exactly that many
        False; of equal magnitudes the first go.

    Raises:
        TypeError: If the dtype is not one of `DTYPES`.
        ValueError: If `amount` is out of its range.
        ModuleNotFoundError: If the weight is on a GPU and Triton is missing.

    Example:
        >>> magnitude_mask(torch.tensor([3.0, -1.0, -2.0, 1.0]), 0.25)
        tensor([ True, False,  True,  True])
    """
    if weight.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(
            f"weight must have one of the dtypes {names}, got {weight.dtype}"
        )
    size = weight.numel()
    if not 0 <= amount <= (1 if isinstance(amount, float) else size):
        raise ValueError(
            "amount must be a share in [0, 1] as a float or a count of at most the "
            f"{size} weights as an int, got {amount}"
        )
    count = round(amount * size) if isinstance(amount, float) else amount
    mask: Tensor = _magnitude_mask(weight.detach(), count)
    return mask
