"""Training on several processes and machines, each scheme from its sends up.

`launch` starts the ranks; `collectives` is what they say to each other, from sends
between two; `traffic` counts the bytes. Then the schemes: `data_parallel`, `local_sgd`,
`zero`, `tensor`, `pipeline`, and `uneven` for devices of different speed. `checkpoint`
and `elastic` go on after a failure, and `cost` says what thousands of devices take.
"""

from mlopt_edu.parallel.batches import ShardedBatches
from mlopt_edu.parallel.checkpoint import Checkpoint, Piece, save_checkpoint
from mlopt_edu.parallel.collectives import (
    ring_all_gather,
    ring_all_reduce,
    ring_reduce_scatter,
    tree_all_reduce,
    tree_broadcast,
    tree_reduce,
)
from mlopt_edu.parallel.cost import (
    Cluster,
    Cost,
    Model,
    Plan,
    bytes_per_parameter,
    gpt,
    step_cost,
)
from mlopt_edu.parallel.cost_link import (
    Link,
    all_reduce_bytes,
    all_reduce_seconds,
    fit_link,
)
from mlopt_edu.parallel.cost_search import best_plan
from mlopt_edu.parallel.data_parallel import (
    DataParallel,
    broadcast_,
    fill_buckets,
    mean_over_ranks,
)
from mlopt_edu.parallel.elastic import check_finite, run_elastic, save_atomically
from mlopt_edu.parallel.launch import RankError, launch
from mlopt_edu.parallel.local_sgd import LocalSGD, average_, outer_update_
from mlopt_edu.parallel.pipeline import StepReport, balance, train_step
from mlopt_edu.parallel.schedule import (
    Backward,
    Forward,
    Schedule,
    Span,
    bubble_fraction,
    bubble_of,
    gpipe,
    one_f_one_b,
    peak_live,
    simulate,
)
from mlopt_edu.parallel.tensor import (
    ColumnParallelLinear,
    RowParallelLinear,
    copy_to_group,
    gather_from_group,
    reduce_from_group,
)
from mlopt_edu.parallel.tensor_plan import (
    Column,
    Row,
    Vocabulary,
    full_state_dict,
    shard_,
)
from mlopt_edu.parallel.tensor_vocabulary import (
    VocabularyParallelEmbedding,
    vocabulary_parallel_cross_entropy,
)
from mlopt_edu.parallel.traffic import Traffic
from mlopt_edu.parallel.uneven import Speedometer, split_rows, step_seconds
from mlopt_edu.parallel.zero import Zero, zero_bytes

__all__ = [
    "Backward",
    "Checkpoint",
    "Cluster",
    "Column",
    "ColumnParallelLinear",
    "Cost",
    "DataParallel",
    "Forward",
    "Link",
    "LocalSGD",
    "Model",
    "Piece",
    "Plan",
    "RankError",
    "Row",
    "RowParallelLinear",
    "Schedule",
    "ShardedBatches",
    "Span",
    "Speedometer",
    "StepReport",
    "Traffic",
    "Vocabulary",
    "VocabularyParallelEmbedding",
    "Zero",
    "all_reduce_bytes",
    "all_reduce_seconds",
    "average_",
    "balance",
    "best_plan",
    "broadcast_",
    "bubble_fraction",
    "bubble_of",
    "bytes_per_parameter",
    "check_finite",
    "copy_to_group",
    "fill_buckets",
    "fit_link",
    "full_state_dict",
    "gather_from_group",
    "gpipe",
    "gpt",
    "launch",
    "mean_over_ranks",
    "one_f_one_b",
    "outer_update_",
    "peak_live",
    "reduce_from_group",
    "ring_all_gather",
    "ring_all_reduce",
    "ring_reduce_scatter",
    "run_elastic",
    "save_atomically",
    "save_checkpoint",
    "shard_",
    "simulate",
    "split_rows",
    "step_cost",
    "step_seconds",
    "train_step",
    "tree_all_reduce",
    "tree_broadcast",
    "tree_reduce",
    "vocabulary_parallel_cross_entropy",
    "zero_bytes",
]
