"""Right answers to exercise 15, written in other ways."""

# ruff: noqa: N803  a constexpr is in capitals

import math
from itertools import product

import numpy as np
import torch

from mlopt_edu.gpu_kernels import Memory, tl, triton


def cost_tile_by_tile(n_rows, n_inner, n_cols, block_rows, block_cols, itemsize):
    n_bytes = 0
    for row in range(0, n_rows, block_rows):
        height = min(block_rows, n_rows - row)
        for col in range(0, n_cols, block_cols):
            width = min(block_cols, n_cols - col)
            n_bytes += itemsize * (height * n_inner + n_inner * width + height * width)
    operations = n_rows * n_cols * n_inner * 2
    return operations, n_bytes, operations / n_bytes


def cost_with_ceil(n_rows, n_inner, n_cols, block_rows, block_cols, itemsize):
    across, down = math.ceil(n_cols / block_cols), math.ceil(n_rows / block_rows)
    n_bytes = n_inner * (n_rows * across + n_cols * down) + n_rows * n_cols
    operations = 2 * n_rows * n_inner * n_cols
    return operations, itemsize * n_bytes, operations / n_bytes / itemsize


def cost_as_array(*sizes):
    return np.array(cost_tile_by_tile(*sizes))


def cost_with_cdiv(n_rows, n_inner, n_cols, block_rows, block_cols, itemsize):
    x_reads = triton.cdiv(n_cols, block_cols) * n_rows * n_inner
    y_reads = triton.cdiv(n_rows, block_rows) * n_cols * n_inner
    n_bytes = (x_reads + y_reads + n_rows * n_cols) * itemsize
    operations = n_rows * n_cols * (n_inner + n_inner)
    return [operations, n_bytes, operations / n_bytes]


def cost_as_floats(n_rows, n_inner, n_cols, block_rows, block_cols, itemsize):
    down, across = np.ceil([n_rows / block_rows, n_cols / block_cols])
    n_bytes = itemsize * (
        n_rows * n_inner * across + n_inner * n_cols * down + n_rows * n_cols
    )
    operations = 2.0 * n_rows * n_inner * n_cols
    return operations, n_bytes, operations / n_bytes


def roofline_by_intensity(operations, bytes_moved, peak, bandwidth):
    speed = min(peak, bandwidth * operations / bytes_moved)
    return operations / speed, speed / peak


def roofline_by_branches(operations, bytes_moved, peak, bandwidth):
    if operations / bytes_moved >= peak / bandwidth:
        return operations / peak, 1.0
    seconds = bytes_moved / bandwidth
    return seconds, operations / seconds / peak


def roofline_in_numpy(operations, bytes_moved, peak, bandwidth):
    times = np.array([operations / peak, bytes_moved / bandwidth])
    return np.array([times.max(), times[0] / times.max()])


def roofline_sorted(operations, bytes_moved, peak, bandwidth):
    times = sorted([operations / peak, bytes_moved / bandwidth])
    return times[1], operations / peak / times[1]


def roofline_in_torch(operations, bytes_moved, peak, bandwidth):
    both = [operations / peak, bytes_moved / bandwidth]
    times = torch.tensor(both, dtype=torch.float64)
    return times.max(), times[0] / times.max()


def offsets_from_range(program_id, block_size, n_elements):
    start = program_id * block_size
    offsets = np.arange(start, start + block_size)
    return offsets, offsets < n_elements


def offsets_as_lists(program_id, block_size, n_elements):
    offsets = [program_id * block_size + lane for lane in range(block_size)]
    return offsets, [offset < n_elements for offset in offsets]


def offsets_in_torch(program_id, block_size, n_elements):
    offsets = torch.arange(block_size) + program_id * block_size
    return offsets, offsets <= n_elements - 1


def offsets_by_what_is_left(program_id, block_size, n_elements):
    lanes = np.arange(block_size)
    left = n_elements - program_id * block_size
    return lanes + program_id * block_size, lanes < left


def offsets_by_reshape(program_id, block_size, n_elements):
    offsets = np.arange((program_id + 1) * block_size).reshape(-1, block_size)[-1]
    return offsets, ~(offsets >= n_elements)


@triton.jit
def axpy_fma(alpha, x_ptr, y_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    start = tl.program_id(0) * BLOCK_SIZE
    lanes = tl.arange(0, BLOCK_SIZE)
    mask = lanes < n - start
    x = tl.load(x_ptr + start + lanes, mask=mask)  # no `other`: it is never stored
    y = tl.load(y_ptr + start + lanes, mask=mask)
    tl.store(output_ptr + start + lanes, y + x * alpha, mask=mask)


@triton.jit
def axpy_in_a_loop(alpha, x_ptr, y_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    for start in range(0, n, BLOCK_SIZE):
        offsets = start + tl.arange(0, BLOCK_SIZE)
        x = tl.load(x_ptr + offsets, offsets < n, 0)
        y = tl.load(y_ptr + offsets, offsets < n, 0)
        tl.store(output_ptr + offsets, alpha * x + y, offsets < n)


@triton.jit
def axpy_strided(alpha, x_ptr, y_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) + tl.arange(0, BLOCK_SIZE) * tl.num_programs(0)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask, other=0.0)
    y = tl.load(y_ptr + offsets, mask=mask, other=0.0)
    tl.store(output_ptr + offsets, alpha * x + y, mask=mask)


def axpy_by(kernel, *, block_size=None, programs=None):
    def answer(alpha, x, y, given):
        block = block_size or given
        memory = Memory()
        x, y, output = memory.copy(x), memory.copy(y), memory.empty((len(x),))
        with memory:
            grid = (programs or triton.cdiv(len(x), block),)
            kernel[grid](alpha, x, y, output, len(x), BLOCK_SIZE=block)
        return memory.report(output)

    return answer


def axpy_in_place(alpha, x, y, block_size):
    memory = Memory()
    x, y = memory.copy(x), memory.copy(y)
    with memory:
        grid = (triton.cdiv(len(x), block_size),)
        axpy_fma[grid](alpha, x, y, y, len(x), BLOCK_SIZE=block_size)
    return memory.report(y)


@triton.jit
def softmax_of_a_row(x_ptr, output_ptr, n_cols, BLOCK_SIZE: tl.constexpr):
    x_ptr += tl.program_id(0) * n_cols
    output_ptr += tl.program_id(0) * n_cols
    cols = tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + cols, mask=cols < n_cols, other=-float("inf"))
    x -= tl.max(x)
    weights = tl.exp(x)
    tl.store(output_ptr + cols, weights / tl.sum(weights), mask=cols < n_cols)


@triton.jit
def softmax_with_where(x_ptr, output_ptr, n_cols, BLOCK_SIZE: tl.constexpr):
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    places = tl.program_id(0) * n_cols + cols
    x = tl.where(mask, tl.load(x_ptr + places, mask=mask), -float("inf"))
    weights = tl.where(mask, tl.exp(x - tl.max(x, axis=0)), 0.0)
    tl.store(output_ptr + places, weights * (1 / tl.sum(weights, axis=0)), mask=mask)


@triton.jit
def softmax_in_base_2(x_ptr, output_ptr, n_cols, BLOCK_SIZE: tl.constexpr):
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    places = tl.program_id(0) * n_cols + cols
    x = tl.load(x_ptr + places, mask=mask, other=-1e30)
    weights = tl.exp2((x - tl.max(x, axis=0)) * 1.4426950408889634)
    tl.store(output_ptr + places, weights / tl.sum(weights, axis=0), mask=mask)


@triton.jit
def softmax_through_logarithm(x_ptr, output_ptr, n_cols, BLOCK_SIZE: tl.constexpr):
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    places = tl.program_id(0) * n_cols + cols
    x = tl.load(x_ptr + places, mask=mask, other=-float("inf"))
    x -= tl.max(x, axis=0)
    tl.store(output_ptr + places, tl.exp(x - tl.log(tl.sum(tl.exp(x)))), mask=mask)


@triton.jit
def softmax_of_all_rows(
    x_ptr, output_ptr, n_rows, n_cols, ROWS: tl.constexpr, COLS: tl.constexpr
):
    rows, cols = tl.arange(0, ROWS)[:, None], tl.arange(0, COLS)[None, :]
    mask = (rows < n_rows) & (cols < n_cols)
    places = rows * n_cols + cols
    x = tl.load(x_ptr + places, mask=mask, other=-1e30)
    weights = tl.exp(x - tl.max(x, axis=1)[:, None])
    tl.store(output_ptr + places, weights / tl.sum(weights, axis=1)[:, None], mask=mask)


def softmax_by(kernel, *, wider=1):
    def answer(x, block_size):
        n_rows, n_cols = x.shape
        memory = Memory()
        x, output = memory.copy(x), memory.empty(x.shape)
        with memory:
            kernel[(n_rows,)](x, output, n_cols, BLOCK_SIZE=wider * block_size)
        return memory.report(output)

    return answer


def softmax_in_one_program(x, block_size):
    n_rows, n_cols = x.shape
    memory = Memory()
    x, output = memory.copy(x), memory.empty(x.shape)
    rows = triton.next_power_of_2(n_rows)
    with memory:
        softmax_of_all_rows[(1,)](x, output, n_rows, n_cols, rows, block_size)
    return memory.report(output)


@triton.jit
def sum_of_a_block(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    lanes = tl.arange(0, BLOCK_SIZE)
    start = tl.program_id(0) * BLOCK_SIZE
    x = tl.load(x_ptr + start + lanes, mask=start + lanes < n, other=0)
    tl.store(output_ptr + tl.program_id(0), tl.sum(x))


@triton.jit
def sum_with_where(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n)
    total = tl.sum(tl.where(offsets < n, x, 0.0), axis=0)
    tl.store(output_ptr + tl.program_id(0), total)


@triton.jit
def sum_strided(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    places = tl.program_id(0) + tl.arange(0, BLOCK_SIZE) * tl.num_programs(0)
    x = tl.load(x_ptr + places, mask=places < n, other=0.0)
    tl.store(output_ptr + tl.program_id(0), tl.sum(x, axis=0))


@triton.jit
def sum_of_halves(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    half: tl.constexpr = BLOCK_SIZE // 2
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, half)
    left = tl.load(x_ptr + offsets, mask=offsets < n, other=0.0)
    right = tl.load(x_ptr + offsets + half, mask=offsets + half < n, other=0.0)
    tl.store(output_ptr + tl.program_id(0), tl.sum(left + right, axis=0))


@triton.jit
def sum_in_a_loop(x_ptr, output_ptr, n, BLOCK_SIZE: tl.constexpr):
    total = 0.0
    for start in range(0, n, BLOCK_SIZE):
        offsets = start + tl.arange(0, BLOCK_SIZE)
        total += tl.sum(tl.load(x_ptr + offsets, offsets < n, 0.0), axis=0)
    tl.store(output_ptr, total)


def sum_by(first, second, *, power=None):
    def answer(x, block_size):
        programs = triton.cdiv(len(x), block_size)
        memory = Memory()
        x, partials = memory.copy(x), memory.empty((programs,))
        total = memory.empty((1,))
        with memory:
            first[(programs,)](x, partials, len(x), BLOCK_SIZE=block_size)
            block = power or triton.next_power_of_2(programs)
            second[(1,)](partials, total, programs, BLOCK_SIZE=block)
        return memory.report(total)

    return answer


@triton.jit
def transpose_by_places(x_ptr, output_ptr, n_rows, n_cols, BLOCK_SIZE: tl.constexpr):
    rows = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[:, None]
    cols = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]
    mask = (rows < n_rows) & (cols < n_cols)
    tile = tl.load(x_ptr + rows * n_cols + cols, mask=mask)
    tl.store(output_ptr + cols * n_rows + rows, tile, mask=mask)


@triton.jit
def transpose_from_the_output(
    x_ptr, output_ptr, n_rows, n_cols, BLOCK_SIZE: tl.constexpr
):
    rows = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]
    cols = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[:, None]
    mask = (rows < n_rows) & (cols < n_cols)
    tile = tl.load(x_ptr + rows * n_cols + cols, mask=mask, other=0.0)
    tl.store(output_ptr + cols * n_rows + rows, tile, mask=mask)


@triton.jit
def transpose_with_trans(x_ptr, output_ptr, n_rows, n_cols, BLOCK_SIZE: tl.constexpr):
    first = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    second = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = (first < n_rows)[:, None] & (second < n_cols)[None, :]
    tile = tl.load(x_ptr + first[:, None] * n_cols + second, mask=mask, other=0.0)
    mask = (second < n_cols)[:, None] & (first < n_rows)[None, :]
    tl.store(output_ptr + second[:, None] * n_rows + first, tile.T, mask=mask)


def transpose_by(kernel, *, block_size=None):
    def answer(x, given):
        block = block_size or given
        (n_rows, n_cols), memory = x.shape, Memory()
        x, output = memory.copy(x), memory.empty((n_cols, n_rows))
        grid = (triton.cdiv(n_rows, block), triton.cdiv(n_cols, block))
        with memory:
            kernel[grid](x, output, n_rows, n_cols, BLOCK_SIZE=block)
        return (*memory.report(output), memory.sectors)

    return answer


@triton.jit
def matmul_adding(
    x_ptr, y_ptr, output_ptr, n_rows, n_inner, n_cols, BLOCK_SIZE: tl.constexpr
):
    rows = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[:, None]
    cols = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]
    lanes = tl.arange(0, BLOCK_SIZE)
    total = tl.zeros((BLOCK_SIZE, BLOCK_SIZE), dtype=tl.float32)
    for start in range(0, n_inner, BLOCK_SIZE):
        k = start + lanes
        x_mask = (rows < n_rows) & (k < n_inner)[None, :]
        x = tl.load(x_ptr + rows * n_inner + k[None, :], mask=x_mask, other=0.0)
        y_mask = (k < n_inner)[:, None] & (cols < n_cols)
        y = tl.load(y_ptr + k[:, None] * n_cols + cols, mask=y_mask, other=0.0)
        total += tl.dot(x, y)
    mask = (rows < n_rows) & (cols < n_cols)
    tl.store(output_ptr + rows * n_cols + cols, total, mask=mask)


@triton.jit
def matmul_with_moving_pointers(
    x_ptr, y_ptr, output_ptr, n_rows, n_inner, n_cols, BLOCK_SIZE: tl.constexpr
):
    rows = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    cols = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    inner = tl.arange(0, BLOCK_SIZE)
    x_ptrs = x_ptr + rows[:, None] * n_inner + inner[None, :]
    y_ptrs = y_ptr + inner[:, None] * n_cols + cols[None, :]
    inside = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
    total = tl.zeros((BLOCK_SIZE, BLOCK_SIZE), dtype=tl.float32)
    left = n_inner
    for _ in range(tl.cdiv(n_inner, BLOCK_SIZE)):
        x_mask = (rows[:, None] < n_rows) & (inner[None, :] < left)
        y_mask = (inner[:, None] < left) & (cols[None, :] < n_cols)
        x = tl.load(x_ptrs, mask=x_mask, other=0.0)
        y = tl.load(y_ptrs, mask=y_mask, other=0.0)
        total = tl.dot(x, y, acc=total)
        x_ptrs += BLOCK_SIZE
        y_ptrs += BLOCK_SIZE * n_cols
        left -= BLOCK_SIZE
    tl.store(output_ptr + rows[:, None] * n_cols + cols[None, :], total, mask=inside)


@triton.jit
def matmul_widened(
    x_ptr, y_ptr, output_ptr, n_rows, n_inner, n_cols, BLOCK_SIZE: tl.constexpr
):
    rows = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[:, None]
    cols = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]
    total = tl.zeros((BLOCK_SIZE, BLOCK_SIZE), dtype=tl.float32)
    for start in range(0, n_inner, BLOCK_SIZE):
        k = start + tl.arange(0, BLOCK_SIZE)
        x_mask = (rows < n_rows) & (k[None, :] < n_inner)
        y_mask = (k[:, None] < n_inner) & (cols < n_cols)
        x = tl.load(x_ptr + rows * n_inner + k[None, :], mask=x_mask, other=0.0)
        y = tl.load(y_ptr + k[:, None] * n_cols + cols, mask=y_mask, other=0.0)
        wide = x.to(tl.float32), y.to(tl.float32)
        total += tl.dot(wide[0], wide[1], input_precision="ieee")
    mask = (rows < n_rows) & (cols < n_cols)
    tl.store(output_ptr + rows * n_cols + cols, total, mask=mask)


@triton.jit
def matmul_backwards(
    x_ptr, y_ptr, output_ptr, n_rows, n_inner, n_cols, BLOCK_SIZE: tl.constexpr
):
    rows = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[:, None]
    cols = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]
    total = tl.zeros((BLOCK_SIZE, BLOCK_SIZE), dtype=tl.float32)
    steps = tl.cdiv(n_inner, BLOCK_SIZE)
    for step in range(steps):
        k = (steps - 1 - step) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
        x_mask = (rows < n_rows) & (k[None, :] < n_inner)
        y_mask = (k[:, None] < n_inner) & (cols < n_cols)
        x = tl.load(x_ptr + rows * n_inner + k[None, :], mask=x_mask, other=0.0)
        y = tl.load(y_ptr + k[:, None] * n_cols + cols, mask=y_mask, other=0.0)
        total = tl.dot(x, y, total)
    mask = (rows < n_rows) & (cols < n_cols)
    tl.store(output_ptr + rows * n_cols + cols, total, mask=mask)


@triton.jit
def matmul_in_long_steps(
    x_ptr, y_ptr, output_ptr, n_rows, n_inner, n_cols, BLOCK_SIZE: tl.constexpr
):
    rows = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[:, None]
    cols = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]
    total = tl.zeros((BLOCK_SIZE, BLOCK_SIZE), dtype=tl.float32)
    for start in range(0, n_inner, 4 * BLOCK_SIZE):
        k = start + tl.arange(0, 4 * BLOCK_SIZE)
        x_mask = (rows < n_rows) & (k[None, :] < n_inner)
        y_mask = (k[:, None] < n_inner) & (cols < n_cols)
        x = tl.load(x_ptr + rows * n_inner + k[None, :], mask=x_mask, other=0.0)
        y = tl.load(y_ptr + k[:, None] * n_cols + cols, mask=y_mask, other=0.0)
        total += tl.dot(x, y, out_dtype=tl.float32)
    mask = (rows < n_rows) & (cols < n_cols)
    tl.store(output_ptr + rows * n_cols + cols, total, mask=mask)


def matmul_by(kernel):
    def answer(x, y, block_size):
        (n_rows, n_inner), n_cols = x.shape, y.shape[1]
        memory = Memory()
        x, y, output = memory.copy(x), memory.copy(y), memory.empty((n_rows, n_cols))
        grid = (triton.cdiv(n_rows, block_size), triton.cdiv(n_cols, block_size))
        with memory:
            kernel[grid](x, y, output, n_rows, n_inner, n_cols, BLOCK_SIZE=block_size)
        return memory.report(output)

    return answer


def tile_from_a_list(program_id, row_tiles, col_tiles, group):
    order = []
    for first in range(0, row_tiles, group):
        rows = range(first, min(first + group, row_tiles))
        order += [(row, col) for col in range(col_tiles) for row in rows]
    return order[program_id]


def tile_as_in_the_tutorial(program_id, row_tiles, col_tiles, group):
    in_group = group * col_tiles
    first = (program_id // in_group) * group
    size = min(row_tiles - first, group)
    row = first + ((program_id % in_group) % size)
    return row, (program_id % in_group) // size


def tile_by_counting_down(program_id, row_tiles, col_tiles, group):
    first = 0
    while program_id >= group * col_tiles:
        program_id -= group * col_tiles
        first += group
    col, row = divmod(program_id, min(group, row_tiles - first))
    return first + row, col


def tile_in_numpy(program_id, row_tiles, col_tiles, group):
    tiles = np.arange(row_tiles * col_tiles).reshape(row_tiles, col_tiles)
    parts = [tiles[row : row + group].T.ravel() for row in range(0, row_tiles, group)]
    return np.array(divmod(np.concatenate(parts)[program_id], col_tiles))


def tile_by_sorting(program_id, row_tiles, col_tiles, group):
    tiles = product(range(row_tiles), range(col_tiles))
    return sorted(tiles, key=lambda t: (t[0] // group, t[1], t[0]))[program_id]


@triton.jit
def adamw_with_lerp(
    p_ptr, g_ptr, m_ptr, v_ptr, lr, b1, b2, c1, c2, eps, wd, n, BLOCK: tl.constexpr
):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    g = tl.load(g_ptr + i, inside, 0.0)
    m = tl.load(m_ptr + i, inside, 0.0)
    m += (1 - b1) * (g - m)
    tl.store(m_ptr + i, m, inside)
    v = tl.load(v_ptr + i, inside, 0.0)
    v += (1 - b2) * (g * g - v)
    tl.store(v_ptr + i, v, inside)
    p = tl.load(p_ptr + i, inside, 0.0)
    p *= 1 - lr * wd
    p -= lr / c1 * m / (tl.sqrt(v / c2) + eps)
    tl.store(p_ptr + i, p, inside)


@triton.jit
def adamw_with_torch_formula(
    p_ptr, g_ptr, m_ptr, v_ptr, lr, b1, b2, c1, c2, eps, wd, n, BLOCK: tl.constexpr
):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    p = tl.load(p_ptr + i, mask=inside)
    g = tl.load(g_ptr + i, mask=inside)
    m = b1 * tl.load(m_ptr + i, mask=inside) + (1 - b1) * g
    v = b2 * tl.load(v_ptr + i, mask=inside) + (1 - b2) * g * g
    root = tl.sqrt(v) / tl.sqrt(tl.cast(c2, tl.float32)) + eps
    tl.store(p_ptr + i, p - lr * wd * p - lr * (m / c1) / root, mask=inside)
    tl.store(m_ptr + i, m, mask=inside)
    tl.store(v_ptr + i, v, mask=inside)


@triton.jit
def adamw_in_a_loop(
    p_ptr, g_ptr, m_ptr, v_ptr, lr, b1, b2, c1, c2, eps, wd, n, BLOCK: tl.constexpr
):
    for start in range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        p = tl.load(p_ptr + i, i < n, 0.0)
        g = tl.load(g_ptr + i, i < n, 0.0)
        m = b1 * tl.load(m_ptr + i, i < n, 0.0) + (1 - b1) * g
        v = b2 * tl.load(v_ptr + i, i < n, 0.0) + (1 - b2) * g * g
        tl.store(m_ptr + i, m, i < n)
        tl.store(v_ptr + i, v, i < n)
        step = m / c1 / (tl.sqrt(v / c2) + eps) + wd * p
        tl.store(p_ptr + i, p - lr * step, i < n)


def adamw_by(kernel, *, block_size=None, programs=None):
    def answer(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, given):
        block = block_size or given
        memory = Memory()
        arrays = [memory.copy(one) for one in (p, g, m, v)]
        corrections = 1 - beta1**step, 1 - beta2**step
        numbers = (lr, beta1, beta2, *corrections, eps, weight_decay, len(p), block)
        with memory:
            kernel[(programs or triton.cdiv(len(p), block),)](*arrays, *numbers)
        return memory.report(arrays[0], arrays[2], arrays[3])

    return answer


ALTERNATIVES = {
    "matmul_cost": [
        cost_tile_by_tile,
        cost_with_ceil,
        cost_as_array,
        cost_with_cdiv,
        cost_as_floats,
    ],
    "roofline": [
        roofline_by_intensity,
        roofline_by_branches,
        roofline_in_numpy,
        roofline_sorted,
        roofline_in_torch,
    ],
    "program_offsets": [
        offsets_from_range,
        offsets_as_lists,
        offsets_in_torch,
        offsets_by_what_is_left,
        offsets_by_reshape,
    ],
    "axpy": [
        axpy_by(axpy_fma),
        axpy_by(axpy_fma, block_size=128),
        axpy_by(axpy_in_a_loop, programs=1),
        axpy_by(axpy_strided),
        axpy_in_place,
    ],
    "row_softmax": [
        softmax_by(softmax_of_a_row),
        softmax_by(softmax_with_where),
        softmax_by(softmax_in_base_2, wider=2),
        softmax_by(softmax_through_logarithm),
        softmax_in_one_program,
    ],
    "block_sum": [
        sum_by(sum_of_a_block, sum_of_a_block),
        sum_by(sum_with_where, sum_with_where, power=64),
        sum_by(sum_strided, sum_of_a_block),
        sum_by(sum_of_halves, sum_with_where),
        sum_by(sum_of_halves, sum_in_a_loop, power=4),
    ],
    "tiled_transpose": [
        transpose_by(transpose_by_places),
        transpose_by(transpose_from_the_output),
        transpose_by(transpose_with_trans),
        transpose_by(transpose_by_places, block_size=64),
        transpose_by(transpose_with_trans, block_size=8),
    ],
    "tiled_matmul": [
        matmul_by(matmul_adding),
        matmul_by(matmul_with_moving_pointers),
        matmul_by(matmul_widened),
        matmul_by(matmul_backwards),
        matmul_by(matmul_in_long_steps),
    ],
    "program_tile": [
        tile_from_a_list,
        tile_as_in_the_tutorial,
        tile_by_counting_down,
        tile_in_numpy,
        tile_by_sorting,
    ],
    "fused_adamw_step": [
        adamw_by(adamw_with_lerp),
        adamw_by(adamw_with_torch_formula),
        adamw_by(adamw_with_lerp, block_size=128),
        adamw_by(adamw_in_a_loop, programs=1),
        adamw_by(adamw_in_a_loop, block_size=16, programs=1),
    ],
    "faster_arithmetic": ["b", "B", "(b)", " b ", "b."],
    "right_without_a_mask": ["c", "C", "(c)", " c ", "c."],
    "larger_tiles": ["b", "B", "(b)", " b ", "b."],
}
