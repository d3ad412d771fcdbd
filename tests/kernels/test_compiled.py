"""Every kernel compiles for Ampere and Hopper without spills, in whole words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .compiled import memory_bound, tensor_core, updates

pytest.importorskip("triton", reason="pip install 'mlopt-edu[kernels]'")

HERE = Path(__file__).parent

KERNELS = memory_bound.KERNELS | tensor_core.KERNELS | updates.KERNELS


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
                "signature": signature,
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
    result = compiler(
        case.kernel, case.signature, case.constexprs, capability, **case.options
    )
    assert result["spilled_bytes"] == 0
    assert result["registers"] <= case.registers
    missing = [
        text for text in case.instructions(capability) if text not in result["ptx"]
    ]
    assert missing == []


def test_spills_are_seen(compiler):
    case = KERNELS["vector_add float32"]
    # 128 values of each input a thread, and 24 registers to hold them.
    constexprs = case.constexprs | {"BLOCK_SIZE": 16384}
    result = compiler(case.kernel, case.signature, constexprs, 80, maxnreg=24)
    assert result["spilled_bytes"] > 0


def test_every_kernel_file_is_in_the_table():
    folder = HERE.parents[1] / "kernels" / "mlopt_kernels"
    files = {
        path.stem
        for path in folder.glob("*.py")
        if "@triton.jit" in path.read_text()
        and path.stem not in ("_attention_tiles", "_chunks")  # called by the others
    }
    assert files == {
        case.kernel.split(":")[0].split(".")[1] for case in KERNELS.values()
    }
