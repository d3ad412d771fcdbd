"""The CUDA C++ twins: compiled where nvcc is, and run where a GPU is as well."""

import ctypes
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

NVCC = shutil.which("nvcc")
SOURCES = Path(__file__).parents[2] / "kernels" / "mlopt_kernels" / "csrc"
NAMES = ["vector_add", "axpy", "reduction", "softmax"]
DTYPES = {"float32": torch.float32, "float16": torch.float16}

needs_nvcc = pytest.mark.skipif(
    NVCC is None, reason="no nvcc: install the CUDA toolkit to compile the twins"
)
needs_gpu = pytest.mark.skipif(
    NVCC is None or not torch.cuda.is_available(),
    reason="no GPU or no nvcc: the twins are compiled elsewhere, and run here alone",
)


def nvcc(*arguments):
    """Compile, and return what the compiler says."""
    done = subprocess.run(
        [NVCC, "-std=c++17", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def cuobjdump():
    """Return the disassembler of the CUDA toolkit, or the one that Triton brings."""
    places = [Path(NVCC).resolve().parent]
    triton = find_spec("triton")
    if triton is not None:
        places.append(Path(triton.origin).parent / "backends" / "nvidia" / "bin")
    found = [place / "cuobjdump" for place in places if (place / "cuobjdump").exists()]
    return found[0] if found else None


def test_every_source_has_a_case_and_a_twin():
    assert {path.stem for path in SOURCES.glob("*.cu")} == set(NAMES)
    for name in NAMES:
        assert (SOURCES.parent / f"{name}.py").exists()
        text = (SOURCES / f"{name}.cu").read_text()
        assert set(re.findall(r'extern "C" int (\w+)\(', text)) == {
            f"{name}_{dtype}" for dtype in DTYPES
        }


@needs_nvcc
@pytest.mark.parametrize("name", NAMES)
def test_compiles_without_spills_and_loads_whole_words(name, tmp_path):
    binary = tmp_path / "code.fatbin"
    generations = [f"arch=compute_{number},code=sm_{number}" for number in (80, 90)]
    said = nvcc(
        SOURCES / f"{name}.cu",
        "--fatbin",
        *(f"--generate-code={generation}" for generation in generations),
        "-Werror=all-warnings",
        "-Xptxas=-v",
        f"--output-file={binary}",
    )
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    frames = re.findall(r"(\d+) bytes stack frame", said)
    assert len(spills) >= 2 * len(DTYPES)
    assert set(spills) == {("0", "0")}
    assert set(frames) == {"0"}
    disassembler = cuobjdump()
    if disassembler is None:
        pytest.skip("no cuobjdump beside nvcc or Triton: the loads cannot be seen")
    code = subprocess.run(
        [disassembler, "--dump-sass", binary],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    kernels = code.split("Function : ")[1:]
    assert len(kernels) == len(spills)
    # Those that read a tensor in words; the others take what is left over.
    read_words = [
        kernel
        for kernel in kernels
        if re.match(r"\S*(_words|sum_of_blocks|softmax_rows)", kernel)
    ]
    assert len(read_words) == 2 * len(DTYPES)
    for kernel in read_words:
        assert re.search(r"LDG\.E\.128", kernel)
        if name != "reduction":
            assert re.search(r"STG\.E\.128", kernel)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Load a twin, compiled for the GPU at hand: `library(name)`."""
    folder = tmp_path_factory.mktemp("csrc")

    def load(name):
        path = folder / f"{name}.so"
        if not path.exists():
            nvcc(
                SOURCES / f"{name}.cu",
                "--shared",
                "--compiler-options=-fPIC",
                "-arch=native",
                f"--output-file={path}",
            )
        return ctypes.CDLL(path)

    return load


def call(function, *arguments):
    """Call an entry point on torch's stream; numbers of elements are int64."""
    kinds = {int: ctypes.c_int64, float: ctypes.c_float}
    values = [
        ctypes.c_void_p(value.data_ptr())
        if isinstance(value, torch.Tensor)
        else kinds[type(value)](value)
        for value in arguments
    ]
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    assert function(*values, stream) == 0
    torch.cuda.synchronize()


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 1000, 100_003])
@pytest.mark.parametrize("first", [0, 1], ids=["aligned", "moved by one"])
def test_elementwise_twins_equal_torch(library, guarded, device, dtype, size, first):
    x, y = (torch.randn(size + 1, device=device).to(DTYPES[dtype]) for _ in range(2))
    x, y = x[first : first + size], y[first : first + size]
    out = guarded(size, DTYPES[dtype])
    call(getattr(library("vector_add"), f"vector_add_{dtype}"), x, y, out.output, size)
    out.check()
    assert torch.equal(out.output, x + y)
    out = guarded(size, DTYPES[dtype])
    call(getattr(library("axpy"), f"axpy_{dtype}"), 1.5, x, y, out.output, size)
    out.check()
    expected = (1.5 * x.double() + y.double()).to(DTYPES[dtype])
    torch.testing.assert_close(out.output, expected)


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 31, 4097, 10_000_019])
def test_reduction_equals_torch_and_itself(library, guarded, device, dtype, size):
    x = torch.rand(size, device=device).to(DTYPES[dtype])
    sums = []
    for _ in range(2):
        partial, out = guarded(1024, torch.float32), guarded(1, torch.float32)
        function = getattr(library("reduction"), f"reduction_{dtype}")
        call(function, x, partial.output, out.output, size)
        partial.check()
        out.check()
        sums.append(out.output.item())
    assert sums[0] == sums[1]
    assert sums[0] == pytest.approx(x.double().sum().item(), rel=1e-5)


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (5, 1024), (2, 10_001), (0, 4)])
def test_softmax_equals_torch(library, guarded, device, dtype, shape):
    x = (5 * torch.randn(shape, device=device)).to(DTYPES[dtype])
    if x.numel() > 1000:
        x[0, 3] = -torch.inf
        x[1, 5] = torch.nan
    out = guarded(x.numel(), DTYPES[dtype])
    call(getattr(library("softmax"), f"softmax_{dtype}"), x, out.output, *shape)
    out.check()
    expected = torch.softmax(x.double(), -1).to(DTYPES[dtype])
    torch.testing.assert_close(
        out.output.reshape(shape), expected, equal_nan=True, rtol=1e-3, atol=1e-6
    )
