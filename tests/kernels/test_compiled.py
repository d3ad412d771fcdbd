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


def compiled(kernel, signature, constexprs, capability, **options):
    """Compile in a fresh process, without the interpreter and without a GPU."""
    request = {
        "kernel": kernel,
        "signature": signature | {"n_elements": "i32"},
        "constexprs": constexprs,
        "capability": capability,
        "options": options,
    }
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, HERE / "compile_kernel.py"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=os.environ
        | {"TRITON_INTERPRET": "0", "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("case", KERNELS.values(), ids=KERNELS)
def test_compiles_without_spills(case, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, signature, constexprs, instructions = case
    result = compiled(kernel, signature, constexprs, capability)
    assert result["spilled_bytes"] == 0
    assert result["registers"] <= 64
    missing = [text for text in instructions if text not in result["ptx"]]
    assert missing == []


def test_spills_are_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, signature, constexprs, _ = KERNELS["vector_add float32"]
    # 128 values of each input a thread, and 24 registers to hold them.
    result = compiled(
        kernel, signature, constexprs | {"BLOCK_SIZE": 16384}, 80, maxnreg=24
    )
    assert result["spilled_bytes"] > 0


def test_every_kernel_file_is_in_the_table():
    folder = HERE.parents[1] / "kernels" / "mlopt_kernels"
    files = {path.stem for path in folder.glob("*.py") if path.stem[0] != "_"}
    assert files == {case[0].split(":")[0].split(".")[1] for case in KERNELS.values()}
