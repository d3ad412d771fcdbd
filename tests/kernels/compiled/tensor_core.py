"""Kernels that multiply matrices: they show the tensor-core instruction.

On Hopper that is wgmma where a tile has 64 rows or more, and else Ampere's mma.
"""

from typing import Any

from . import Compiled

# Loads that do not pass through registers, 16 bytes each, and stores as wide.
COPIES = ("cp.async.cg.shared.global", "st.global.v4.b32")


def mma(dtype: str, inner: int, total: str = "f32") -> str:
    saturating = ".satfinite" if total == "s32" else ""
    types = f"{total}.{dtype}.{dtype}.{total}"
    return f"mma.sync.aligned.m16n8k{inner}.row.col{saturating}.{types}"


def wgmma(dtype: str, inner: int, cols: int, total: str = "f32") -> str:
    shape = f"m64n{cols}k{inner}"
    return f"wgmma.mma_async.sync.aligned.{shape}.{total}.{dtype}.{dtype}"


def pointers(dtype: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, f"*{dtype}")


def integers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "i32")


def options(num_warps: int, num_stages: int) -> dict[str, object]:
    return {"num_warps": num_warps, "num_stages": num_stages}


SIZES = integers("n_rows", "n_cols", "n_inner")
DOT: dict[str, Any] = {"WIDEN": False, "PRECISION": "ieee"}


def tile(rows: int, cols: int, inner: int) -> dict[str, object]:
    return {"BLOCK_ROWS": rows, "BLOCK_COLS": cols, "BLOCK_INNER": inner, "GROUP": 8}


def matmul(dtype: str) -> dict[str, str]:
    """Return x and y of whole rows; the stride along a row is the constant 1."""
    matrices = pointers(dtype, "x_ptr", "y_ptr", "bias_ptr", "output_ptr")
    return matrices | SIZES | integers("x_row_stride", "y_inner_stride")


ROWS: dict[str, Any] = DOT | {"x_inner_stride": 1, "y_col_stride": 1}
INT8 = pointers("i8", "x_ptr", "weight_ptr") | pointers(
    "fp32", "x_scale_ptr", "weight_scale_ptr"
)
INT4 = (
    pointers("u8", "packed_ptr", "zero_point_ptr")
    | pointers("fp32", "scale_ptr", "parts_ptr")
    | SIZES
    | integers("n_groups", "steps", "steps_in_group")
)
BLOCKS = pointers("i32", "columns_ptr") | SIZES
HEADS = pointers("bf16", "query_ptr", "key_ptr", "value_ptr") | pointers(
    "fp32", "lse_ptr"
)
LENGTHS = integers("n_queries", "n_keys", "head_dim") | {"scale": "fp32"}
FORWARD = "mlopt_kernels.attention:_attention_forward_kernel"
BACKWARD = "mlopt_kernels._attention_backward:_attention"


def attend(width: int, queries: int, keys: int) -> dict[str, object]:
    blocks = {"WIDTH": width, "BLOCK_QUERIES": queries, "BLOCK_KEYS": keys}
    return DOT | {"CAUSAL": True} | blocks


KERNELS = {
    "matmul bfloat16, the largest tile": Compiled(
        "mlopt_kernels.matmul:_matmul_kernel",
        matmul("bf16"),
        ROWS | tile(128, 256, 64),
        both=COPIES,
        sm_80=(mma("bf16", 16),),
        sm_90=(wgmma("bf16", 16, 256),),
        registers=255,
        options=options(8, 3),
    ),
    "matmul float16, a small batch": Compiled(
        "mlopt_kernels.matmul:_matmul_kernel",
        matmul("fp16"),
        ROWS | tile(16, 64, 128),
        both=(*COPIES, mma("f16", 16)),
        registers=128,
        options=options(4, 4),
    ),
    "matmul float32 as TF32": Compiled(
        "mlopt_kernels.matmul:_matmul_kernel",
        matmul("fp32"),
        ROWS | {"PRECISION": "tf32"} | tile(64, 64, 32),
        both=(*COPIES, ".f32.tf32.tf32"),
        registers=128,
        options=options(4, 3),
    ),
    "int8_matmul to bfloat16, the largest tile": Compiled(
        "mlopt_kernels.int8_matmul:_int8_matmul_kernel",
        INT8 | pointers("bf16", "output_ptr") | SIZES,
        {"output_scale_ptr": None} | tile(128, 256, 128),
        both=COPIES,
        sm_80=(mma("s8", 32, "s32"),),
        # Two of half the width: the int32 sums of a whole one fill the registers.
        sm_90=(".s32.s8.s8", "wgmma.mma_async"),
        registers=255,
        options=options(8, 3),
    ),
    "int8_matmul to int8": Compiled(
        "mlopt_kernels.int8_matmul:_int8_matmul_kernel",
        INT8
        | pointers("fp32", "output_scale_ptr")
        | pointers("i8", "output_ptr")
        | SIZES,
        tile(64, 128, 128),
        both=COPIES,
        sm_80=(mma("s8", 32, "s32"),),
        sm_90=(wgmma("s8", 32, 128, "s32"),),
        registers=255,
        options=options(4, 4),
    ),
    "int4_matmul bfloat16, batch up to 16": Compiled(
        "mlopt_kernels.int4_matmul:_int4_matmul_kernel",
        INT4 | pointers("bf16", "x_ptr"),
        DOT | {"BLOCK_ROWS": 16, "BLOCK_COLS": 64, "BLOCK_INNER": 128},
        both=COPIES,
        sm_80=(mma("bf16", 16),),
        sm_90=(wgmma("bf16", 16, 16),),
        registers=128,
        options=options(4, 4),
    ),
    "int4_matmul, the sum of its parts": Compiled(
        "mlopt_kernels.int4_matmul:_sum_parts_kernel",
        pointers("fp32", "parts_ptr")
        | pointers("bf16", "output_ptr")
        | integers("n_elements", "splits"),
        {"BLOCK_SIZE": 1024},
        both=("ld.global.v4.b32", "st.global.v4.b32"),
    ),
    "sparse24 compress bfloat16": Compiled(
        "mlopt_kernels.sparse24:_sparse24_compress_kernel",
        pointers("bf16", "weight_ptr", "values_ptr")
        | pointers("u8", "places_ptr")
        | integers("n_bytes"),
        {"BLOCK_SIZE": 256},
        both=("ld.global.v4.b32", "st.global.v4.b32"),
    ),
    "sparse24 matmul float16, the largest tile": Compiled(
        "mlopt_kernels.sparse24:_sparse24_matmul_kernel",
        pointers("fp16", "x_ptr", "output_ptr")
        | pointers("i32", "pairs_ptr")
        | pointers("u8", "places_ptr")
        | SIZES,
        DOT | tile(128, 64, 64),
        both=COPIES,
        sm_80=(mma("f16", 16),),
        sm_90=(wgmma("f16", 16, 128),),
        registers=255,
        options=options(4, 3),
    ),
    "block_sparse_matmul bfloat16": Compiled(
        "mlopt_kernels.block_sparse_matmul:_block_sparse_matmul_kernel",
        BLOCKS
        | pointers("bf16", "x_ptr", "values_ptr", "output_ptr")
        | pointers("i32", "starts_ptr")
        | integers("value_row_stride"),
        DOT
        | {"order_ptr": None, "value_col_stride": 1}
        | {"BLOCK": 64, "BLOCK_ROWS": 64},
        both=COPIES,
        sm_80=(mma("bf16", 16),),
        sm_90=(wgmma("bf16", 16, 64),),
        registers=128,
        options=options(4, 3),
    ),
    "block_sparse_matmul backward": Compiled(
        "mlopt_kernels.block_sparse_matmul:_block_sparse_backward_kernel",
        BLOCKS
        | pointers("bf16", "x_ptr", "grad_ptr", "grad_values_ptr")
        | pointers("i32", "block_rows_ptr"),
        DOT | {"BLOCK": 64, "BLOCK_ROWS": 64},
        both=COPIES,
        sm_80=(mma("bf16", 16),),
        sm_90=(wgmma("bf16", 16, 64),),
        registers=128,
        options=options(4, 3),
    ),
    "attention bfloat16, heads of 128": Compiled(
        FORWARD,
        HEADS | pointers("bf16", "output_ptr") | LENGTHS,
        attend(128, 128, 32),
        both=(*COPIES, "ex2.approx"),
        sm_80=(mma("bf16", 16),),
        sm_90=(wgmma("bf16", 16, 32), wgmma("bf16", 16, 128)),
        registers=255,
        options=options(8, 3),
    ),
    "attention float32, heads of 128": Compiled(
        FORWARD,
        pointers("fp32", "query_ptr", "key_ptr", "value_ptr", "lse_ptr", "output_ptr")
        | LENGTHS,
        attend(128, 32, 16),
        both=(*COPIES, "fma.rn.f32"),
        registers=128,
        options=options(8, 2),
    ),
    "attention delta": Compiled(
        f"{BACKWARD}_delta_kernel",
        pointers("bf16", "grad_ptr", "output_ptr")
        | pointers("fp32", "delta_ptr")
        | integers("n_rows", "head_dim"),
        {"WIDTH": 64, "BLOCK_ROWS": 128},
        both=("ld.global.v4.b32",),
        registers=128,
    ),
    "attention backward, keys": Compiled(
        f"{BACKWARD}_backward_keys_kernel",
        HEADS
        | pointers("bf16", "grad_ptr", "grad_key_ptr", "grad_value_ptr")
        | pointers("fp32", "delta_ptr")
        | LENGTHS,
        attend(128, 64, 64),
        both=COPIES,
        sm_80=(mma("bf16", 16),),
        sm_90=("wgmma.mma_async", ".f32.bf16.bf16"),
        registers=255,
        options=options(8, 2),
    ),
    "attention backward, queries": Compiled(
        f"{BACKWARD}_backward_queries_kernel",
        HEADS
        | pointers("bf16", "grad_ptr", "grad_query_ptr")
        | pointers("fp32", "delta_ptr")
        | LENGTHS,
        attend(128, 64, 64),
        both=COPIES,
        sm_80=(mma("bf16", 16),),
        sm_90=("wgmma.mma_async", ".f32.bf16.bf16"),
        registers=255,
        options=options(8, 2),
    ),
}
