import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

from mlopt_kernels.dropout import (
    DTYPES,
    dropout,
    dropout_forward,
    dropout_reference,
    uniform_reference,
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_elements", [0, 1, 3, 4, 255, 256, 1001])
def test_kernel_agrees_with_the_reference(guarded, device, n_elements, dtype):
    generator = torch.Generator().manual_seed(n_elements)
    x = torch.randn(n_elements, generator=generator).to(device, dtype)
    out = guarded(n_elements, dtype)
    dropout_forward(x, out.output, p=0.3, seed=5, block_size=64)
    out.check()
    wanted = dropout_reference(x, 0.3, seed=5)
    # The interpreter cuts bfloat16 off where a GPU rounds: one unit in the last place.
    rtol = 2**-7 if dtype == torch.bfloat16 and device == "cpu" else 0
    torch.testing.assert_close(out.output, wanted, rtol=rtol, atol=0)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 + 5, 2**63 - 1])
@pytest.mark.parametrize("p", [0.0, 1e-3, 0.5, 1.0])
def test_kernel_drops_what_the_reference_drops(guarded, device, seed, p):
    x = torch.ones(2000, device=device)
    out = guarded(2000, torch.float32)
    dropout_forward(x, out.output, p=p, seed=seed)
    assert torch.equal(out.output, dropout_reference(x, p, seed=seed))


def test_mask_depends_on_seed_and_position_alone(guarded, device):
    x = torch.ones(1000, device=device)
    small, large, prefix = (guarded(n, torch.float32) for n in (1000, 1000, 300))
    dropout_forward(x, small.output, p=0.5, seed=3, block_size=16)
    dropout_forward(x, large.output, p=0.5, seed=3, block_size=512)
    dropout_forward(x[:300], prefix.output, p=0.5, seed=3)
    assert torch.equal(small.output, large.output)
    assert torch.equal(small.output[:300], prefix.output)
    assert not torch.equal(small.output, dropout_reference(x, 0.5, seed=4))


def philox(counter, key):
    """Philox4x32-10 as the paper has it, on Python integers."""
    for _ in range(10):
        first, third = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = (
            (third >> 32) ^ counter[1] ^ key[0],
            third % 2**32,
            (first >> 32) ^ counter[3] ^ key[1],
            first % 2**32,
        )
        key = (key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32
    return counter


def test_philox_gives_the_published_numbers():
    # The known answers of Random123, Salmon et al.: kat_vectors, philox4x32 10.
    ones = 0xFFFFFFFF
    assert philox((0,) * 4, (0,) * 2) == (
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    )
    assert philox((ones,) * 4, (ones,) * 2) == (
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    )


@pytest.mark.parametrize("seed", [0, 12345, 2**63 - 1])
def test_reference_is_philox(seed):
    words = [
        word
        for counter in range(64)
        for word in philox((counter, 0, 0, 0), (seed % 2**32, seed >> 32))
    ]
    bits = np.array(words, dtype=np.uint32).view(np.int32)
    folded = np.where(bits < 0, -bits - 1, bits).astype(np.float32)
    wanted = folded * np.float32(4.6566127342e-10)
    actual = uniform_reference(255, seed=seed)
    assert actual.tolist() == wanted[:255].tolist()


def test_numbers_are_uniform():
    uniform = uniform_reference(200_000, seed=11)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    # 20 bins of 10,000: chi squared with 19 degrees of freedom, 0.1 % above 43.8.
    counts = torch.histc(uniform, bins=20, min=0, max=1)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 43.8
    # Neighbours share a call of Philox and must not be alike: 4 standard errors.
    for lag in (1, 2, 3, 4):
        correlation = torch.corrcoef(torch.stack([uniform[:-lag], uniform[lag:]]))
        assert correlation[0, 1].abs() < 4 / 200_000**0.5


# The public function, on the CPU and on a GPU alike.


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (2, 0, 4)])
def test_shapes(device, shape, p):
    x = torch.full(shape, 3.0, device=device)
    actual = dropout(x, p, seed=1)
    assert actual.shape == shape
    assert set(actual.flatten().tolist()) <= ({0.0, 4.0} if p == 0.25 else {3 - 3 * p})


def test_position_counts_in_the_order_of_the_elements(device):
    x = torch.ones(4, 6, device=device)
    wanted = dropout(x.reshape(-1), 0.5, seed=2).view(6, 4)
    assert torch.equal(dropout(x.t(), 0.5, seed=2), wanted)


def test_backward_drops_what_forward_dropped(device):
    x = torch.randn(50, device=device, requires_grad=True)
    grad = torch.randn(50, device=device)
    output = dropout(x, 0.4, seed=9)
    output.backward(grad)
    wanted = torch.where(output == 0, 0.0, grad / 0.6)
    torch.testing.assert_close(x.grad, wanted)


@pytest.mark.filterwarnings("default")
def test_operator_is_registered_as_torch_requires(device):
    x = torch.rand(4, 6, device=device, requires_grad=True)[:, ::2]
    torch.library.opcheck(torch.ops.mlopt.dropout.default, (x, 0.5, 7))


@pytest.mark.filterwarnings("default")
def test_compiles_as_one_graph(device):
    compiled = torch.compile(
        lambda x: 2 * dropout(x, 0.5, seed=7), backend="aot_eager", fullgraph=True
    )
    x = torch.rand(17, device=device, requires_grad=True)
    actual = compiled(x)
    torch.testing.assert_close(actual, 2 * dropout(x, 0.5, seed=7))
    actual.sum().backward()
    torch.testing.assert_close(x.grad, 2 * dropout(torch.ones_like(x), 0.5, seed=7))


def test_bad_arguments_are_refused_by_name(device):
    x = torch.ones(2, device=device)
    with pytest.raises(ValueError, match=r"^p must be a probability .*, got 1\.5"):
        dropout(x, 1.5, seed=0)
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match=rf"^seed must lie in .*, got {seed}"):
            dropout(x, 0.5, seed=seed)
    with pytest.raises(TypeError, match=r"^x must have one of .*, got torch\.int64"):
        dropout(x.long(), 0.5, seed=0)
