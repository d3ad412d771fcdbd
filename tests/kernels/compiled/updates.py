"""Kernels over many tensors, and those that compress weights."""

from . import Compiled

WORDS = ("ld.global.v4.b32", "st.global.v4.b32")
TABLE = dict.fromkeys(
    ("addresses_ptr", "sizes_ptr", "tensors_ptr", "starts_ptr"), "*i64"
)
CLIP = "mlopt_kernels.clip_grad_norm:"
MASK = "mlopt_kernels.magnitude_mask:"
GROUP = "mlopt_kernels.group_quantize:"


def floats(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "fp32")


def adamw(dtype: str, registers: int) -> Compiled:
    return Compiled(
        "mlopt_kernels.fused_adamw:_fused_adamw_kernel",
        TABLE
        | {"param_like_ptr": f"*{dtype}", "state_like_ptr": "*fp32", "n_tensors": "i32"}
        | floats("decay", "step_size", "one_minus_beta1", "one_minus_beta2")
        | floats("root", "eps"),
        {"MAXIMIZE": False, "ALIGNED": True, "BLOCK_SIZE": 2048},
        both=WORDS,
        registers=registers,
        options={"num_warps": 8},
    )


def lion(dtype: str) -> Compiled:
    return Compiled(
        "mlopt_kernels.fused_lion:_fused_lion_kernel",
        TABLE
        | {"param_like_ptr": f"*{dtype}", "state_like_ptr": "*fp32", "n_tensors": "i32"}
        | floats("decay", "lr", "one_minus_beta1", "one_minus_beta2"),
        {"MAXIMIZE": False, "ALIGNED": True, "BLOCK_SIZE": 2048},
        both=WORDS,
        registers=128,
        options={"num_warps": 8},
    )


def histogram(bits: str, first: bool) -> Compiled:
    width = int(bits[1:])
    return Compiled(
        f"{MASK}_histogram_kernel",
        {
            "bits_ptr": f"*{bits}",
            "state_ptr": "*i64",
            "cumulative_ptr": "*i64",
            "histogram_ptr": "*i32",
            "n_elements": "i32",
            "n_programs": "i32",
            "pass_number": "i32",
        },
        {
            "SHIFT": width - 8 if first else width - 16,
            "FIRST": first,
            "SIGN": 1 << (width - 1),
            "BLOCKS": 2,
            "BLOCK_SIZE": 4096,
        },
        both=("ld.global.v4.b32",),
        registers=255,
    )


def quantize(bits: int, symmetric: bool) -> Compiled:
    return Compiled(
        f"{GROUP}_group_quantize_kernel",
        {
            "x_ptr": "*fp32",
            "codes_ptr": "*u8" if bits == 4 else "*i8",
            "scale_ptr": "*fp32",
            "zero_point_ptr": "*i8",
            "n_groups": "i32",
        },
        {
            "BITS": bits,
            "SYMMETRIC": symmetric,
            "SMALLEST": 2.0**-126,
            "GROUP_SIZE": 128,
            "BLOCK_ROWS": 32,
            "BLOCK_COLS": 128,
        },
        both=("ld.global.v4.b32", "div.rn.f32"),
        registers=255,
    )


def dequantize(bits: int) -> Compiled:
    return Compiled(
        f"{GROUP}_group_dequantize_kernel",
        {
            "codes_ptr": "*u8" if bits == 4 else "*i8",
            "scale_ptr": "*fp32",
            "zero_point_ptr": "*i8",
            "output_ptr": "*bf16",
            "n_groups": "i32",
        },
        {"BITS": bits, "GROUP_SIZE": 128, "BLOCK_ROWS": 32, "BLOCK_COLS": 128},
        both=("st.global.v4.b32",),
        registers=255,
    )


KERNELS: dict[str, Compiled] = {
    "fused_adamw float32": adamw("fp32", 64),
    "fused_adamw bfloat16": adamw("bf16", 128),
    "fused_lion float32": lion("fp32"),
    "clip_grad_norm sum bfloat16": Compiled(
        f"{CLIP}_sum_of_squares_kernel",
        TABLE | {"like_ptr": "*bf16", "sums_ptr": "*fp32"},
        {"ALIGNED": True, "BLOCK_SIZE": 4096},
        both=("ld.global.v4.b32",),
        options={"num_warps": 8},
    ),
    "clip_grad_norm norm": Compiled(
        f"{CLIP}_norm_kernel",
        {"sums_ptr": "*fp32", "norm_ptr": "*fp32", "n_sums": "i32", "max_norm": "fp32"},
        {"KEEP_NONFINITE": False, "BLOCK_SIZE": 1024},
        both=("sqrt.rn.f32",),
    ),
    "clip_grad_norm scale float32": Compiled(
        f"{CLIP}_scale_kernel",
        TABLE | {"like_ptr": "*fp32", "norm_ptr": "*fp32"},
        {"ALIGNED": True, "BLOCK_SIZE": 4096},
        both=WORDS,
        options={"num_warps": 8},
    ),
    "magnitude_mask first pass float32": histogram("i32", True),
    "magnitude_mask last pass bfloat16": histogram("i16", False),
    "magnitude_mask mask float32": Compiled(
        f"{MASK}_mask_kernel",
        {
            "bits_ptr": "*i32",
            "state_ptr": "*i64",
            "cumulative_ptr": "*i64",
            "mask_ptr": "*i1",
            "n_elements": "i32",
            "n_programs": "i32",
            "n_passes": "i32",
        },
        {"SIGN": 2**31, "BLOCKS": 2, "BLOCK_SIZE": 4096},
        both=("ld.global.v4.b32",),
        registers=255,
    ),
    "group_quantize 8 bits": quantize(8, False),
    "group_quantize 4 bits": quantize(4, True),
    "group_quantize back from 4 bits": dequantize(4),
}
