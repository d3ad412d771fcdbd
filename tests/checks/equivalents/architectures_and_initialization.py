"""Exercise 05."""

EQUIVALENT = {
    ("fans", "out // groups -> out / groups"): "groups divide the outputs",
    ("conv_cost", "c_in // groups -> c_in / groups"): "groups divide the inputs",
    ("block_cost", "c_out // 4 -> c_out / 4"): "c_out is a multiple of 8",
    ("block_cost", "c_out // 8 -> c_out / 8"): "c_out is a multiple of 8",
    ("block_cost", "c_out // 2 -> c_out / 2"): "c_out is a multiple of 8",
}
