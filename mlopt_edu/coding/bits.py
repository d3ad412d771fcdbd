"""Bits in bytes: small numbers side by side, and numbers of any size.

The first bit is the top bit of the first byte; a number's top bit comes first.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pack_bits(values: ArrayLike, width: int) -> bytes:
    """Write each number with `width` bits, one after another.

    Args:
        values: Integers in [0, 2**width), shape (count,).
        width: Bits a number, in [0, 32].

    Returns:
        ceil(count * width / 8) bytes, the last filled up with zeros.

    Raises:
        ValueError: If a number does not fit.

    Example:
        >>> pack_bits([1, 2, 3], 4).hex()
        '1230'
    """
    _require_width(width)
    numbers = np.asarray(values, dtype=np.int64)
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < 1 << width):
        raise ValueError(
            f"values must lie in [0, {1 << width}) to fit {width} bits, got "
            f"{numbers.min()} to {numbers.max()}"
        )
    shifts = np.arange(width - 1, -1, -1)
    return np.packbits((numbers[:, None] >> shifts & 1).astype(np.uint8)).tobytes()


def unpack_bits(data: bytes, width: int, count: int) -> NDArray[np.int64]:
    """Read what `pack_bits` wrote.

    Args:
        data: The bytes; what follows the numbers is not read.
        width: Bits a number, in [0, 32].
        count: How many numbers.

    Raises:
        ValueError: If there are too few bytes.

    Example:
        >>> unpack_bits(bytes.fromhex("1230"), 4, 3)
        array([1, 2, 3])
    """
    _require_width(width)
    needed = packed_size(width, count)
    if count < 0 or len(data) < needed:
        raise ValueError(f"data must be at least {needed} bytes, got {len(data)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8, needed), count=width * count)
    powers = np.int64(1) << np.arange(width - 1, -1, -1, dtype=np.int64)
    return bits.reshape(count, width) @ powers


def packed_size(width: int, count: int) -> int:
    """Return the bytes of `count` numbers of `width` bits."""
    return -(-width * count // 8)


def pack_number(number: int) -> bytes:
    r"""Write a number of any size: seven bits a byte, low ones first, 128 for "more".

    Example:
        >>> pack_number(5), pack_number(300).hex()
        (b'\x05', 'ac02')
    """
    if number < 0:
        raise ValueError(f"number must be at least 0, got {number}")
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


class Reader:
    """Reads bytes from the front.

    Args:
        data: All of them.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes.

        Raises:
            ValueError: If there are fewer.
        """
        left = len(self._data) - self._place
        if not 0 <= size <= left:
            raise ValueError(f"data must go on for {size} bytes, has {left}")
        self._place += size
        return self._data[self._place - size : self._place]

    def number(self) -> int:
        """Return the next number that `pack_number` wrote."""
        number = 0
        for shift in range(0, 64, 7):
            byte = self.take(1)[0]
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ValueError("data must hold a number of at most 63 bits here, got more")

    def rest(self) -> bytes:
        """Return everything that is left."""
        return self.take(len(self._data) - self._place)


def _require_width(width: int) -> None:
    if not 0 <= width <= 32:
        raise ValueError(f"width must lie in [0, 32], got {width}")
