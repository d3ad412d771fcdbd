"""How far a matrix kernel may be from its reference."""

import torch

# A sum in another order differs by some units in the last place of float32; the other
# dtypes are rounded once more, and the interpreter cuts bfloat16 off.
TOLERANCE = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 1e-5}


def assert_close(actual, expected):
    rtol = TOLERANCE[actual.dtype]
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=4 * rtol)
