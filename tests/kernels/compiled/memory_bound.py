"""Kernels that wait for memory: they load and store whole words."""

from . import Compiled

WORDS = ("ld.global.v4.b32", "st.global.v4.b32")
AXPY = "mlopt_kernels.axpy:_axpy_forward_kernel"
REDUCTION = "mlopt_kernels.reduction:_sum_rows_forward_kernel"
VECTOR_ADD = "mlopt_kernels.vector_add:_vector_add_forward_kernel"


def pointers(dtype: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, f"*{dtype}")


def integers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "i32")


CROSS_ENTROPY = "mlopt_kernels.cross_entropy:_cross_entropy_kernel"
CROSS_ENTROPY_REST = (
    pointers("i64", "labels_ptr")
    | pointers("fp32", "scale_ptr", "loss_ptr")
    | integers("ignore_index", "n_rows", "n_cols")
)
DISTILLATION = (
    pointers("bf16", "student_ptr", "teacher_ptr")
    | pointers("i64", "labels_ptr")
    | pointers("fp32", "hard_scale_ptr", "log_sums_ptr")
    | {"temperature": "fp32", "soft_scale": "fp32"}
    | integers("n_rows", "n_cols")
)


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
        | integers("n_rows", "n_cols", "n_chunks"),
        {"N_BLOCKS": 16, "BLOCK_ROWS": 1, "BLOCK_COLS": 4096},
        both=("ld.global.v4.b32",),
    ),
    "softmax bfloat16": Compiled(
        "mlopt_kernels.softmax:_softmax_forward_kernel",
        pointers("bf16", "x_ptr", "output_ptr") | integers("n_rows", "n_cols"),
        {"N_BLOCKS": 1, "BLOCK_ROWS": 1, "BLOCK_COLS": 16384},
        both=(*WORDS, "ex2.approx"),
        options={"num_warps": 16},
    ),
    "softmax online": Compiled(
        "mlopt_kernels.softmax:_softmax_forward_kernel",
        pointers("fp32", "x_ptr", "output_ptr") | integers("n_rows", "n_cols"),
        {"N_BLOCKS": 32, "BLOCK_ROWS": 1, "BLOCK_COLS": 4096},
        both=WORDS,
        registers=80,
    ),
    "softmax backward": Compiled(
        "mlopt_kernels.softmax:_softmax_backward_kernel",
        pointers("fp32", "grad_ptr", "output_ptr", "grad_x_ptr")
        | integers("n_rows", "n_cols"),
        {"N_BLOCKS": 1, "BLOCK_ROWS": 1, "BLOCK_COLS": 16384},
        both=WORDS,
        registers=128,
        options={"num_warps": 16},
    ),
    "layer_norm bfloat16": Compiled(
        "mlopt_kernels.layer_norm:_layer_norm_forward_kernel",
        pointers("bf16", "x_ptr", "weight_ptr", "bias_ptr", "output_ptr")
        | pointers("fp32", "mean_ptr", "rstd_ptr")
        | {"eps": "fp32"}
        | integers("n_rows", "n_cols"),
        {"BLOCK_ROWS": 1, "BLOCK_COLS": 8192},
        both=WORDS,
        options={"num_warps": 16},
    ),
    "layer_norm backward": Compiled(
        "mlopt_kernels.layer_norm:_layer_norm_backward_kernel",
        pointers("bf16", "grad_ptr", "x_ptr", "weight_ptr")
        | pointers("fp32", "mean_ptr", "rstd_ptr")
        | pointers("bf16", "grad_x_ptr")
        | pointers("fp32", "weight_partial_ptr", "bias_partial_ptr")
        | integers("n_rows", "n_cols"),
        {"N_BLOCKS": 16, "BLOCK_ROWS": 1, "BLOCK_COLS": 8192},
        both=WORDS,
        registers=128,
        options={"num_warps": 16},
    ),
    "layer_norm second stage": Compiled(
        "mlopt_kernels.layer_norm:_sum_columns_kernel",
        pointers("fp32", "x_ptr")
        | pointers("bf16", "output_ptr")
        | integers("n_rows", "n_cols"),
        {"N_BLOCKS": 8, "BLOCK_ROWS": 64, "BLOCK_COLS": 32},
        both=("ld.global.v4.b32",),
        registers=80,
    ),
    "rms_norm float16": Compiled(
        "mlopt_kernels.rms_norm:_rms_norm_forward_kernel",
        pointers("fp16", "x_ptr", "weight_ptr", "output_ptr")
        | pointers("fp32", "rstd_ptr")
        | {"eps": "fp32"}
        | integers("n_rows", "n_cols"),
        {"BLOCK_ROWS": 1, "BLOCK_COLS": 4096},
        both=WORDS,
        options={"num_warps": 8},
    ),
    "rms_norm backward": Compiled(
        "mlopt_kernels.rms_norm:_rms_norm_backward_kernel",
        pointers("bf16", "grad_ptr", "x_ptr", "weight_ptr", "grad_x_ptr")
        | pointers("fp32", "rstd_ptr", "partial_ptr")
        | integers("n_rows", "n_cols"),
        {"N_BLOCKS": 16, "BLOCK_ROWS": 1, "BLOCK_COLS": 8192},
        both=WORDS,
        registers=128,
        options={"num_warps": 16},
    ),
    "dropout bfloat16": Compiled(
        "mlopt_kernels.dropout:_dropout_kernel",
        pointers("bf16", "x_ptr", "output_ptr")
        | {"p": "fp32", "factor": "fp32", "seed": "i64"}
        | integers("n_elements"),
        {"BLOCK_SIZE": 256},
        both=WORDS,
    ),
    "cross_entropy bfloat16": Compiled(
        CROSS_ENTROPY,
        pointers("bf16", "logits_ptr", "grad_ptr") | CROSS_ENTROPY_REST,
        {"SMOOTHING": 0.1, "WITH_GRAD": True}
        | {"N_BLOCKS": 1, "BLOCK_ROWS": 1, "BLOCK_COLS": 16384},
        both=WORDS,
        registers=128,
        options={"num_warps": 16},
    ),
    "cross_entropy online": Compiled(
        CROSS_ENTROPY,
        pointers("bf16", "logits_ptr", "grad_ptr") | CROSS_ENTROPY_REST,
        {"SMOOTHING": 0.0, "WITH_GRAD": True}
        | {"N_BLOCKS": 32, "BLOCK_ROWS": 1, "BLOCK_COLS": 4096},
        both=WORDS,
        registers=128,
    ),
    "distillation_loss bfloat16": Compiled(
        "mlopt_kernels.distillation_loss:_distillation_loss_forward_kernel",
        DISTILLATION | pointers("fp32", "loss_ptr"),
        {"N_BLOCKS": 64, "BLOCK_ROWS": 1, "BLOCK_COLS": 2048},
        both=("ld.global.v4.b32",),
        registers=128,
    ),
    "distillation_loss backward": Compiled(
        "mlopt_kernels.distillation_loss:_distillation_loss_backward_kernel",
        DISTILLATION
        | pointers("fp32", "grad_ptr")
        | pointers("bf16", "grad_student_ptr")
        | integers("n_chunks"),
        {"BLOCK_ROWS": 1, "BLOCK_COLS": 2048},
        both=WORDS,
    ),
}
