"""Kernels that wait for memory: they load and store whole words."""

from . import Compiled

WORDS = ("ld.global.v4.b32", "st.global.v4.b32")
AXPY = "mlopt_kernels.axpy:_axpy_forward_kernel"
REDUCTION = "mlopt_kernels.reduction:_sum_rows_forward_kernel"
VECTOR_ADD = "mlopt_kernels.vector_add:_vector_add_forward_kernel"


def pointers(dtype: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, f"*{dtype}")


KERNELS = {
    "vector_add float32": Compiled(
        VECTOR_ADD,
        pointers("fp32", "x_ptr", "y_ptr", "output_ptr") | {"n_elements": "i32"},
        {"WIDEN": False, "BLOCK_SIZE": 1024},
        both=(*WORDS, "add.f32"),
    ),
    "vector_add bfloat16": Compiled(
        VECTOR_ADD,
        pointers("bf16", "x_ptr", "y_ptr", "output_ptr") | {"n_elements": "i32"},
        {"WIDEN": True, "BLOCK_SIZE": 1024},
        both=WORDS,
    ),
    "axpy float32": Compiled(
        AXPY,
        pointers("fp32", "x_ptr", "y_ptr", "output_ptr")
        | {"alpha": "fp64", "n_elements": "i32"},
        {"BLOCK_SIZE": 1024},
        both=(*WORDS, "fma.rn.f32"),
    ),
    "reduction bfloat16": Compiled(
        REDUCTION,
        pointers("bf16", "x_ptr")
        | pointers("fp32", "output_ptr")
        | dict.fromkeys(("n_rows", "n_cols", "n_chunks"), "i32"),
        {"N_BLOCKS": 16, "BLOCK_ROWS": 1, "BLOCK_COLS": 4096},
        both=("ld.global.v4.b32",),
    ),
}
