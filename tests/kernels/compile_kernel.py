"""Compile a kernel to machine code without a GPU and print what it uses, as JSON.

Run in a process of its own, because a process that interprets kernels cannot compile
them. Reads `{"kernel": "module:name", "signature": {...}, "constexprs": {...},
"capability": 80, "options": {...}}` from each line of standard input, and writes a line
for it. Addresses and sizes count as multiples of 16, which Triton compiles a case of
its own for.
"""

import importlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def compile_kernel(kernel, signature, constexprs, capability, options):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, name = kernel.split(":")
    function = getattr(importlib.import_module(module), name)
    aligned = [["tt.divisibility", 16]]
    source = ASTSource(
        function,
        signature | dict.fromkeys(constexprs, "constexpr"),
        constexprs,
        {
            (function.arg_names.index(argument),): aligned
            for argument, type_name in signature.items()
            if type_name[0] in "*iu"  # a float has no divisor
        },
    )
    compiled = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options=options
    )
    binaries = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [binaries / "cuobjdump", "--dump-resource-usage", file.name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    counts = {
        key: int(count) for key, count in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)
    }
    return {
        "registers": counts["REG"],
        # Registers that do not fit are spilled to the stack, in local memory.
        "spilled_bytes": counts["STACK"] + counts["LOCAL"],
        "shared_bytes": compiled.metadata.shared,
        "ptx": compiled.asm["ptx"],
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(compile_kernel(**json.loads(line))), flush=True)
