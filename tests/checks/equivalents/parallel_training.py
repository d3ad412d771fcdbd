"""Exercise 14."""

EQUIVALENT = {
    **{
        (task, change): "all lists have one entry a rank, so nothing is cut off"
        for task in (
            "train_on_shards",
            "combine_gradients",
            "local_descent",
            "parallel_mlp",
        )
        for change in ("True -> 2", "True -> 0")
    },
    (
        "threads_per_rank",
        "max(cores // ranks - workers, 1) -> max(1, cores // ranks - workers)",
    ): "max(a, b) = max(b, a)",
    **{
        ("owned_elements", f"per_rank * world_size - sum(sizes) -> {end}"): (
            "more padding lies behind the last shard, where nobody counts it"
        )
        for end in (
            "per_rank * world_size + sum(sizes)",
            "per_rank * world_size",
        )
    },
    (
        "owned_elements",
        "np.minimum(ends, first + per_rank) -> np.minimum(first + per_rank, ends)",
    ): "min(a, b) = min(b, a)",
    (
        "owned_elements",
        "np.maximum(ends - counts, first) -> np.maximum(first, ends - counts)",
    ): "max(a, b) = max(b, a)",
    (
        "owned_elements",
        "np.maximum(overlap, 0) -> np.maximum(0, overlap)",
    ): "max(a, b) = max(b, a)",
    (
        "parallel_mlp",
        "np.maximum(x @ a.T + b, 0) -> np.maximum(0, x @ a.T + b)",
    ): "max(a, b) = max(b, a)",
    (
        "stage_order",
        "min(stages - 1 - stage, micro_batches) -> "
        "min(micro_batches, stages - 1 - stage)",
    ): "min(a, b) = min(b, a)",
    ("split_by_speed", "np.floor(exact) -> exact"): "astype(int) rounds down too",
}
