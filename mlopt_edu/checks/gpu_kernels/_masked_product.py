"""A tiled product with some of its masks: what it gives and what it moves."""

from collections.abc import Iterator

import numpy as np

from ._problem import Array, Counted, blocks, stored


def masked_product(
    x: Array,
    y: Array,
    block_size: int,
    *,
    edges: bool = True,
    x_inner: bool = True,
    y_inner: bool = True,
    store: bool = True,
) -> Counted:
    """Multiply tile by tile; each mask that is False is left out.

    `edges` are the lower edge of x and the right edge of y. What lies outside of an
    array is NaN, and masked lanes are 0.
    """
    (n_rows, n_inner), n_cols = x.shape, y.shape[1]
    block = np.arange(block_size)
    inner = np.arange(blocks(n_inner, block_size) * block_size)
    read = outside = 0

    def below(places: Array, end: int, masked: bool) -> Array:
        return np.asarray(places < (end if masked else np.inf))

    def load(source: Array, places: Array, mask: Array) -> Array:
        nonlocal read, outside
        inside = places < source.size
        read += source.itemsize * int(np.sum(mask & inside))
        outside += int(np.sum(mask & ~inside))
        there = source.ravel()[np.minimum(places, source.size - 1)].astype(np.float64)
        return np.where(mask, np.where(inside, there, np.nan), 0.0)

    def programs() -> Iterator[tuple[Array, Array]]:
        for row in range(0, n_rows, block_size):
            for col in range(0, n_cols, block_size):
                rows, cols = row + block[:, None], col + block
                x_mask = below(rows, n_rows, edges) & below(inner, n_inner, x_inner)
                x_tile = load(x, rows * n_inner + inner, x_mask)
                down = inner[:, None]
                y_mask = below(down, n_inner, y_inner) & below(cols, n_cols, edges)
                y_tile = load(y, down * n_cols + cols, y_mask)
                mask = below(rows, n_rows, store) & below(cols, n_cols, store)
                yield (rows * n_cols + cols)[mask], (x_tile @ y_tile)[mask]

    output, written, strays, races, _ = stored(n_rows * n_cols, programs())
    return output.reshape(n_rows, n_cols), read, written, outside + strays, races
