"""Kernels that wait for memory: they load and store whole words."""

from . import Compiled

WORDS = ("ld.global.v4.b32", "st.global.v4.b32")
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
}
