"""Every kernel compiles for Ampere and Hopper without spills, in whole words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

HERE = Path(__file__).parent

# Per kernel file: the module and name, pointers and numbers, constants, and PTX that
# must be there.
KERNELS = {
    "vector_add float32": (
        "mlopt_kernels.vector_add:_vector_add_forward_kernel",
        {"x_ptr": "*fp32", "y_ptr": "*fp32", "output_ptr": "*fp32"},
        {"WIDEN": False, "BLOCK_SIZE": 1024},
        ["ld.global.v4.b32", "st.global.v4.b32", "add.f32"],
    ),
    "vector_add bfloat16": (
        "mlopt_kernels.vector_add:_vector_add_forward_kernel",
        {"x_ptr": "*bf16", "y_ptr": "*bf16", "output_ptr": "*bf16"},
        {"WIDEN": True, "BLOCK_SIZE": 1024},
        ["ld.global.v4.b32", "st.global.v4.b32"],
    ),
}


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    """A process without the interpreter and without a GPU, that compiles by request."""
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    cache = tmp_path_factory.mktemp("compiled")  # empty: what comes out is compiled now
    errors = cache / "errors"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, HERE / "compile_kernel.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ
            | {
                "TRITON_INTERPRET": "0",
                "TRITON_CACHE_DIR": str(cache),
                "PYTHONPATH": os.pathsep.join(paths),
            },
        ) as process,
    ):

        def compiled(kernel, signature, constexprs, capability, **options):
            request = {
                "kernel": kernel,
                "signature": signature | {"n_elements": "i32"},
                "constexprs": constexprs,
                "capability": capability,
                "options": options,
            }
            assert process.poll() is None, errors.read_text()
            print(json.dumps(request), file=process.stdin, flush=True)
            line = process.stdout.readline()
            assert line, errors.read_text()
            return json.loads(line)

        yield compiled


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("case", KERNELS.values(), ids=KERNELS)
def test_compiles_without_spills(case, capability, compiler):
    kernel, signature, constexprs, instructions = case
    result = compiler(kernel, signature, constexprs, capability)
    assert result["spilled_bytes"] == 0
    assert result["registers"] <= 64
    missing = [text for text in instructions if text not in result["ptx"]]
    assert missing == []


def test_spills_are_seen(compiler):
    kernel, signature, constexprs, _ = KERNELS["vector_add float32"]
    # 128 values of each input a thread, and 24 registers to hold them.
    result = compiler(
        kernel, signature, constexprs | {"BLOCK_SIZE": 16384}, 80, maxnreg=24
    )
    assert result["spilled_bytes"] > 0


def test_every_kernel_file_is_in_the_table():
    folder = HERE.parents[1] / "kernels" / "mlopt_kernels"
    files = {path.stem for path in folder.glob("*.py") if path.stem[0] != "_"}
    assert files == {case[0].split(":")[0].split(".")[1] for case in KERNELS.values()}
