r"""Packing: codes of a few bits, without a gap, in bytes.

The codes of a row are one little-endian stream of bits: the first code takes the lowest
bits of the first byte. So of two 4-bit codes in a byte the first is the low nibble, of
four 2-bit codes the first has the lowest two bits, and 3-bit codes cross the bytes.

    code   0    1    2    3                 4 bits: 0x10 0x32
    byte   |--- 0 ---|--- 1 ---|

Each row is filled up with zeros to whole bytes: ⌈codes * bits / 8⌉ of them.
"""

import math

import torch
from torch import Tensor


def pack(codes: Tensor, *, bits: int) -> Tensor:
    """Pack the codes of each row.

    Args:
        codes: Integers in [0, 2^bits), shape (..., codes).
        bits: Bits of a code, from 1 to 8.

    Returns:
        uint8 of shape (..., ⌈codes * bits / 8⌉).

    Raises:
        TypeError: If the codes are not integers.
        ValueError: If a code or `bits` is out of its range.

    Example:
        >>> pack(torch.tensor([1, 2, 15]), bits=4)
        tensor([33, 15], dtype=torch.uint8)
    """
    _check_bits(bits)
    if codes.is_floating_point() or codes.is_complex():
        raise TypeError(f"codes must be integers, got {codes.dtype}")
    if codes.numel():
        # As Python's numbers: 256 would wrap to 0 next to uint8.
        lowest, highest = int(codes.min()), int(codes.max())
        if lowest < 0 or highest >= 2**bits:
            raise ValueError(
                f"codes must lie in [0, {2**bits}) to take {bits} bits, got "
                f"{lowest} to {highest}"
            )
    in_word, bytes_of_word = _word(bits)
    count = codes.shape[-1]
    filled = torch.nn.functional.pad(codes.long(), (0, -count % in_word))
    words = _join(_cut(filled, in_word), bits)
    packed = _split(words, bytes_of_word, 8).to(torch.uint8).flatten(-2)
    return packed[..., : math.ceil(count * bits / 8)].contiguous()


def unpack(packed: Tensor, *, bits: int, count: int) -> Tensor:
    """Undo `pack`.

    Args:
        packed: uint8 of shape (..., bytes).
        bits: Bits of a code, from 1 to 8.
        count: Codes of a row.

    Returns:
        uint8 of shape (..., count).

    Raises:
        TypeError: If `packed` is not uint8.
        ValueError: If the number of bytes does not fit, or `bits` is out of its range.

    Example:
        >>> unpack(torch.tensor([33, 15], dtype=torch.uint8), bits=4, count=3)
        tensor([ 1,  2, 15], dtype=torch.uint8)
    """
    _check_bits(bits)
    if packed.dtype != torch.uint8:
        raise TypeError(f"packed must be uint8, got {packed.dtype}")
    needed = math.ceil(count * bits / 8)
    if packed.shape[-1] != needed:
        raise ValueError(
            f"{count} codes of {bits} bits take {needed} bytes a row, "
            f"got {packed.shape[-1]}"
        )
    in_word, bytes_of_word = _word(bits)
    if bits == 8:
        return packed.clone()
    if bytes_of_word == 1:  # Whole codes in each byte: eight bits are wide enough.
        parts = [packed & 2**bits - 1]
        parts += [packed >> place * bits & 2**bits - 1 for place in range(1, in_word)]
        pieces: Tensor = torch.stack(parts, dim=-1).flatten(-2)
        return pieces[..., :count]
    filled = torch.nn.functional.pad(packed, (0, -needed % bytes_of_word)).long()
    words = _join(_cut(filled, bytes_of_word), 8)
    codes = _split(words, in_word, bits).to(torch.uint8).flatten(-2)
    return codes[..., :count].contiguous()


def _word(bits: int) -> tuple[int, int]:
    """Return how many codes fill how many bytes, the fewest that do."""
    width = math.lcm(bits, 8)
    return width // bits, width // 8


def _cut(x: Tensor, size: int) -> Tensor:
    """Cut the last dimension into pieces of a size."""
    return x.reshape(*x.shape[:-1], x.shape[-1] // size, size)


def _join(digits: Tensor, bits: int) -> Tensor:
    """Return the words, at most 56 bits, of which `digits` are the parts."""
    powers = 2 ** (bits * torch.arange(digits.shape[-1], device=digits.device))
    words: Tensor = (digits * powers).sum(-1, keepdim=True)
    return words


def _split(words: Tensor, count: int, bits: int) -> Tensor:
    """Undo `_join`."""
    powers = 2 ** (bits * torch.arange(count, device=words.device))
    digits: Tensor = words // powers % 2**bits
    return digits


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must lie between 1 and 8, got {bits}")
